"""Computed arrays are kept under their key, and served under no other."""

import shutil

import numpy as np
import pytest

from brainbench.data.array_cache import cached_arrays


def test_an_exchanged_entry_is_computed_again(tmp_path):
    calls = []

    def get(value):
        def compute():
            calls.append(value)
            return {"x": np.full(3, value)}

        return cached_arrays(tmp_path, "betas", {"value": value}, compute)["x"]

    assert get(1.0)[0] == 1.0 and get(2.0)[0] == 2.0 and get(1.0)[0] == 1.0 and calls == [1.0, 2.0]
    first, second = sorted((tmp_path / "betas").iterdir())
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with pytest.warns(UserWarning, match="another key"):
        assert [get(1.0)[0], get(2.0)[0]] == [1.0, 2.0]
    assert len(calls) == 3
