"""Results kept elsewhere: pushed, wiped and pulled over every protocol, and what is said when something is wrong."""

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import servers
from analysis.tools.store import NO_PLACE, _explain

from analysis.core.files import BorderError

FILES = {"kappa.txt": "0.1 0.2\n" * 4000, "gamma.txt": "0.3\n"}
INSPECT = """
import sys
from pathlib import Path
from analysis.tools import store
from analysis.core.files import BorderError
try:
    store.main("lab", "--mend" in sys.argv, Path.cwd())
except BorderError as error:
    sys.exit(str(error))
"""


@dataclass
class Lab:
    """A tree with a DVC remote `lab`: its address, its settings, and files of the store to tamper with."""

    tree: Path
    address: str
    elsewhere: str
    settings: dict[str, str] = field(default_factory=dict)
    secret: tuple[str, str] = ("", "")
    tamper: object = None

    def run(self, *command):
        environment = {**os.environ, "DVC_GLOBAL_CONFIG_DIR": str(self.tree.parent / "config"), "TQDM_DISABLE": "1"}
        return subprocess.run(command, cwd=self.tree, env=environment, capture_output=True, text=True, check=False)

    def dvc(self, *arguments):
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def inspected(self, *arguments):
        return self.run(sys.executable, "-c", INSPECT, *arguments)

    def set(self, key, value, *flags):
        assert self.dvc("remote", "modify", *flags, "lab", key, value).returncode == 0

    def prepare(self):
        self.run("git", "init", "-q")
        self.dvc("init", "-q")
        (self.tree / "maps").mkdir()
        for name, text in FILES.items():
            (self.tree / "maps" / name).write_text(text)
        assert self.dvc("add", "-q", "maps").returncode == 0
        assert self.dvc("remote", "add", "lab", self.address).returncode == 0
        for key, value in self.settings.items():
            self.set(key, value, "--local")
        self.set("verify", "true")

    def wipe(self):
        for name in ("maps", ".dvc/cache"):
            shutil.rmtree(self.tree / name, ignore_errors=True)

    def holds(self):
        return {path.name: path.read_text() for path in (self.tree / "maps").glob("*")}


def in_folder(folder):
    """How to damage the largest file below a folder."""

    def tamper():
        largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        largest.chmod(0o644)
        largest.write_text("damaged")

    return tamper


@contextmanager
def over_ssh(folder, tree):
    with servers.sshd(folder) as port:
        host = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
        yield Lab(
            tree,
            f"{host}{folder}/store",
            f"{host}/proc/nowhere",
            {"keyfile": str(folder / "user_key")},
            ("keyfile", str(folder / "stranger_key")),
            in_folder(folder / "store"),
        )


@contextmanager
def over_nginx(folder, tree, scheme, path, **settings):
    with servers.nginx(folder) as port:
        host = f"{scheme}://127.0.0.1:{port}"
        settings |= {"user": servers.USER, "password": servers.PASSWORD}
        tamper = in_folder(folder / "files")
        yield Lab(tree, f"{host}/{path}/store", f"{host}/nowhere", settings, ("password", "guess"), tamper)


@contextmanager
def over_webdav(folder, tree):
    with over_nginx(folder, tree, "webdav", "dav") as lab:
        yield lab


@contextmanager
def over_http(folder, tree):
    with over_nginx(folder, tree, "http", "http", method="PUT", auth="basic") as lab:
        yield lab


@contextmanager
def over_s3(folder, tree):
    import boto3

    with servers.s3() as port:
        address = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
        root = address | {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        iam = boto3.client("iam", **root)  # this and the next three calls come before the server asks who calls
        iam.create_user(UserName=servers.USER)
        key = iam.create_access_key(UserName=servers.USER)["AccessKey"]
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName=servers.USER, PolicyName="store", PolicyDocument=policy)
        boto3.client("s3", **root).create_bucket(Bucket=servers.BUCKET)
        keys = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        store = boto3.client("s3", **address, **{f"aws_{name}": value for name, value in keys.items()})

        def tamper():
            largest = max(store.list_objects_v2(Bucket=servers.BUCKET)["Contents"], key=lambda entry: entry["Size"])
            store.put_object(Bucket=servers.BUCKET, Key=largest["Key"], Body=b"damaged")

        settings = {"endpointurl": address["endpoint_url"], **keys}
        yield Lab(
            tree, f"s3://{servers.BUCKET}/store", "s3://nowhere/store", settings, ("secret_access_key", "guess"), tamper
        )


@pytest.fixture(params=[over_ssh, over_webdav, over_http, over_s3], ids=lambda over: over.__name__)
def lab(request, tmp_path):
    folder, tree = tmp_path / "server", tmp_path / "tree"
    folder.mkdir()
    tree.mkdir()
    with request.param(folder, tree) as lab:
        lab.prepare()
        yield lab


@pytest.mark.long
def test_what_is_pushed_comes_back_and_what_is_damaged_is_named_and_mended(lab):
    assert "not in lab" in lab.inspected().stderr
    assert lab.dvc("push", "-r", "lab").returncode == 0
    assert "lab: 3 whole, 0 missing, 0 damaged" in lab.inspected().stdout
    lab.wipe()
    assert lab.dvc("pull", "-r", "lab").returncode == 0
    assert lab.holds() == FILES
    copy = shutil.copytree(lab.tree / ".dvc/cache", lab.tree.parent / "copy")

    lab.tamper()
    lab.wipe()
    assert lab.dvc("pull", "-r", "lab").returncode != 0
    assert lab.holds() != FILES
    found = lab.inspected("--mend")
    assert "damaged: maps/kappa.txt" in found.stdout
    assert "no whole copy" in found.stderr
    shutil.copytree(copy, lab.tree / ".dvc/cache", dirs_exist_ok=True)
    assert "--mend" in lab.inspected().stderr
    assert lab.inspected("--mend").returncode == 0
    lab.wipe()
    assert lab.dvc("pull", "-r", "lab").returncode == 0
    assert lab.holds() == FILES


def test_numbers_in_an_address_are_not_statuses():
    address = "http://127.0.0.1:46403/405/files/md5/40/1756ed.dir"
    with pytest.raises(BorderError, match="not where its address says") as told:
        _explain(FileNotFoundError(address), re.compile("filenotfound"))
    assert address in str(told.value)
    with pytest.raises(BorderError, match="refuses this user"):
        _explain(OSError(f"403, message='', url='{address}'"), NO_PLACE)
    for place in (address, "lab-403/files/md5/40/1756ed.dir", "/srv/connectome/403/1756ed.dir"):
        _explain(FileNotFoundError(place), NO_PLACE)


@pytest.mark.long
def test_wrong_credentials_and_a_missing_place_are_told_apart(lab):
    assert lab.dvc("push", "-r", "lab").returncode == 0
    key, wrong = lab.secret
    lab.set(key, wrong, "--local")
    told = lab.inspected()
    assert told.returncode == 1
    assert "refuses this user" in told.stderr
    assert "--local" in told.stderr
    lab.set(key, lab.settings[key], "--local")
    lab.set("url", lab.elsewhere)
    told = lab.inspected()
    assert told.returncode == 1
    assert "not where its address says" in told.stderr or "not in lab" in told.stderr
    lab.set("url", lab.address)
    assert lab.inspected().returncode == 0
