import numpy as np
import pytest

from brainbench.core.last_used import LastUsed


def test_what_was_used_last_is_kept_up_to_a_size():
    made = []

    def make(name, n=10):
        made.append(name)
        return np.zeros(n)

    kept = LastUsed(most=2 * 80)
    first = kept.get("a", lambda: make("a"))
    assert kept.get("a", lambda: make("a")) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    for name in "bac":  # b was used least recently
        kept.get(name, lambda name=name: make(name))
    kept.get("a", lambda: make("a"))
    kept.get("b", lambda: make("b"))
    assert made == ["a", "b", "c", "b"]
    assert len(kept.get("large", lambda: make("large", 100))) == 100
    kept.get("large", lambda: make("large", 100))
    assert made[4:] == ["large", "large"]
