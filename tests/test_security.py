"""Nothing runs what it was given, nothing is fetched in the open or unchecked, no secret is kept."""

import ast
import json
import re
from urllib.parse import urlsplit

import pytest
import yaml
from pipeline import project_files

from analysis.core.download import LOOPBACK, REGISTRY
from analysis.core.paths import ROOT

TRACKED = project_files()
CODE = [path for path in TRACKED if path.suffix == ".py"]
NOTEBOOKS = [path for path in TRACKED if path.suffix == ".ipynb" and path.parent.name != "executed"]


# nothing runs what it was given

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pty", "commands"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput", "yaml.unsafe_load"}
CALLS |= {"subprocess.getstatusoutput", "yaml.full_load", "tempfile.mktemp", "pandas.read_pickle"}
JUSTIFIED = {
    ("tests/simulations/test_lightcone.py", "import pickle"),  # that records survive the way to a worker
    ("tests/simulations/test_suites.py", "import pickle"),  # that pickled maps are refused
    ("tests/simulations/test_suites.py", "np.save(path, content, allow_pickle=True)"),
}


def dangers(source):
    """Statements of a source that run, or unpack, what they are given."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(name.partition(".")[0] in MODULES for name in names):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and _is_danger(node):
            yield ast.unparse(node)


def _is_danger(call):
    name = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in CALLS:
        return True
    if keywords.get("shell", "False") != "False" or keywords.get("allow_pickle", "False") != "False":
        return True
    if name == "yaml.load":
        return "Safe" not in ast.unparse(call)
    return name.endswith((".extractall", ".extract")) and not name.startswith("re.")


def sources():
    for path in CODE:
        yield path, path.read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        yield path, re.sub(r"(?m)^\s*[%!].*$", "", code)


def test_no_code_runs_what_it_was_given():
    found = {(path.relative_to(ROOT).as_posix(), danger) for path, source in sources() for danger in dangers(source)}
    assert found == JUSTIFIED


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text)",
        "import pickle",
        "from pickle import loads",
        "os.system(f'rm {name}')",
        "subprocess.run(f'ls {name}', shell=True)",
        "subprocess.run(command, shell=flag)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "archive.extractall(folder)",
    ],
)
def test_what_runs_or_unpacks_is_seen(source):
    assert list(dangers(source)) == [source]


@pytest.mark.parametrize(
    "source", ["ast.literal_eval(text)", "re.compile(text)", "np.load(path, allow_pickle=False)", "model.compile()"]
)
def test_what_is_harmless_passes(source):
    assert list(dangers(source)) == []


def test_notebooks_call_no_shell():
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in [cell for cell in cells if cell["cell_type"] == "code"]:
            assert not re.search(r"(?m)^\s*(!|%%?(bash|sh|system|sx)\b)", "".join(cell["source"])), path


# nothing is fetched in the open or unchecked

PLACES = re.compile(r"http://([\w.\-\[\]:]+)")
SPOKEN = {"host", "example.org", "www.w3.org"}  # of errors' tests, and the name of SVG


def test_no_address_of_code_or_parameters_is_plain_http():
    texts = [
        path for path in TRACKED if path.suffix in (".py", ".yaml", ".md", ".toml", ".txt", ".ipynb", ".html", ".js")
    ]
    for path in texts:
        if path.parent.name == "executed":
            continue
        for place in PLACES.findall(path.read_text(encoding="utf-8")):
            host = urlsplit(f"http://{place}").hostname
            assert host in (*LOOPBACK, *SPOKEN), f"{path} has http://{place}"


def test_every_public_file_has_a_digest_and_a_secure_address():
    lines = [line.split() for line in REGISTRY.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) > 10
    for name, digest, address in lines:
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest), name
        assert address.startswith("https://"), name


def test_suites_that_are_downloaded_are_secure_and_held_to_a_digest_where_one_is_published():
    suites = {}
    for path in sorted((ROOT / "conf" / "simulations").glob("*.yaml")):
        suites |= yaml.safe_load(path.read_text(encoding="utf-8"))["simulations"]
    remote = {name: suite for name, suite in suites.items() if isinstance(suite, dict) and "address" in suite}
    assert set(remote) == {"massivenus", "kappatng"}
    assert all(suite["address"].startswith("https://") for suite in remote.values())
    assert "sha256" in remote["massivenus"]
    assert "sha256" not in remote["kappatng"], "it is published now: check it"


def test_packages_are_installed_by_their_digests():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[\w.-]+==)", text)[1:]
    assert len(entries) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "--require-hashes" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert not re.search(
        r"index-url|find-links|https?://", text.replace("--no-emit-index-url --no-emit-find-links", "")
    )


# no secret is kept

SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
    "AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub": r"\bgh[pousr]_[0-9A-Za-z]{36}\b|\bgithub_pat_\w{50,}",
    "GitLab": r"\bglpat-[\w-]{20,}",
    "Google": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "Slack": r"\bxox[abprs]-[0-9A-Za-z-]{10,}",
    "web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "Hugging Face": r"\bhf_[0-9A-Za-z]{30,}",
    "package index": r"\bpypi-[\w-]{50,}",
    "address with a password": r"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"{}]+:[^\s/:@'\"{}]+@[\w.-]+",
    "password": r"(?i)\b(?:password|passwd|secret|api_?key|access_key|auth_?token)\b"
    r"['\"]?\s*[:=]\s*['\"][^'\"\s{}]{6,}['\"]",
}
NO_SECRETS = {
    ("tests/servers.py", 'PASSWORD = "astronomer"'),  # of servers that live as long as a test
    ("tests/simulations/test_reading.py", "https://name:secret@a.org"),  # that it does not reach the name of a file
}


def secrets(text):
    """Kinds and texts of what looks like a secret."""
    return [(kind, found[0]) for kind, pattern in SECRETS.items() for found in re.finditer(pattern, text)]


def test_no_secret_is_kept():
    found = set()
    for path in TRACKED:
        if path.name in ("test_security.py", "requirements.lock"):
            continue
        content = path.read_bytes()
        text = "" if b"\0" in content else content.decode("utf-8", "ignore")
        found |= {(path.relative_to(ROOT).as_posix(), secret) for _, secret in secrets(text)}
    assert found == NO_SECRETS


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "key AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a" * 36,
        "AIza" + "b" * 35,
        "xoxb-1234567890-abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4",
        "s3://user:hunter2@bucket.org",
        "password = 'hunter2!'",
        '"api_key": "0123456789abcdef"',
    ],
)
def test_what_looks_like_a_secret_is_seen(text):
    assert len(secrets(text)) == 1


def test_credentials_of_remotes_stay_out_of_git():
    config = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    assert not re.search(r"(?m)^\s*(user|password|access_key_id|secret_access_key|keyfile|token)\b", config)
    assert "config.local" in (ROOT / ".dvc" / ".gitignore").read_text(encoding="utf-8")
