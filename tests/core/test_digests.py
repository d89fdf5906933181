import hashlib
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from brainbench.core.digests import canonical_json, digest, digest_array, digest_file, digest_files


def test_canonical_json_by_hand():
    value = {"b": [1, 2.5, None, True], "a": {"z": "é", "y": 1e-7}}
    assert canonical_json(value) == '{"a":{"y":1e-07,"z":"\\u00e9"},"b":[1,2.5,null,true]}'
    assert digest(value) == hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Model(BaseModel):
    """Any settings."""

    a: int = 1
    path: Path = Path("x")


def test_equal_things_have_equal_digests():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest((1, 2)) == digest([1, 2])
    assert digest({3, 1, 2}) == digest(frozenset([2, 3, 1])) == digest([1, 2, 3])
    assert digest(np.float64(0.1)) == digest(0.1)
    assert digest(np.int64(3)) == digest(3) and digest(np.bool_(True)) == digest(True)
    assert digest(Path("a/b")) == digest("a/b")
    assert digest(Model()) == digest({"a": 1, "path": "x"})
    assert digest(np.arange(3)) == digest({"array": digest_array(np.arange(3))})


def test_different_things_have_different_digests():
    values = [
        None, 0, 1, 1.5, True, "1", "", [], {}, [1], [[1]], [1, 2], [2, 1], {"a": 1}, {"a": 2}, {"a": 1, "b": None},
        0.1, float(np.float32(0.1)), 1e300, Model(a=2), np.arange(3), np.arange(4),
    ]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_has_no_digest(value):
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": value})


@pytest.mark.parametrize("value", [object(), b"bytes", {"a": lambda: 1}])
def test_other_objects_are_refused(value):
    with pytest.raises(TypeError, match="cannot stand in a digest"):
        digest(value)


def test_arrays_by_type_shape_and_bytes():
    a = np.arange(6.0)
    arrays = [
        a, a.astype(np.float32), a.astype(np.int64), a.astype(">f8"), a.reshape(2, 3), a.reshape(3, 2),
        a.reshape(1, 6), a[::-1], a + 1e-12, np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(1),
        np.array(0.0), np.zeros(1, bool), np.zeros(1, np.int8), np.array(["a", "b"]), np.array(["ab", ""]),
        np.array([["a", "b"]]), np.array([b"a", b"b"]),
    ]  # fmt: skip
    assert len({digest_array(array) for array in arrays}) == len(arrays)


def test_memory_order_and_views_do_not_matter():
    a = np.random.default_rng(0).standard_normal((50, 7))
    assert digest_array(np.asfortranarray(a)) == digest_array(a)
    assert digest_array(np.repeat(a, 2, axis=0)[::2]) == digest_array(a)
    assert digest_array(np.array(["a", "bcd"])) == digest_array(np.array(["a", "bcd"], dtype="U10"))


def test_arrays_larger_than_a_block(monkeypatch):
    from brainbench.core import digests

    a = np.random.default_rng(0).standard_normal((1000, 3))
    whole = digest_array(a)
    monkeypatch.setattr(digests, "_CHUNK", 16)
    assert digest_array(a) == whole
    a[999, 2] += 1
    assert digest_array(a) != whole


def test_memory_maps(tmp_path):
    a = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "a.npy", a)
    assert digest_array(np.load(tmp_path / "a.npy", mmap_mode="r")) == digest_array(a)


def test_object_arrays_have_no_digest():
    with pytest.raises(TypeError, match="object array"):
        digest_array(np.array([1, "a"], dtype=object))


def test_files(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"x" * (2 << 20) + b"y")
    b.write_bytes(b"")
    assert digest_file(a) == hashlib.sha256(a.read_bytes()).hexdigest()
    assert digest_file(b) == hashlib.sha256(b"").hexdigest()
    assert digest_files([a, b]) != digest_files([b, a])
    assert digest_files([a, b]) == digest_files([str(a), str(b)])
