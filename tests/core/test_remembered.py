import os
import time

import pytest

from brainbench.core import remembered
from brainbench.core.digests import digest_file
from brainbench.core.remembered import file_state, forget_digests, remembered_digest
from brainbench.runs.folder import _unchanged, describe_input


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """A file that changed long ago, as far as the clock of the module says."""
    monkeypatch.setattr(remembered.time, "time_ns", lambda: time.monotonic_ns() + 10**19)
    path = tmp_path / "data.bin"
    path.write_bytes(b"first")
    return path, tmp_path / "cache"


def change_and_hide(path, content):
    """Change a file and put its times of access and modification back, as rsync -t and editors do."""
    status = path.stat()
    time.sleep(0.02)  # the kernel's clock ticks every few milliseconds
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns and path.stat().st_size == status.st_size


def test_a_change_that_keeps_size_and_time_is_noticed(settled):
    path, cache = settled
    first = remembered_digest(path, cache)
    entry = describe_input(path, cache)
    assert _unchanged(entry, verify=False) and _unchanged(entry, verify=True)
    change_and_hide(path, b"other")
    assert not _unchanged(entry, verify=False)
    assert remembered_digest(path, cache) == digest_file(path) != first


def test_what_is_remembered_is_not_hashed_again_until_forgotten(settled, monkeypatch):
    path, cache = settled
    first = remembered_digest(path, cache)
    monkeypatch.setattr(remembered, "digest_file", lambda path: "hashed")
    assert remembered_digest(path, cache) == first
    assert remembered_digest(path, None) == "hashed"
    forget_digests(cache)
    assert remembered_digest(path, cache) == "hashed"
    next((cache / "digests").iterdir()).write_text("{")
    assert remembered_digest(path, cache) == "hashed"


def test_a_file_that_just_changed_is_not_remembered(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"first")
    remembered_digest(path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_copy_and_another_inode_are_hashed_again_and_found_equal(settled):
    path, cache = settled
    entry = describe_input(path, cache)
    copy = path.with_name("copy")
    copy.write_bytes(b"first")
    os.replace(copy, path)
    assert file_state(path)[3] != entry["inode"]
    assert _unchanged(entry, verify=False)
    entry.pop("ctime_ns")  # a manifest of an older run
    assert _unchanged(entry, verify=False)


def test_names_in_a_folder_count_whatever_its_time_says(tmp_path):
    (tmp_path / "a").write_text("")
    entry, status = describe_input(tmp_path), tmp_path.stat()
    (tmp_path / "b").write_text("")
    os.utime(tmp_path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not _unchanged(entry, verify=False)


def test_verify_hashes_what_the_file_system_says_is_unchanged(settled):
    path, cache = settled
    entry = {**describe_input(path, cache), "sha256": "of other bytes"}
    assert _unchanged(entry, verify=False)
    assert not _unchanged(entry, verify=True)
