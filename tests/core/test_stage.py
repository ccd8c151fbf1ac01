"""One stage: its notebook runs in an environment of its own, ends whole or in a sentence, and leaves the same bytes."""

import json
import os
import shutil
import sys

import nbformat
import pytest
from pipeline import shell, write_notebook

from analysis.core.environment import SET, settled
from analysis.core.files import HOST, BorderError
from analysis.core.paths import ROOT
from analysis.core.stage import OwnKernel
from analysis.params import load_params


@pytest.fixture
def project(tmp_path):
    """Make a project with the runner of stages, and no notebook yet."""
    (tmp_path / "analysis").mkdir()
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "analysis" / name, tmp_path / "analysis")
    for wing in ("core", "params"):
        shutil.copytree(ROOT / "analysis" / wing, tmp_path / "analysis" / wing)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def leftovers(project):
    """Whatever lies where results go."""
    return [path for folder in ("data", "notebooks/run") for path in (project / folder).rglob("*")]


def test_a_kernel_that_dies_as_it_starts_is_told_without_a_traceback(project):
    write_notebook(project, "theory", ["1"])
    (project / "ipykernel_launcher.py").write_text("import os\nos._exit(9)\n")
    done = shell("python -m analysis run theory", project)
    assert done.returncode == 1
    assert "theory ended before its last cell: the kernel died" in done.stderr
    assert "Traceback" not in done.stderr
    assert leftovers(project) == []


def test_workers_that_die_as_they_start_are_told_in_a_sentence(project):
    write_notebook(project, "theory", ["raise RuntimeError('Nanny failed to start.')"])
    done = shell("python -m analysis run theory", project)
    assert done.returncode == 1
    assert "theory: a worker died as it started; run the stage again" in done.stderr
    assert "Traceback" not in done.stderr.partition("theory: a worker")[2]
    assert leftovers(project) == []


@pytest.mark.long
def test_stage_stores_the_same_bytes_every_time(project):
    cells = [
        "import sys, time\nprint('two results', object())\nprint(time.time(), file=sys.stderr)\nprint('and a third')",
        "print(f'3/9 - {time.time():.0f}s - 20ms/step - loss: 0.5')\nobject()",
        "from astropy.table import Table\nTable({'a': [1.5]})",
    ]
    write_notebook(project, "theory", cells, parameters='field = "none"')
    stored = project / "notebooks" / "run" / "theory_cosmos.ipynb"
    stale = project / ".work" / f".{HOST}-{2**22 + 1}-00000000-kernel.log"  # of a process that was killed
    stale.parent.mkdir()
    stale.touch()
    copies = []
    for _ in range(2):
        done = shell("python -m analysis run theory field=cosmos", project)
        assert done.returncode == 0, done.stderr
        assert "20ms/step" in done.stdout
        copies.append(stored.read_bytes())
    assert copies[0] == copies[1]
    assert [path.name for path in stale.parent.iterdir() if path.is_file()] == []
    text = stored.read_text()
    assert r"two results <object object>\n" in text
    assert "and a third" in text
    assert r"<table class=" in text
    assert 'field = \\"cosmos\\"' in text
    assert "20ms/step" not in json.dumps(nbformat.read(stored, as_version=4).cells[-1].outputs)
    cost = json.loads((project / "data" / "timings" / "theory_cosmos.json").read_text())
    assert cost["profile"] == load_params().profile
    assert 0 < cost["wall_s"] < 60
    assert 0.05 < cost["peak_memory_gb"] < 4


@pytest.mark.parametrize(
    "definition_of_error",
    [
        "from analysis.core.files import BorderError as E",
        "from analysis.params import ParamsError as E",
        "from analysis.special import Special as E",
    ],
)
def test_bad_input_ends_in_one_sentence_and_leaves_nothing(project, definition_of_error):
    special = "from analysis.core.files import BorderError\n\n\nclass Special(BorderError):\n    pass\n"
    (project / "analysis" / "special.py").write_text(special)
    sentence = "map.fits is cut short; fetch it again."
    grumble = "import os\nos.write(2, b'Assertion failed: what a library says as it is shut down')"
    write_notebook(project, "theory", [grumble, definition_of_error, f"raise E({sentence!r})", "1 / 0"])
    done = shell("python -m analysis run theory", project)
    assert (done.returncode, done.stderr) == (1, sentence + "\n")
    assert not list((project / ".work").glob("*.log"))
    assert leftovers(project) == []


@pytest.mark.parametrize(
    "cell",
    [
        "import errno\nraise OSError(errno.ENOSPC, 'No space left on device')",
        "raise OSError('100 requested and 4 written')",
    ],
)
def test_a_full_disk_ends_in_one_sentence_wherever_it_is_met(project, cell):
    write_notebook(project, "theory", [cell])
    done = shell("python -m analysis run theory", project)
    told = "theory: the disk is full, finished parts are kept; free some space and run the stage again.\n"
    assert (done.returncode, done.stderr) == (1, told)
    assert leftovers(project) == []


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os._exit(0)", "ended before its last cell"),
        ("import os; os.write(2, b'no memory left'); os._exit(1)", "\nno memory left"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended before its last cell"),
        ("import sys; sys.exit(0)", "ended before its last cell"),
    ],
)
def test_stage_fails_when_its_notebook_did_not_finish(project, cell, told):
    write_notebook(project, "theory", [cell, "print('reached')"])
    done = shell("python -m analysis run theory", project)
    assert done.returncode == 1
    assert told in done.stderr
    assert leftovers(project) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("theory fild=cosmos", "theory takes no parameter 'fild'; its parameters cell has: field."),
        ("theorie", "'theorie' is not a stage; choose one of: theory."),
    ],
)
def test_unknown_stage_or_parameter_is_an_error(project, arguments, told):
    write_notebook(project, "theory", ["1"], parameters='field = "cosmos"')
    done = shell(f"python -m analysis run {arguments}", project)
    assert (done.returncode, done.stderr) == (1, told + "\n")
    assert leftovers(project) == []


def test_wrong_parameters_stop_a_stage_before_it_starts(project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("pixels: 160", "pixles: 160"))
    write_notebook(project, "theory", ["1"])
    done = shell("python -m analysis run theory", project)
    assert done.returncode == 1
    assert "grid.pixles" in done.stderr
    assert done.stderr.count("\n") == 1


# the environment


@pytest.fixture
def desk(tmp_path_factory):
    """Make a home with settings of everything that reads some, and variables that name more."""
    home = tmp_path_factory.mktemp("home")
    files = {
        ".config/matplotlib/matplotlibrc": "font.size: 31\n",
        "matplotlibrc": "font.size: 32\n",
        ".keras/keras.json": json.dumps({"epsilon": 0.5, "floatx": "float64"}),
        ".astropy/config/astropy.cfg": "[table]\ndefault_notebook_table_class = desk\n",
        ".ipython/profile_default/startup/one.py": "DESK = 1\n",
        ".ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.exec_lines = ['DESK = 2']\n",
        ".ipython/profile_default/ipython_kernel_config.py": "c.IPKernelApp.exec_lines = ['DESK = 3']\n",
        "packages/sitecustomize.py": f"open({str(home / 'started')!r}, 'a').write('once\\n')\n",
        "packages/papermill.py": "raise SystemExit('papermill of the desk')\n",
        "startup.py": "DESK = 4\n",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    variables = {
        "HOME": home,
        "IPYTHONDIR": home / ".ipython",
        "KERAS_HOME": home / ".keras",
        "KERAS_MAX_EPOCHS": 1,
        "JAX_ENABLE_X64": 1,
        "MATPLOTLIBRC": home / "matplotlibrc",
        "MPLBACKEND": "svg",
        "MPLCONFIGDIR": home / ".config" / "matplotlib",
        "PYTHONHASHSEED": 7,
        "PYTHONOPTIMIZE": 2,
        "PYTHONPATH": home / "packages",
        "PYTHONSTARTUP": home / "startup.py",
    }
    return {name: str(value) for name, value in variables.items()}


@pytest.mark.long
def test_a_stage_is_the_same_at_every_desk(project, desk):
    cells = [
        "import matplotlib, keras, tqdm\nfrom astropy.table import conf\nimport os, site, sys",
        "print(matplotlib.rcParams['font.size'], keras.config.epsilon(), keras.config.floatx())",
        "print(conf.default_notebook_table_class, sys.flags.hash_randomization)",
        "print(__debug__, keras.config.max_epochs(), 'DESK' in dir())",
        "print('JAX_ENABLE_X64' in os.environ, site.ENABLE_USER_SITE)",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2, 1]);",
    ]
    write_notebook(project, "theory", cells)
    done = shell("python -m analysis run theory", project, **desk)
    assert done.returncode == 0, done.stderr
    stored = (project / "notebooks" / "run" / "theory.ipynb").read_text()
    assert "10.0 1e-07 float32\\n" in stored
    assert "table-condensed 0\\n" in stored
    assert "True None False\\n" in stored
    assert "False False\\n" in stored
    assert "image/jpeg" in stored


@pytest.mark.parametrize("variable", ["JUPYTER_PATH", "JUPYTER_DATA_DIR"])
def test_the_kernel_is_this_python(tmp_path, monkeypatch, variable):
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["other"], "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert OwnKernel(kernel_name="python3").kernel_spec.argv[0] == sys.executable


def test_commands_begin_anew_without_the_startup_files_of_the_desk(project, desk):
    write_notebook(project, "theory", ["1"])
    done = shell("python -m analysis run theory", project, **desk)
    assert done.returncode == 0, done.stderr
    started = os.path.join(desk["HOME"], "started")
    with open(started, encoding="utf-8") as file:
        assert file.read() == "once\n", "a process of the stage read sitecustomize of the desk"


def test_the_environment_is_set_whatever_the_desk_says():
    machine = {"PATH": "/bin", "OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "1", "XLA_FLAGS": "--xla_a=1"}
    machine |= {"NUMBA_CACHE_DIR": "/c", "JAX_PLATFORMS": "cpu"}
    user = dict.fromkeys(SET, "of the desk")
    user |= {"NUMBA_DISABLE_JIT": "1", "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16", "JUPYTER_PATH": "/j"}
    user |= {"PYTHONDEVMODE": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "KERAS_MAX_STEPS_PER_EPOCH": "2"}
    assert settled(machine | user) == machine | SET | {"KERAS_BACKEND": "tensorflow"}
    assert settled({"KERAS_BACKEND": "jax"})["KERAS_BACKEND"] == "jax"
    assert settled({"KERAS_BACKEND": ""})["KERAS_BACKEND"] == "tensorflow"
    assert SET["PYTHONPATH"] == str(ROOT)


@pytest.mark.parametrize("backend", ["tensorfow", "JAX", "torch"])
def test_an_unknown_backend_is_told_before_anything_runs(project, backend):
    with pytest.raises(BorderError, match=f"^KERAS_BACKEND is '{backend}'; set it to one of tensorflow, jax"):
        settled({"KERAS_BACKEND": backend})
    if backend == "torch":
        write_notebook(project, "theory", ["1"])
        done = shell("python -m analysis run theory", project, KERAS_BACKEND=backend)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert not (project / ".work").exists()


@pytest.mark.parametrize("name", ["matplotlibrc", "ipython_config.py", "sitecustomize.py"])
def test_settings_beside_the_project_are_told(project, name):
    (project / name).write_text("")
    write_notebook(project, "theory", ["1"])
    done = shell("python -m analysis run theory", project)
    assert done.returncode == 1
    assert done.stderr == f"{project / name} would change what every stage does; move it to another folder.\n"
    assert leftovers(project) == []


def test_progress_is_seen_in_the_terminal_and_not_in_the_notebook(project):
    cell = (
        "from analysis.core import progress\nprogress.INTERVAL_S = 0\n"
        "advance = progress.progress('boxes', 4)\nadvance()"
    )
    write_notebook(project, "theory", [cell, "print('result')"])
    done = shell("python -m analysis run theory", project)
    assert done.returncode == 0, done.stderr
    assert "  boxes: 25 % done, about 0 s left" in done.stderr
    text = (project / "notebooks" / "run" / "theory.ipynb").read_text()
    assert "result" in text
    assert "% done" not in json.dumps([cell.outputs for cell in nbformat.reads(text, 4).cells])
