"""MATLAB files: damage on which SciPy ends the process is a message, and every file that it reads passes."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from scipy.io import matlab

from brainbench.core.errors import UserError
from brainbench.core.matlab import check_mat
from brainbench.data.containers import read_mat

OF_SCIPY = sorted((Path(matlab.__file__).parent / "tests" / "data").glob("*.mat"))
VALUES = {"a": np.arange(6.0), "s": {"x": 1.5, "name": "abc", "in": {"z": np.array([1j, 2.0])}}}


def written(path, **how):
    cells = np.empty(2, dtype=object)
    cells[:] = [np.arange(3), "word"]
    scipy.io.savemat(path, {**VALUES, "cells": cells, "flag": np.array([True, False])}, **how)
    return path.read_bytes()


@pytest.mark.skipif(not OF_SCIPY, reason="this SciPy came without its test data")
def test_every_file_that_scipy_reads_passes():
    passed = 0
    for path in OF_SCIPY:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                scipy.io.loadmat(path)
            except Exception:  # files that it refuses may go either way
                continue
        check_mat(path)
        passed += 1
    assert passed > 90


def test_an_unknown_type_of_numbers_is_a_message_and_no_end_of_the_process(tmp_path):
    """SciPy 1.17 takes the type for a place in a table without asking how long that is: segmentation fault."""
    path = tmp_path / "a.mat"
    whole = written(path)
    at = whole.index(np.arange(6.0).tobytes()) - 8
    assert whole[at] == 9  # double
    for kind in (0x3209, 14, 0):
        path.write_bytes(whole[:at] + kind.to_bytes(4, "little") + whole[at + 4 :])
        with pytest.raises(UserError, match=rf"a.mat: a damaged .mat file \(byte {at}: a part of type {kind}, "):
            read_mat(path, ["a"])


def test_an_array_that_says_it_is_complex_and_has_no_second_part_is_a_message(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"a": np.arange(6.0), "b": np.arange(2)})
    whole = path.read_bytes()
    at = 128 + 8 + 8  # header, tag of the matrix, tag of its flags
    assert whole[at] == 6 and whole[at + 1] == 0
    path.write_bytes(whole[: at + 1] + b"\x08" + whole[at + 2 :])
    with pytest.raises(UserError, match="a part of type 14, which cannot stand there"):
        check_mat(path)


def test_compressed_variables_are_held_against_their_sums(tmp_path):
    path = tmp_path / "a.mat"
    whole = written(path, do_compression=True)
    check_mat(path)
    assert read_mat(path, ["a"])["a"].shape == (1, 6)
    path.write_bytes(whole[:160] + bytes([whole[160] ^ 1]) + whole[161:])
    with pytest.raises(UserError, match="a damaged"):
        read_mat(path, ["a"])
    path.write_bytes(whole[:-9])
    with pytest.raises(UserError, match="a damaged"):
        check_mat(path)


def test_files_that_are_cut_short_anywhere_are_messages(tmp_path):
    path = tmp_path / "a.mat"
    whole = written(path)
    for end in range(129, len(whole) - 8, 7):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"a\.mat"):
            read_mat(path, ["a", "s", "cells", "flag"])


def test_files_of_other_versions_are_left_to_their_readers(tmp_path):
    scipy.io.savemat(tmp_path / "four.mat", {"a": np.arange(3)}, format="4")
    check_mat(tmp_path / "four.mat")
    (tmp_path / "none.mat").write_bytes(b"")
    check_mat(tmp_path / "none.mat")


def test_version_7_3_is_hdf5_behind_a_header_and_no_damage(tmp_path):
    path = tmp_path / "seven.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["a"] = np.arange(3.0)
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124)
    with path.open("r+b") as file:
        file.write(text + b"\x00\x02IM")
    check_mat(path)
    with pytest.raises(UserError, match=r"seven\.mat: a \.mat file of version 7\.3") as refused:
        read_mat(path, ["a"])
    assert "-v7" in str(refused.value.hint)


def test_no_damage_of_one_byte_gets_past(tmp_path):
    """What passes is read by SciPy or refused with an error of Python, in this process."""
    path = tmp_path / "a.mat"
    whole = written(path)
    rng, refused = np.random.default_rng(0), 0
    for at in rng.integers(128, len(whole), 120):
        path.write_bytes(whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :])
        try:
            read_mat(path, [], whole=True)
        except UserError:
            refused += 1
    assert refused > 20
