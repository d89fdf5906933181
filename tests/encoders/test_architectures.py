"""A sample of all architectures that turns with the day; `benchmarks/architectures.py` judges every one."""

import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from benchmarks.architectures import text_kinds, timm_families, verdicts
from benchmarks.architectures_page import LIBRARIES, read, write

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
SEED = datetime.date.today().toordinal()
HEAVY = {
    "beit", "deepseek_vit", "gemma4_vit", "hieradet_sam2", "mobilenetv5", "naflexvit", "nasnet", "pnasnet", "qwen3_vit",
    "vgg", "inception_v3", "inception_v4", "inception_resnet_v2", "vision_transformer_sam", "maxxvit",
}  # fmt: skip
"""Families whose smallest model takes more than a few seconds."""


def sample(names, n):
    return [str(name) for name in np.random.default_rng(SEED).permutation(names)[:n]]


@pytest.mark.parametrize("family", ["text", "timm"])
def test_todays_architectures_are_read_rightly_or_refused_by_name(family):
    names = text_kinds() if family == "text" else [name for name in timm_families() if name not in HEAVY]
    chosen = [f"{family}:{name}" for name in sample(names, 10 if family == "text" else 3)]
    found = list(verdicts(chosen))
    assert len(found) == len(chosen)
    wrong = [one for one in found if one[1] == "WRONG"]
    assert not wrong, f"seed {SEED}: {wrong}"
    written = {row[0]: row[1] for row in read(PAGE) if row[3] == version(LIBRARIES[family])}
    assert {one[0]: one[1] for one in found if one[0] in written}.items() <= written.items(), f"seed {SEED}"


def test_no_architecture_of_the_page_is_wrong():
    rows = read(PAGE)
    assert len(rows) > 450 and {row[1] for row in rows} == {"read", "refused", "not built"}


def test_a_page_keeps_the_rows_of_earlier_runs(tmp_path):
    page = tmp_path / "architectures.md"
    said = "the layers of X cannot be read (a|b *.1 [2] <c>)"
    write(page, [("text:bert", "refused", said), ("timm:resnet", "read", "5 taps; ")])
    write(page, [("text:bert", "read", "4 taps; ")])
    assert [row[:3] for row in read(page)] == [("text:bert", "read", "4 taps"), ("timm:resnet", "read", "5 taps")]
    write(page, [("text:bert", "refused", said)])
    assert read(page)[0][2] == said
