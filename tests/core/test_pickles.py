"""Pickles of plain values are read; programs are not run."""

import os
import pickle
from collections import Counter, OrderedDict

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.core.pickles import read_pickle

VALUE = {
    "floats": np.random.default_rng(0).standard_normal((2, 3, 4)),
    "float32, fortran": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
    "big end": np.arange(4, dtype=">i2"),
    "texts": np.array(["one", "three"]),
    "names": np.array(["a.jpg", "bb.jpg"], dtype=object),
    "list": [1, 2.5, "x", None, True, (3, b"raw")],
    "number": np.float64(2.5),
    "ordered": OrderedDict(b=1, a=[2]),
    "empty": np.zeros((0, 3)),
}


def same(one, other):
    if isinstance(other, np.ndarray) and other.dtype == object:
        return list(one) == list(other)
    if isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    return one == other


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_texts_and_numbers_come_back(protocol, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps((VALUE, ["vid0001"]), protocol=protocol))
    found, names = read_pickle(tmp_path / "a.pkl", "arrays")
    assert names == ["vid0001"] and list(found) == list(VALUE)
    assert all(same(found[name], value) for name, value in VALUE.items())


def test_npy_files_of_one_object_are_read(tmp_path):
    np.save(tmp_path / "a.npy", VALUE)
    found = read_pickle(tmp_path / "a.npy", "arrays")
    assert all(same(found[name], value) for name, value in VALUE.items())


def test_arrays_of_python_2_are_read(tmp_path):
    """Their bytes are what Python 3 takes for a text."""
    raw = repr(np.array([1.5, -2.0]).tobytes())[1:].encode()
    (tmp_path / "a.dat").write_bytes(
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
        b"(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS" + raw + b"\ntb."
    )
    assert (
        read_pickle(tmp_path / "a.dat").tolist()
        == pickle.loads((tmp_path / "a.dat").read_bytes(), encoding="latin1").tolist()
        == [1.5, -2.0]
    )


class Runs:
    def __reduce__(self):
        return os.system, ("touch /tmp/brainbench-was-run",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Runs(), r"asks for (posix|nt)\.system"),
        ([np.zeros(2), {"deep": Runs()}], r"asks for (posix|nt)\.system"),
        (Counter(a=1), "asks for collections.Counter"),
        (np.array([Counter()], dtype=object), "asks for collections.Counter"),
        (np.datetime64("2020-01-01"), "an array of type"),
    ],
)
def test_what_could_run_is_refused(value, message, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(UserError, match=message):
        read_pickle(tmp_path / "a.pkl", "arrays")
    assert not os.path.exists("/tmp/brainbench-was-run")


def test_what_stands_for_a_name_cannot_be_changed(tmp_path):
    # GLOBAL _codecs.encode, then BUILD it with ({}, {"_make": 1}): sets an attribute of what was found.
    (tmp_path / "a.pkl").write_bytes(b"c_codecs\nencode\n(d(S'_make'\nI1\ndtb.")
    with pytest.raises(UserError, match="damaged, or no pickle"):
        read_pickle(tmp_path / "a.pkl", "arrays")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(VALUE, protocol=0))
    read_pickle(tmp_path / "a.pkl", "arrays")


def test_damaged_pickles_are_refused_or_plain(tmp_path):
    rng = np.random.default_rng(0)
    whole = pickle.dumps(VALUE, protocol=4)
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(len(whole))] if rng.integers(2) else whole)
        for at in rng.integers(max(1, len(damaged)), size=3) if damaged else ():
            damaged[at] = rng.integers(256)
        (tmp_path / "a.pkl").write_bytes(bytes(damaged))
        try:
            read_pickle(tmp_path / "a.pkl", "arrays")
        except UserError as error:
            assert "a.pkl" in error.message
