"""Tables of systems in docs/lens.md and of oracles: every entry is there, runs, says something, and has its test."""

import re
from importlib import import_module

import numpy as np
import pytest
import torch
import transformers

import brainbench as bb
from brainbench.lens.edits import EDITS
from brainbench.recipes.lens import DIAGNOSTICS
from tests.encoders.test_sites import KINDS
from tests.scratch import ROOT

TABLE = (ROOT / "docs" / "lens.md").read_text().split("## Published systems, and where they stand here")[1]
PARTS = TABLE.split("What is no entry of a recipe is a function")


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]


ROWS, FUNCTIONS = map(rows_of, PARTS)
SYSTEMS = (
    "Void in language models", "Do language models use their depth efficiently", "Concept Depth",
    "Beyond English-Centric LLMs", "Hidden Dynamics of Massive Activations",
    "Attention Sinks and Massive Activations in AVSR", "The Lazy Neuron Phenomenon", "CHESS thresholds",
    "Causal Tracing of Object Representations", "Recall vs Reasoning", "Circuit Component Reuse",
    "Induction head clamping", "Data dependence of in-context learning", "Influential Neuron Path in ViT",
    "Distributional Semantics Tracing", "UNIP", "Token Contrast", "Guiding Giants", "Mixture of Tunable Experts",
    "Configurable Foundation Models", "LUQ", "IIT on LLM states", "ViC-Bench",
)  # fmt: skip
"""What the lens is to serve."""
ORACLES = {
    "T1": "lens/test_stream.py::test_what_is_planted_is_found",
    "T2": "lens/test_stream.py::test_blocks_that_normalise_have_no_ratio_of_the_whole",
    "T3": "encoders/test_sites.py::test_sites_are_what_they_are_called",
    "T4": "lens/test_stream.py::test_void_is_a_growth_below_a_share_of_the_range_before",
    "T5": "lens/test_stream.py::test_void_is_a_growth_below_a_share_of_the_range_before",
    "T6": "lens/test_edits.py::test_skipping_is_not_reading_out_the_last_active_block",
    "T7": "lens/test_attention.py::test_mutual_information_of_known_patterns",
    "T8": "lens/test_attention.py::test_a_mask_alone_has_mutual_information",
    "T9": "lens/test_attention.py::test_distances_on_a_grid_and_along_a_text",
    "T10": "lens/test_attention.py::test_distances_of_sensors_are_centimetres_and_lags",
    "T11": "lens/test_units.py::test_smoothing_follows_its_closed_form",
    "T12": "lens/test_units.py::test_sparsity_of_relu_is_what_its_bias_makes_it",
    "T13": "lens/test_units.py::test_a_massive_value_is_found_where_it_stands",
    "T14": "lens/test_units.py::test_the_entropy_of_equal_clusters",
    "T15": "lens/test_content.py::test_what_is_written_at_a_block_is_read_from_there_on",
    "T16": "lens/test_content.py::test_a_label_that_needs_a_nonlinearity_appears_where_it_is_computed",
    "T17": "lens/test_edits.py::test_a_later_block_feels_the_skip_of_what_it_reads",
    "T18": "lens/test_edits.py::test_erasing_a_token_costs_everything_until_it_is_copied_and_nothing_after",
    "T19": "lens/test_effects.py::test_recovery_of_the_parts_of_a_linear_stream_is_their_weight",
    "T20": "lens/test_edits.py::test_a_match_survives_without_the_head_that_prepares_it_where_its_pattern_is_held",
    "T21": "lens/test_effects.py::test_a_frozen_head_says_what_was_used_and_a_refitted_one_what_is_gone",
    "T22": "lens/test_effects.py::test_a_planted_head_stands_out_of_its_controls",
    "T23": "lens/test_oracles.py::test_a_planted_unit_is_the_only_one_a_localizer_finds",
    "T24": "lens/test_edits.py::test_steering_a_linear_stream_has_a_closed_form",
    "T25": "lens/test_edits.py::test_thresholds_that_know_what_units_write_lose_less",
    "T26": "lens/test_oracles.py::test_conductance_adds_up_and_the_path_is_that_of_the_live_units",
    "T27": "lens/test_oracles.py::test_layers_are_matched_with_those_of_a_network_of_half_steps",
    "T28": "lens/test_effects.py::test_dissociation_of_disjoint_and_of_shared_circuits",
    "T29": "lens/test_oracles.py::test_a_product_of_two_modalities_gains_from_both_from_the_block_on_that_makes_it",
    "T30": "lens/test_edits.py::test_every_edit_leaves_what_lies_before_it_and_the_network_itself_alone",
    "T31": "encoders/test_sites.py::test_attention_that_shows_no_pattern_is_refused",
    "T32": "lens/test_edits.py::test_blocks_that_give_a_tuple_are_read_and_edited_like_others",
    "T33": "lens/test_oracles.py::test_a_curve_over_checkpoints_is_found_again_with_its_peak",
}
"""Known answers that numbers of the lens are held against."""
FAMILIES = {"vit", "dinov2", "dinov3", "siglip", "clip vision", "clip text", "bert", "visual bert", "gpt2", "llama",
            "qwen2", "qwen3", "t5", "whisper", "wav2vec2", "hubert", "timm", "rbtransformer"}  # fmt: skip
"""Of networks, whose sites and edits are held against the invariants; MVCNet is refused, which is a test of its own."""
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
    assert_test(test)


def assert_test(where):
    path, name = where.split("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), where


def test_every_system_has_a_row():
    told = [row[0].lower() for row in ROWS + FUNCTIONS]
    assert [name for name in SYSTEMS if not any(name.lower() in one for one in told)] == []


def test_every_oracle_is_a_test_over_every_family():
    assert list(ORACLES) == [f"T{number}" for number in range(1, 34)]
    for where in ORACLES.values():
        assert_test(f"tests/{where}")
    assert set(KINDS) >= FAMILIES
    assert_test("tests/lens/test_table.py::test_a_network_whose_transformer_is_no_row_of_equal_blocks_is_refused")


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
    assert_test(test)
