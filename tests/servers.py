"""Servers on loopback that remote storage is tested against: sshd, nginx with WebDAV, and an S3 API."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

from programs import part, program

MODULES = Path("/usr/lib/nginx/modules")
USER, PASSWORD = "astronomer", "convergence"
BUCKET = "maps"

SSHD = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""
NGINX = """\
load_module {modules}/ngx_http_dav_ext_module.so;
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        auth_basic store;
        auth_basic_user_file {folder}/passwords;
        create_full_put_path on;
        location /dav/ {{  # clients leave out the slash that nginx wants at the end of a new folder
            if ($request_method = MKCOL) {{ rewrite ^(.*[^/])$ $1/ break; }}
            dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS;
        }}
        location /http/ {{ dav_methods PUT; }}
    }}
}}
"""
S3 = """\
import sys
from moto.server import ThreadedMotoServer
ThreadedMotoServer("127.0.0.1", int(sys.argv[1])).start()
sys.stdin.read()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: list[str], port: int, **settings) -> Iterator[None]:
    """A server process while the block runs; it begins once the port answers."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, **settings) as process:
        try:
            end = time.monotonic() + 60
            while not listening(port):
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                assert time.monotonic() < end, f"{command[0]} does not listen"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def sshd(folder: Path) -> Iterator[int]:
    """An sshd that lets the key `user_key` of the folder in; its port."""
    command, keys, port = program("sshd"), program("ssh-keygen"), free_port()
    for name in ("host_key", "user_key", "stranger_key"):
        subprocess.run([keys, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "config").write_text(SSHD.format(port=port, folder=folder))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with served([command, "-D", "-e", "-f", str(folder / "config")], port):
        yield port


@contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """An nginx with WebDAV below /dav/ and plain PUT below /http/, files in `files`; its port."""
    command, port = program("nginx"), free_port()
    part(MODULES / "ngx_http_dav_ext_module.so", of="nginx")
    for name in ("dav/store", "http"):
        (folder / "files" / name).mkdir(parents=True)
    (folder / "passwords").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    user = f"user {getuser()};" if os.geteuid() == 0 else ""
    (folder / "config").write_text(NGINX.format(port=port, folder=folder, user=user, modules=MODULES))
    with served([command, "-p", str(folder), "-c", str(folder / "config")], port):
        yield port


@contextmanager
def s3() -> Iterator[int]:
    """An S3 API; its port."""
    port = free_port()
    with served([sys.executable, "-c", S3, str(port)], port, env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "4"}):
        yield port
