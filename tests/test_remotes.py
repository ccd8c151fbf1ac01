"""Results kept elsewhere, as README says: pushed, wiped and pulled over every protocol; damage is seen and mended."""

import getpass
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import servers

FILES = {"kappa.txt": "0.1 0.2\n" * 4000, "gamma.txt": "0.3\n"}


@dataclass
class Lab:
    """A tree with a DVC remote `lab`: its address, its settings, and a function that damages an object of it."""

    tree: Path
    address: str
    settings: dict[str, str] = field(default_factory=dict)
    tamper: object = None

    def run(self, *command):
        environment = {**os.environ, "DVC_GLOBAL_CONFIG_DIR": str(self.tree.parent / "config"), "TQDM_DISABLE": "1"}
        return subprocess.run(command, cwd=self.tree, env=environment, capture_output=True, text=True, check=False)

    def dvc(self, *arguments):
        return self.run(sys.executable, "-m", "dvc", *arguments)

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
            {"keyfile": str(folder / "user_key")},
            in_folder(folder / "store"),
        )


@contextmanager
def over_nginx(folder, tree, scheme, path, **settings):
    with servers.nginx(folder) as port:
        host = f"{scheme}://127.0.0.1:{port}"
        settings |= {"user": servers.USER, "password": servers.PASSWORD}
        (folder / "files" / path / "store" / "again").mkdir(parents=True, exist_ok=True)  # WebDAV wants it
        yield Lab(tree, f"{host}/{path}/store", settings, in_folder(folder / "files"))


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
        yield Lab(tree, f"s3://{servers.BUCKET}/store", settings, tamper)


@pytest.fixture(params=[over_ssh, over_webdav, over_http, over_s3], ids=lambda over: over.__name__)
def lab(request, tmp_path):
    folder, tree = tmp_path / "server", tmp_path / "tree"
    folder.mkdir()
    tree.mkdir()
    with request.param(folder, tree) as lab:
        lab.prepare()
        yield lab


@pytest.mark.long
def test_what_is_pushed_comes_back_and_damage_is_seen_and_mended(lab):
    assert "new:" in lab.dvc("status", "--cloud", "-r", "lab").stdout
    assert lab.dvc("push", "-r", "lab").returncode == 0
    assert "in sync" in lab.dvc("status", "--cloud", "-r", "lab").stdout
    lab.wipe()
    assert lab.dvc("pull", "-r", "lab").returncode == 0
    assert lab.holds() == FILES
    copy = shutil.copytree(lab.tree / ".dvc/cache", lab.tree.parent / "copy")

    lab.tamper()
    lab.wipe()
    assert lab.dvc("pull", "-r", "lab").returncode != 0
    assert lab.holds() != FILES

    shutil.copytree(copy, lab.tree / ".dvc/cache", dirs_exist_ok=True)  # of the machine that made them
    lab.set("url", f"{lab.address}/again")
    assert lab.dvc("push", "-r", "lab").returncode == 0
    lab.wipe()
    assert lab.dvc("pull", "-r", "lab").returncode == 0
    assert lab.holds() == FILES
