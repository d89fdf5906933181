"""Split-half ceilings are units, where enough stimuli were shown twice; else there is none, or a refusal."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.studies.cases.ceilings import CeilingBook


def book(method, stimulus):
    responses = SimpleNamespace(
        subject="S1", ceiling=None, ncsnr=None, stimulus=np.array(stimulus), data=np.zeros((len(stimulus), 2)),
        continuous=None,
    )  # fmt: skip
    recipe = SimpleNamespace(ceiling=SimpleNamespace(method=method))
    return CeilingBook(recipe, [responses], None), responses


def test_two_repeated_stimuli_have_no_ceiling():
    ceilings, responses = book("auto", [0, 0, 1, 1, 2, 3])
    assert ceilings.unit(responses, None) is None and ceilings._compute(responses, None) is None
    ceilings, responses = book("split_half", [0, 0, 1, 1, 2, 3])
    with pytest.raises(UserError, match="needs 3 stimuli shown twice, S1 has 2"):
        ceilings.unit(responses, None)
