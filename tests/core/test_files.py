import errno
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from brainbench.core import files
from brainbench.core.errors import UserError
from brainbench.core.files import (
    HOST,
    atomic_folder,
    atomic_open,
    atomic_path,
    explain_os_errors,
    read_json,
    remove_stale,
    temporary_for,
    write_array,
    write_cached_json,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    with atomic_open(path, "w") as handle:
        handle.write("half")
        handle.flush()
        assert not path.exists()
        assert names(path.parent) == [f".tmp-{HOST}-{os.getpid()}-a.txt"]
    assert path.read_text() == "half" and names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_open(path, "w") as handle:
        handle.write("new")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]
    with pytest.raises(error), atomic_path(tmp_path / "b") as temporary:
        temporary.write_text("new")
        raise error
    assert names(tmp_path) == ["a.txt"]


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [2, "é"]})
    assert path.read_text() == '{\n  "b": 1,\n  "a": [\n    2,\n    "\\u00e9"\n  ]\n}\n'
    for value in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, value)
    assert read_json(path) == {"b": 1, "a": [2, "é"]} and names(tmp_path) == ["a.json"]


def test_text_and_arrays(tmp_path):
    write_text(tmp_path / "a.txt", "ünï")
    assert (tmp_path / "a.txt").read_bytes() == "ünï".encode()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), array)
    with pytest.raises(ValueError, match="allow_pickle"):
        write_array(tmp_path / "b.npy", np.array([object()], dtype=object))
    assert names(tmp_path) == ["a.npy", "a.txt"]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "entry"
    with atomic_folder(path) as temporary:
        (temporary / "one").write_text("1")
        assert not path.exists()
    assert names(tmp_path) == ["entry"] and names(path) == ["one"]
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "other") as temporary:
        (temporary / "half").write_text("1")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["entry"]


def test_the_folder_that_was_finished_first_is_kept(tmp_path):
    path = tmp_path / "entry"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("mine")
        path.mkdir()
        (path / "a").write_text("theirs")
    assert (path / "a").read_text() == "theirs" and names(tmp_path) == ["entry"]


def test_left_overs_of_this_process_do_not_get_into_a_folder(tmp_path):
    left = temporary_for(tmp_path / "entry")
    left.mkdir()
    (left / "old").write_text("x")
    with atomic_folder(tmp_path / "entry") as temporary:
        (temporary / "new").write_text("y")
    assert names(tmp_path / "entry") == ["new"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left on the disk that holds {}; nothing half-written was kept"),
        (errno.EDQUOT, "no space left on the disk that holds {}"),
        (errno.EROFS, "{} cannot be written"),
        (errno.EACCES, "{} cannot be written"),
        (errno.EPERM, "{} cannot be written"),
        (errno.EIO, "{} cannot be written (input/output error)"),
        (errno.ENAMETOOLONG, "{} cannot be written (file name too long)"),
    ],
)
def test_os_errors_are_explained_with_the_folder(tmp_path, number, message):
    with pytest.raises(UserError, match=re.escape(message.format(tmp_path))) as caught:
        with explain_os_errors(tmp_path / "a"):
            raise OSError(number, os.strerror(number))
    assert caught.value.hint and isinstance(caught.value.__cause__, OSError)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    gone = tmp_path / "gone"
    message = re.escape(f"{gone} cannot be written (no such file or directory)")
    with pytest.raises(UserError, match=message), explain_os_errors(gone / "a"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(gone))  # mkdir in /proc says so


def test_other_os_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), explain_os_errors(tmp_path / "a"):
        open(tmp_path / "missing")


def test_a_full_disk_at_the_last_moment(tmp_path, monkeypatch):
    """Buffered bytes may fail as late as when they are flushed to disk."""

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "a", "old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match="no space left"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old" and names(tmp_path) == ["a"]


def test_stale_temporaries_are_those_of_dead_processes(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "sub").mkdir()
        gone = [tmp_path / f".tmp-{HOST}-{dead.pid}-a", tmp_path / "sub" / f".tmp-{HOST}-{dead.pid}-b"]
        gone[0].write_text("x")
        gone[1].mkdir()
        (gone[1] / "features.npy").write_text("x")
        kept = [
            tmp_path / f".tmp-{HOST}-{alive.pid}-a", tmp_path / f".tmp-{HOST}-{os.getpid()}-a",
            tmp_path / f".tmp-{HOST}-1-init", tmp_path / f".tmp-{HOST}x-{dead.pid}-a", tmp_path / ".tmp-notes",
            tmp_path / "finished", tmp_path / f"x.tmp-{HOST}-{dead.pid}-a",
        ]  # fmt: skip
        for path in kept:
            path.write_text("x")
        assert remove_stale(tmp_path) == sorted(gone)
        assert not any(path.exists() for path in gone) and all(path.exists() for path in kept)
        assert remove_stale(tmp_path) == []
        assert remove_stale(tmp_path / "nowhere") == []
    finally:
        alive.communicate(b"\n")


def test_a_process_of_someone_else_is_alive(monkeypatch):
    def not_mine(pid, signal):
        raise PermissionError

    monkeypatch.setattr(files.os, "kill", not_mine)
    assert files._alive(12345)


def test_a_killed_writer_leaves_only_its_temporary(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from brainbench.core.files import atomic_open\n"
        "with atomic_open(sys.argv[1], 'w') as handle:\n"
        "    handle.write('half'); handle.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.json")])
    child.wait()
    assert names(tmp_path) == [f".tmp-{HOST}-{child.pid}-a.json"]
    assert remove_stale(tmp_path) == [tmp_path / f".tmp-{HOST}-{child.pid}-a.json"]
    assert json.dumps(names(tmp_path)) == "[]"


def test_what_a_killed_process_left_in_the_cache_goes_with_the_next_file(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".tmp-{HOST}-{dead.pid}-entry.json"
    left.write_text("{")
    write_cached_json(tmp_path / "entry.json", {"a": 1})
    assert names(tmp_path) == ["entry.json"]
