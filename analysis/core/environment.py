"""The environment of every command: the project's own settings in place of the user's.

Commands, kernels and workers must give the same bits for every user. So start-up files, user-wide packages and the
user's settings of Matplotlib, Keras, Jupyter and Astropy are not read. Settings of the hardware (threads, GPUs,
XLA_FLAGS, folders of caches) stay the user's.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from analysis.core.files import BorderError
from analysis.core.paths import ROOT

WORK = ROOT / ".work"
BACKENDS = ("tensorflow", "jax")
SET = {
    "ASTROPY_CONFIG_DIR": str(WORK / "astropy"),
    # On a busy machine workers end before their last heartbeat is answered, and would log a traceback for it
    "DASK_LOGGING": "{'distributed.worker': 'critical', 'distributed.worker.memory': 'warning'}",
    "IPYTHONDIR": str(WORK / "ipython"),
    "KERAS_HOME": str(WORK / "keras"),
    "MPLCONFIGDIR": str(WORK / "matplotlib"),
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONPATH": str(ROOT),
    "PYTHONUTF8": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, about widgets that nobody would see
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # a GPU serves the notebook and its workers
}
# Settings of Python, Jupyter, Matplotlib and Keras, and switches that change the results of arithmetic
DROPPED = re.compile(
    r"(I?PYTHON|JUPYTER|KERAS_|MPL|MATPLOTLIB|JAX_|NUMBA_).*"
    r"|TF_ENABLE_ONEDNN_OPTS|TF_USE_LEGACY_KERAS|NVIDIA_TF32_OVERRIDE"
)
# Exceptions that stay the user's: a documented choice, the machine, and settings that change no result
KEPT = re.compile(
    r"KERAS_BACKEND|JAX_(PLATFORMS|PLATFORM_NAME|COMPILATION_CACHE_DIR|\w+_VISIBLE_DEVICES)"
    r"|NUMBA_(CACHE_DIR|NUM_THREADS|THREADING_LAYER)|PYTHON(DONTWRITEBYTECODE|PYCACHEPREFIX|UNBUFFERED)"
)
HANDED_DOWN = (*SET, "KERAS_BACKEND", "DATA_MIRROR")  # to workers on other machines
STRAYS = ("matplotlibrc", "ipython_config.py", "ipython_kernel_config.py", "sitecustomize.py", "usercustomize.py")
ONCE = "ANALYSIS_BEGUN_ANEW"  # set in the restarted process, so that it is not restarted again


def settled(user: Mapping[str, str]) -> dict[str, str]:
    """The environment of the project, made from the user's.

    Raises
    ------
    BorderError
        If KERAS_BACKEND names a backend that is not known or not installed.
    """
    kept = {name: value for name, value in user.items() if KEPT.fullmatch(name) or not DROPPED.fullmatch(name)}
    backend = user.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise BorderError(f"KERAS_BACKEND is {backend!r}; set it to one of {', '.join(BACKENDS)}, or unset it.")
    if find_spec(backend) is None:
        raise BorderError(
            f"KERAS_BACKEND is {backend!r}, which is not installed; install requirements.lock, or unset it."
        )
    return kept | SET | {"KERAS_BACKEND": backend}


def settle() -> None:
    """Give this process the environment of the project; restart it where it was started in another one.

    Python reads some of the environment only as it starts: start-up files, packages of the user, the seed of hashes.

    Raises
    ------
    BorderError
        If KERAS_BACKEND is wrong, or a file beside the project would change results.
    """
    for path in (folder / name for folder in {ROOT, Path.cwd()} for name in STRAYS):
        if path.exists():
            raise BorderError(f"{path} would change what every stage does; move it to another folder.")
    environment = settled(os.environ)
    WORK.joinpath("astropy").mkdir(parents=True, exist_ok=True)  # Astropy takes a folder only where it exists
    if environment == dict(os.environ):
        return
    if ONCE not in os.environ:
        _restart(environment | {ONCE: "1"})
    os.environ.clear()
    os.environ.update(environment)


def _restart(environment: Mapping[str, str]) -> None:
    """Replace this process by the same command in another environment."""
    command = [sys.executable, *sys.orig_argv[1:]]
    sys.stdout.flush()
    if os.name == "nt":  # there the caller would take execve for the end of this process
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    os.execve(sys.executable, command, environment)
