"""A tokenizer trained on made recordings: the study's contract, its page, kills, and what is refused."""

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.networks import training as loop
from brainbench.networks.tokens import training as tokens
from brainbench.recipes.reader import parse_recipe
from brainbench.studies.check import check_study

mne = pytest.importorskip("mne")

NAMES = ["Fp1", "F3", "Fz", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4"]
RECIPE = """\
kind: pretrain
dataset: {{name: eeg-folder, root: {root}, events: annotations, band: [1.0, 20.0], montage: standard_1005}}
held_out: [s3]
seconds: 2.0
tokenizer:
  {{window: 64, n_filters: 2, ratios: [4, 2], width: 8, n_heads: 2, n_sources: 3, n_levels: 2, n_codes: 8}}
training: {{steps: 12, batch_size: 4, sensors: 6, learning_rate: 0.003, ema: 0.9}}
masked: {{width: 8, n_heads: 2, depth: 2, steps: 8}}
least_perplexity: 0.0
execution: {{jobs: 1}}
"""


def write_people(root, names=NAMES):
    """Write three people with a run each: four sources that many sensors see."""
    root.mkdir()
    info = mne.create_info(list(names), 64.0, "eeg")
    place = mne.channels.make_standard_montage("standard_1005").get_positions()["ch_pos"]
    rows = []
    for number, subject in enumerate(("s1", "s2", "s3")):
        rng = np.random.default_rng(number)
        mixing = 10 * np.array([place[name] for name in names])
        sources = mne.filter.filter_data(rng.normal(size=(3, 64 * 40)), 64.0, 2.0, 12.0, verbose="ERROR")
        X = 1e-5 * (mixing @ sources + 0.1 * rng.normal(size=(len(names), 64 * 40)))
        mne.io.RawArray(X, info, verbose="ERROR").save(root / f"{subject}_raw.fif", verbose="ERROR")
        rows.append({"path": f"{subject}_raw.fif", "subject": subject})
    pd.DataFrame(rows).to_csv(root / "recordings.csv", index=False)
    return root


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch):
    monkeypatch.setattr(tokens, "STRETCH", 4)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("pretrain") / "data")


def recipe(people, **changes):
    text = RECIPE.format(root=people)
    for old, new in changes.items():
        text = "\n".join(new if line.startswith(f"{old}:") else line for line in text.splitlines())
    return text


def test_the_study_keeps_its_contract(people, tmp_path):
    outcome, facts = check_study(parse_recipe(recipe(people), "recipe.yaml"), tmp_path)
    rows = {(row["metric"], row["encoder"], row.get("layer", "")): row["value"] for row in outcome.rows}
    assert {row["subject"] for row in outcome.rows} == {"s3"}
    assert set(rows) == {
        ("withheld_r", "tokenizer", ""), ("withheld_r", "interpolation (MNE)", ""),
        ("withheld_r", "nearest sensor", ""), ("seen_r", "tokenizer", ""),
        *(("masked_accuracy", who, f"level {k}") for who in ("masked codes", "most frequent code") for k in (1, 2)),
    }  # fmt: skip
    assert rows["withheld_r", "interpolation (MNE)", ""] > 0.5  # the sources vary slowly over the head
    assert [one["part"] for one in facts["findings"]["people"]] == ["training", "training", "held_out"]
    assert len(facts["findings"]["training"][0]["phase"]) == 3
    assert len(facts["trained"]) == 2 and "key" in facts["trained"][0]


def test_neighbours_and_splines_by_hand(people):
    """r of one withheld part equals r computed plainly."""
    from brainbench.data.base import Context
    from brainbench.networks.zoo.tokenizer import TokenizerShape
    from brainbench.recipes.datasets import DATASETS, dataset_settings
    from brainbench.recordings.whole.segments import read_segments
    from brainbench.recordings.whole.sensors import normalised, withheld_parts
    from brainbench.studies.pretrain.trial import try_tokenizer

    values = {"name": "eeg-folder", "events": "annotations", "band": [1.0, 20.0], "montage": "standard_1005"}
    dataset = DATASETS.builder("eeg-folder").open(dataset_settings(values), people, Context())
    one = read_segments(dataset, "s1", 2.0)

    class Training:
        shape = TokenizerShape(
            window=64, n_filters=2, ratios=(4, 2), width=8, n_heads=2, n_sources=3, n_levels=2, n_codes=8
        )

        def network(self):
            return tokens.BrainTokenizer(self.shape).eval()

    found = try_tokenizer(Training(), one, 5, seed=0)
    seen = withheld_parts(10, 5, 0)[2]
    X = normalised(one.X, one.sensors.kind, seen)
    for channel in np.flatnonzero(~seen):
        near = np.linalg.norm(one.sensors.place[seen, :3] - one.sensors.place[channel, :3], axis=1).argmin()
        pairs = zip(X[:, seen][:, near].reshape(-1, 64), X[:, channel].reshape(-1, 64), strict=True)
        expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])
        assert found["nearest"][channel] == pytest.approx(expected, abs=1e-5)
        assert found["splines"][channel] > found["nearest"][channel] - 0.2
    np.testing.assert_allclose(found["topography"].sum(axis=1), 1, rtol=1e-4)
    assert found["counts"].sum() == 2 * 3 * 20 * 2 * 8  # levels, sources, segments, windows, tokens


class Killed(BaseException):
    pass


def test_killed_at_three_moments_it_ends_in_the_same_bytes(people, tmp_path, monkeypatch):
    path = tmp_path / "recipe.yaml"
    text = recipe(people).replace("{window: 64", "{mixing: field, code_width: 4, window: 64")
    path.write_text(text.replace("steps: 12,", "steps: 12, codes_after: 6,"))
    whole = bb.run(path, out=tmp_path / "whole", cache=tmp_path / "a")
    page = (whole.path / "report.html").read_text()
    for title in ("Sensors that were not seen", "Training", "Codebooks", "Latent sources", "Masked codes"):
        assert title in page
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", np.inf)
    save, written = loop._State.save, []

    def save_and_die(state, file, key):
        save(state, file, key)
        written.append(key)
        if len(written) in (1, 2, 3):  # before and after codebooks have begun, and in the other network's training
            raise Killed

    monkeypatch.setattr(loop._State, "save", save_and_die)
    for _ in range(3):
        with pytest.raises(Killed):
            bb.run(path, out=tmp_path / "killed", cache=tmp_path / "b")
    again = bb.run(path, out=tmp_path / "killed", cache=tmp_path / "b")
    assert len(set(written)) == 2
    networks = [
        {file.name: file.read_bytes() for file in (tmp_path / cache / "networks").iterdir() if file.is_file()}
        for cache in "ab"
    ]
    assert networks[0] == networks[1] and len(networks[0]) == 4
    assert (again.path / "scores.csv").read_bytes() == (whole.path / "scores.csv").read_bytes()


def test_a_collapsed_codebook_fails_the_run_with_its_name(people, tmp_path):
    text = recipe(people, least_perplexity="least_perplexity: 0.99", masked="masked: null")
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"codebook of level 1 collapsed: perplexity .* of 8 codes"):
        bb.run(path, out=tmp_path / "run", cache=tmp_path / "cache")
    assert not (tmp_path / "run" / "scores.csv").exists()


def test_validation_chooses_an_epoch(people, tmp_path):
    text = recipe(people, held_out="held_out: [s3]\nvalidation: [s2]", masked="masked: null")
    _, facts = check_study(parse_recipe(text, "recipe.yaml"), tmp_path)
    curves = facts["findings"]["training"][0]
    assert curves["best_epoch"] == 1 + int(np.argmin(curves["validation_loss"]))
    assert len(curves["validation_withheld_r"]) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": "held_out: [s4]"}, "`held_out` names 's4', who is not among the recipe's participants"),
        ({"held_out": "held_out: [s1, s2, s3]"}, "leave nobody to train on"),
        (
            {"held_out": "held_out: [s3]\nvalidation: [s3]"},
            "participant of `held_out` and `validation` 's3' is given twice",
        ),
        ({"seconds": "seconds: 0.5"}, "segments have 32 samples, the tokenizer reads 64"),
        ({"training": "training: {steps: 4, batch_size: 1, sensors: 6}"}, None),
    ],
)
def test_what_cannot_be_trained_is_refused(people, tmp_path, changes, message):
    if message is None:  # one segment of two windows: 3 sources x 16 tokens for 100 codes
        text = recipe(people, **changes).replace("n_codes: 8", "n_codes: 100")
        message = "48 vectors for 100 codes"
    else:
        text = recipe(people, **changes)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        bb.run(path, out=tmp_path / "run", cache=tmp_path / "cache")


def test_other_data_and_sizes_are_refused_where_the_recipe_is_read():
    for old, new, message in (
        ("window: 64", "window: 60", "`window` .60 samples. must be a multiple of the product of `ratios` .8."),
        ("n_heads: 2, n_sources", "n_heads: 3, n_sources", "must be even and a multiple of `n_heads`"),
        ("steps: 12,", "steps: 12, codes_after: 12,", "`codes_after` .12. must be less than `steps` .12."),
        ("{{name: eeg-folder, root: {root}, events: annotations, band: [1.0, 20.0], montage: standard_1005}}",
         "{{name: haxby2001}}", "'haxby2001' has no continuous recordings"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            parse_recipe(RECIPE.replace(old, new).format(root="x"), "recipe.yaml")


def test_the_page_of_a_lead_field_counts_the_steps_that_were_made(people, tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        recipe(people)
        .replace("{window: 64", "{mixing: field, window: 64")
        .replace("steps: 12,", "steps: 12, codes_after: 5,")
    )
    done = bb.run(tmp_path / "recipe.yaml", out=tmp_path / "run", cache=tmp_path / "cache")
    page, maps = done.report.read_text(), np.array(done.facts["findings"]["sources"]["values"])
    assert "After 12 steps in 3 epochs;" in page and "After 8 steps in 2 epochs;" in page
    assert "the learned lead field" in page and "Fields of latent sources over electrodes" in page
    assert maps.shape == (3, 10) and maps.min() < 0 < maps.max()
    commitment = done.facts["findings"]["training"][0]["commitment"]  # of epochs of four steps
    assert commitment[0] == 0 and min(commitment[1:]) > 0
