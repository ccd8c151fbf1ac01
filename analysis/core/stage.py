"""Running one stage: its notebook, from top to bottom, stored without times and other text that varies."""

import ast
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from nbclient.exceptions import DeadKernelError
from nbstripout import strip_output
from papermill.exceptions import PapermillExecutionError

from analysis.core.environment import settled
from analysis.core.files import FULL, SHORT_WRITE, BorderError, atomic, is_full, sweep, temporary_beside, write_json
from analysis.core.paths import DATA, ROOT
from analysis.core.provenance import import_closure

BORDER_ERRORS = {"BorderError", "ParamsError"}
VARYING_KEYS = [
    "metadata.papermill",
    "cell.metadata.papermill",
    "cell.metadata.execution",
    "metadata.language_info.version",
]
# Progress lines of Keras and tqdm, which hold times ("3/9 - 1s - 20ms/step", "[00:03<00:09, 3.1it/s]")
PROGRESS = re.compile(r"\x08|\d/\d+ .*\d+m?s|\d(us|ms|s)/(step|epoch)|\d:\d\d<|\d(it|s)/(s|it)\b")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
TABLE_NUMBER = re.compile(r' id="table\d+"')  # an address in memory
# The kernel's log would only bury what a cell prints or raises. Maps are noise, which PNG cannot compress: with JPEG
# the executed notebooks, which Git keeps, are a sixth of the size.
KERNEL_ARGUMENTS = [
    "--log-level=CRITICAL",
    "--InlineBackend.figure_formats={'jpeg'}",
    "--InlineBackend.print_figure_kwargs={'bbox_inches': 'tight', 'pil_kwargs': {'quality': 85}}",
]
POLL_S = 0.2
KERNEL_FILES = (ROOT / ".work" / "kernel.log", ROOT / ".work" / "kernel.json")
LOG, CONNECTION = map(temporary_beside, KERNEL_FILES)  # the kernel's log; the file that says where it listens
NO_SPACE = re.compile("|".join([*(rf"\[Errno {number}\]" for number in FULL), SHORT_WRITE.pattern]))
DEAD_AT_START = "Kernel died before"  # jupyter_client's message for a kernel that never answered
WORKERLESS = "Nanny failed to start"  # Dask's message for a worker that never answered
START_S = 600  # until a kernel answers: a busy machine takes minutes to import it
LAST_LINES = 5  # of the kernel's log, shown where the kernel died


class StageError(RuntimeError):
    """A notebook that did not run to its end; the message holds its traceback."""


class OwnKernel(AsyncKernelManager):
    """A kernel of this Python, not one that the user has installed, in the environment of the project.

    Its process writes to `LOG`, since libraries print warnings as they are shut down.
    """

    def __init__(self, *arguments, **kwargs) -> None:
        own = {"connection_file": str(CONNECTION), "kernel_spec_manager": KernelSpecManager(kernel_dirs=[])}
        super().__init__(*arguments, **kwargs | own)

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kwargs: Any) -> None:
        LOG.parent.mkdir(parents=True, exist_ok=True)
        with LOG.open("wb") as log:
            settings = kwargs | {"env": settled(kwargs["env"]), "stdout": log, "stderr": log}
            await super()._async_launch_kernel(kernel_cmd, **settings)


def run(stage: str, which: Mapping[str, str], *, profile: str) -> Path:
    """Run a stage's notebook and store the executed copy, with the same bytes for the same results.

    Output of the notebook appears in the terminal as it comes. Wall time and peak memory go to `data/timings/`.

    Parameters
    ----------
    stage : str
        Name of a notebook of `notebooks/`.
    which : mapping of str to str
        Its parameters: which field or sample; quantities are in params.yaml.
    profile : str
        Name of the profile, stored with the times.

    Returns
    -------
    Path
        The executed notebook, `notebooks/run/<stage>[_<value>].ipynb`.

    Raises
    ------
    BorderError
        If the stage or a parameter is unknown, or if the notebook met bad input.
    StageError
        If a cell raised anything else, or the kernel died.
    """
    notebook = _notebook(stage, which)
    name = "_".join([stage, *which.values()])
    draft = ROOT / ".work" / "executed" / f"{name}.ipynb"
    with _measured() as cost:
        _execute(notebook, draft, which)
    executed = _stable(nbformat.read(draft, as_version=4))
    draft.unlink()
    path = ROOT / "notebooks" / "run" / f"{name}.ipynb"
    with atomic(path) as temporary:
        nbformat.write(executed, temporary)
    write_json(DATA / "timings" / f"{name}.json", {"profile": profile, **cost})
    print(f"{name}: {cost['wall_s']:.0f} s, {cost['peak_memory_gb']:.1f} GB at most", file=sys.stderr)
    return path


def _notebook(stage: str, which: Mapping[str, str]) -> Path:
    """Path of a stage's notebook, which must take the parameters `which`."""
    path = ROOT / "notebooks" / f"{stage}.ipynb"
    if not path.is_file():
        stages = ", ".join(sorted(other.stem for other in path.parent.glob("*.ipynb")))
        raise BorderError(f"{stage!r} is not a stage; choose one of: {stages}.")
    cells = nbformat.read(path, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    targets = [target for node in ast.parse(source).body for target in getattr(node, "targets", [])]
    known = [ast.unparse(target) for target in targets]
    for key in which:
        if key not in known:
            takes = ", ".join(known) or "none"
            raise BorderError(f"{stage} takes no parameter {key!r}; its parameters cell has: {takes}.")
    return path


def _execute(notebook: Path, draft: Path, which: Mapping[str, str]) -> None:
    """Run every cell in this Python and this folder; raise if one fails."""
    draft.parent.mkdir(parents=True, exist_ok=True)
    for path in KERNEL_FILES:
        sweep(path)
    try:
        executed = papermill.execute_notebook(
            notebook,
            draft,
            parameters=dict(which),
            kernel_name=NATIVE_KERNEL_NAME,
            language="python",
            cwd=ROOT,
            progress_bar=False,
            start_timeout=START_S,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            extra_arguments=KERNEL_ARGUMENTS,
            kernel_manager_class=OwnKernel,
        )
        if any(cell.cell_type == "code" and cell.execution_count is None for cell in executed.cells):  # sys.exit
            raise StageError(_died(notebook, draft))
    except PapermillExecutionError as error:
        if error.ename in BORDER_ERRORS | _border_errors(notebook):
            draft.unlink(missing_ok=True)
            raise BorderError(error.evalue) from None
        if error.ename == "RuntimeError" and WORKERLESS in error.evalue:
            draft.unlink(missing_ok=True)
            raise BorderError(
                f"{notebook.stem}: a worker died as it started; run the stage again, which continues with the"
                " missing parts, or lower compute.processes if memory is short."
            ) from None
        if error.ename == "OSError" and NO_SPACE.search(error.evalue):
            raise _no_room(notebook) from None
        raise StageError(f"{notebook.stem} failed; the cells that ran are in {draft}.{error}") from None
    except DeadKernelError:
        raise StageError(_died(notebook, draft)) from None
    except RuntimeError as error:
        if DEAD_AT_START not in str(error):
            raise
        raise StageError(_died(notebook, draft)) from None
    except OSError as error:
        if is_full(error):
            raise _no_room(notebook) from None
        raise
    finally:
        LOG.unlink(missing_ok=True)
        CONNECTION.unlink(missing_ok=True)


def _no_room(notebook: Path) -> BorderError:
    """The error for a full disk, met outside of `atomic`."""
    return BorderError(
        f"{notebook.stem}: the disk is full, finished parts are kept; free some space and run the stage again."
    )


def _border_errors(notebook: Path) -> set[str]:
    """Names of the subclasses of `BorderError` that a notebook's modules define."""
    modules = [file for file in import_closure(notebook) if file.endswith(".py")]
    trees = [ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in modules]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name for node in classes if BORDER_ERRORS & {ast.unparse(base) for base in node.bases}}


def _died(notebook: Path, draft: Path) -> str:
    """Message for a kernel that died."""
    last_words = LOG.read_text(errors="replace").splitlines()[-LAST_LINES:] if LOG.is_file() else []
    return "\n".join(
        [
            f"{notebook.stem} ended before its last cell: the kernel died, most often because memory was"
            f" short, or a cell called exit; the cells that ran are in {draft}.",
            *last_words,
        ]
    )


def _stable(executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without text that differs from run to run: ids, times, addresses, logs and progress bars."""
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs = _stable_outputs(cell.outputs)
    return strip_output(executed, keep_output=True, keep_count=True, keep_id=False, extra_keys=VARYING_KEYS)


def _stable_outputs(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs of a cell without stderr and lines of progress; printed text is joined."""
    kept = []
    for output in outputs:
        if output.output_type != "stream":
            if "text/plain" in output.get("data", {}):
                output.data["text/plain"] = ADDRESS.sub("", output.data["text/plain"])
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = TABLE_NUMBER.sub("", output.data["text/html"])
            kept.append(output)
        elif output.name == "stdout":
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            lines = re.split(r"(?<=[\n\r])", output.text)
            output.text = ADDRESS.sub("", "".join(line for line in lines if not PROGRESS.search(line)))
    return [output for output in kept if output.get("text", "x").strip()]


@contextmanager
def _measured() -> Iterator[dict[str, float]]:
    """Wall time (s) and peak resident memory (GB) of this process and its children, filled in as the block ends."""
    cost, done, peak = dict[str, float](), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(POLL_S):
            peak[0] = max(peak[0], _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        done.set()
        watcher.join()
    cost |= {"wall_s": round(time.perf_counter() - start, 1), "peak_memory_gb": round(peak[0] / 1e9, 2)}


def _resident() -> int:
    """Resident memory of this process and all below it, in bytes."""
    here = psutil.Process()
    total = 0
    for process in [here, *here.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended between listing and looking
            continue
    return total
