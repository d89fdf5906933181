"""The table of published systems in docs/lens.md: every entry is there, runs, says something, and has its test."""

import re
from importlib import import_module

import numpy as np
import pytest
import torch
import transformers

import brainbench as bb
from brainbench.lens.edits import EDITS
from brainbench.recipes.lens import DIAGNOSTICS
from tests.scratch import ROOT

TABLE = (ROOT / "docs" / "lens.md").read_text().split("## Published systems, and where they stand here")[1]
PARTS = TABLE.split("What is no entry of a recipe is a function")


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]


ROWS, FUNCTIONS = map(rows_of, PARTS)
SENSORS = {"distance_cm", "lag_ms"}
"""Columns of tokens that are sensors, which no network of the table's has."""


@pytest.fixture(scope="module")
def seen():
    """All diagnostics of a small language model with ReLU, that is read with labels and words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=60, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24,
            hidden_act="relu", tie_word_embeddings=True,
        )  # fmt: skip
        network = transformers.LlamaModel(config)
        tokens = torch.randint(4, 60, (40, 20))
    given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return bb.lens(network, given, labels=["a", "b"] * 20, words=[5])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_of_the_table_is_true(row, seen):
    _, entry, columns, test = row
    assert entry in EDITS or entry in DIAGNOSTICS
    for column in filter(None, columns.split(", ")):
        assert column in {one.name for one in DIAGNOSTICS[entry].columns}
        assert np.isfinite(seen[column]).all(), f"{column} is empty: {seen.attrs['reasons'].get(column)}"
    path, name = test.split("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_no_entry_and_no_column_is_without_a_row():
    entries = {row[1] for row in ROWS}
    assert entries == {*EDITS, *DIAGNOSTICS}
    named = {column for row in ROWS for column in row[2].split(", ")} - {""}
    assert named | SENSORS == {
        column.name for one in map(DIAGNOSTICS.__getitem__, DIAGNOSTICS) for column in one.columns
    }


@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: row[1])
def test_every_function_of_the_table_is_there_with_its_test(row):
    _, function, test = row
    module, _, name = function.strip("`").rpartition(".")
    assert callable(getattr(import_module(module), name))
    path, called = test.split("::")
    assert re.search(rf"^def {called}\(", (ROOT / path).read_text(), re.MULTILINE), test
