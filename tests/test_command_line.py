"""The command line: exit codes, one sentence for each error, and nothing heavy imported before a command runs."""

import subprocess
import sys

import pytest

from analysis.__main__ import app, main
from analysis.core.paths import ROOT


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for command in app.registered_commands:
        assert f"\n  {command.name or command.callback.__name__} " in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "theory", "fild"], "'fild' is not of the form key=value"),
        (["run", "theory", "field="], "'field=' is not of the form key=value"),
        (["run"], "stage"),
        (["nothing"], "No such command 'nothing'"),
        (["check", "a.fits", "--column", "ra=A"], "No such option"),
        (["ablation", "--minutes", "many"], "Invalid value for '--minutes'"),
        ([], "Missing command"),
    ],
)
def test_a_wrong_command_line_is_told_with_status_2(arguments, told, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err


def test_bad_input_is_a_sentence_with_status_1(capsys):
    assert main(["run", "theorie", "field=a=b"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("'theorie' is not a stage; choose one of: ")
    assert told.count("\n") == 1


def test_commands_import_their_modules_as_they_run():
    script = (
        "import sys, analysis.__main__\nprint(*{'numpy', 'keras', 'tensorflow', 'papermill', 'dvc'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
