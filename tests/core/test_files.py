import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from analysis.core.files import DAY_S, HOST, BorderError, atomic, read_json, sha256, write_json
from analysis.core.paths import ROOT


def test_atomic_puts_the_whole_file_in_place(tmp_path):
    path = tmp_path / "new" / "map.txt"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def write_half(path, error):
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise error


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "map.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(BorderError, match=r"map.txt: the disk is full") as caught:
        write_half(tmp_path / "map.txt", OSError(errno.ENOSPC, "No space left on device"))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        OSError("1000000 requested and 4096 written"),  # NumPy's, of an array that is cut short
    ],
)
def test_all_ways_to_be_out_of_space_are_told_alike(tmp_path, error):
    with pytest.raises(BorderError, match=r"map.txt: the disk is full"):
        write_half(tmp_path / "map.txt", error)


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes(tmp_path):
    path = tmp_path / "map.txt"
    script = "import sys, time; from analysis.core.files import atomic\nwith atomic(sys.argv[1]) as temporary:\n"
    script += "    temporary.write_text('half'); print(flush=True); time.sleep(100)"
    writer = subprocess.Popen(
        [sys.executable, "-c", script, path], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    writer.stdout.readline()
    with atomic(path) as temporary:
        temporary.write_text("whole")
    assert len(list(tmp_path.iterdir())) == 2, "the file of a process that is alive was removed"
    writer.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)  # ended, but not yet waited for
    assert len(list(tmp_path.iterdir())) == 2
    with atomic(path) as temporary:
        temporary.write_text("whole again")
    assert list(tmp_path.iterdir()) == [path]
    writer.wait()
    writer.stdout.close()


@pytest.mark.parametrize(
    ("name", "age_s", "kept"),
    [
        (".{host}-1-00000000-map.txt", 0, True),  # of a process that lives, and lived when it was written
        (".{host}-{nobody}-00000000-map.txt", 0, False),  # beyond the numbers that Linux gives
        (".{host}-{this}-00000000-map.txt", 10 * DAY_S, False),  # of another that had this one's number
        (".{host}-{nobody}-00000000-other.txt", 0, True),
        (".{host}-{nobody}-map.txt", 0, True),
        (".elsewhere-1-00000000-map.txt", DAY_S / 2, True),
        (".elsewhere-1-00000000-map.txt", 2 * DAY_S, False),
        ("notes-map.txt", 10 * DAY_S, True),
    ],
)
def test_only_files_that_nobody_will_finish_are_removed(tmp_path, name, age_s, kept):
    other = tmp_path / name.format(host=HOST, this=os.getpid(), nobody=2**22 + 1)
    other.write_text("half")
    then = time.time() - age_s
    os.utime(other, (then, then))
    with atomic(tmp_path / "map.txt") as temporary:
        temporary.write_text("whole")
    assert other.exists() == kept


def test_other_errors_of_the_system_pass(tmp_path):
    with pytest.raises(PermissionError), atomic(tmp_path / "map.txt"):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_json_returns_and_is_the_same_bytes_in_any_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": np.float64(0.1), "a": np.arange(2), "c": {"d": "\u03ba"}})
    write_json(tmp_path / "b.json", {"c": {"d": "\u03ba"}, "a": [0, 1], "b": 0.1})
    assert read_json(tmp_path / "a.json") == {"a": [0, 1], "b": 0.1, "c": {"d": "\u03ba"}}
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_json_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": np.nan})
    with pytest.raises(TypeError, match="set cannot be written"):
        write_json(tmp_path / "a.json", {"a": {1}})
    assert list(tmp_path.iterdir()) == []


def test_bad_json_is_one_sentence_with_its_remedy(tmp_path):
    path = tmp_path / "metrics.json"
    with pytest.raises(BorderError, match=r"metrics.json does not exist; run"):
        read_json(path)
    path.write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(BorderError, match=r"metrics.json is not valid JSON .* delete it"):
        read_json(path)


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_text("abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
