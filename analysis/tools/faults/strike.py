"""The harm that is done to a running stage: a process killed, the disk filled, the network cut."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from analysis.core.files import TEMPORARY

KINDS = ("stage", "machine", "kernel", "worker", "disk", "network")
# what stands in the command line of the process that a kind kills
VICTIMS = {"stage": "analysis run", "kernel": "ipykernel_launcher", "worker": "multiprocessing.spawn"}
POLL_S = 0.01
PATIENCE_S = 900.0
FILLER = "filler"
RESULTS = ("data", "notebooks/run", "figures/run", ".work")


@dataclass(frozen=True)
class Fault:
    """What happens, and when.

    kind : `stage`, `kernel` or `worker`, a process that is killed (SIGKILL); `machine`, all of them at once; `disk`,
        which is full from then on; `network`, which is cut within a file
    stage : as DVC spells it
    moment : between 0 and 1, of the stage's time, or of the bytes it fetches
    writing : whether it waits, from that moment on, until a file is being written
    """

    kind: str
    stage: str
    moment: float
    writing: bool


def strike(fault: Fault, run: psutil.Popen, case: Path, seconds: float) -> list[psutil.Process]:
    """Wait until the moment of a fault, and do it; the processes that ran then, none where the run ended before.

    Parameters
    ----------
    run : DVC, which has the stage, its kernel and their workers below it
    case : folder of the project that runs
    seconds : what an undisturbed run takes
    """
    end = time.monotonic() + PATIENCE_S
    while run.poll() is None and not _victims(fault.kind, run) and time.monotonic() < end:
        time.sleep(POLL_S)
    begun = time.monotonic()
    while run.poll() is None and time.monotonic() < begun + fault.moment * seconds:
        time.sleep(POLL_S)
    while fault.writing and run.poll() is None and not _being_written(case):
        time.sleep(POLL_S)
    members, victims = family(run), _victims(fault.kind, run)
    if run.poll() is not None or not victims:
        return []
    if fault.kind == "disk":
        fill(case, victims)
    else:
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
    return members


def family(run: psutil.Popen) -> list[psutil.Process]:
    """A process and all below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [run, *run.children(recursive=True)]
    return []


def _victims(kind: str, run: psutil.Popen) -> list[psutil.Process]:
    """The processes that a fault meets: all for `machine` and `disk`, once the stage runs, one for the others."""
    members = family(run)
    words = VICTIMS.get(kind, VICTIMS["stage"])
    found = [member for member in members if words in _command(member)]
    if kind in ("machine", "disk"):
        return members if found else []
    return found[-1:]


def _command(process: psutil.Process) -> str:
    """Command line of a process without its shell's; empty where it ended."""
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        return "" if words[1:2] == ["-c"] and "python" not in words[0] else " ".join(words)
    return ""


def _being_written(case: Path) -> bool:
    """Whether a temporary file stands where results go."""
    with contextlib.suppress(OSError):  # folders come and go
        return any(
            TEMPORARY.fullmatch(name) and not name.endswith(("kernel.log", "kernel.json"))
            for folder in RESULTS
            for _, _, names in os.walk(case / folder)
            for name in names
        )
    return False


def fill(case: Path, processes: list[psutil.Process]) -> None:
    """Leave no byte on the case's own file system, or, where it has none, let the processes write no more to files."""
    if case.is_mount():
        with (case / FILLER).open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(2**16))
    for process in [] if case.is_mount() else processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_FSIZE, (0, 0))


class Cut(SimpleHTTPRequestHandler):
    """Serves `server.folder` until `server.left` bytes are sent, then nothing at all; None has no end."""

    def __init__(self, request, client_address, server: ThreadingHTTPServer) -> None:
        super().__init__(request, client_address, server, directory=str(server.folder))

    def do_GET(self) -> None:
        """Send a file, or as much of it as is left."""
        if self.server.left == 0:
            self.close_connection = True
            return
        super().do_GET()

    def copyfile(self, source, outputfile) -> None:
        """Send the bytes of a file."""
        content = source.read()
        left = self.server.left
        self.wfile.write(content if left is None else content[:left])
        if left is not None:
            self.server.left = max(left - len(content), 0)
            self.close_connection = True

    def log_message(self, *_) -> None:
        """Say nothing."""


@contextmanager
def mirror(folder: Path) -> Iterator[ThreadingHTTPServer]:
    """A server of a folder's files on loopback; `left` of it counts the bytes until it is cut."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Cut) as server:
        server.folder, server.left = folder, None
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
