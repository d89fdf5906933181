"""A decoder of pairs of contacts on a new recording of contacts: it makes the pairs of training, and no others."""

import numpy as np
import pandas as pd
import pytest

import brainbench as bb
from brainbench.commands.apply import apply_run
from brainbench.core.errors import UserError
from brainbench.studies.trials.decoding import pipeline_units
from brainbench.studies.trials.fitted import open_decode_run
from brainbench.studies.trials.trials import open_trials
from tests.data.contacts_copy import raw_of
from tests.figures import unwritten

mne = pytest.importorskip("mne")

RECIPE = """\
kind: decode
dataset:
  {{name: eeg-folder, root: {root}, kind: seeg, events: annotations, reference: bipolar, band: [4.0, 40.0],
    tmin: 0.0, tmax: 1.0}}
pipelines: [{{name: power, decoder: power_lr, C: 0.1}}]
evaluate: [{{scheme: leave-one-run-out}}]
significance: {{n_permutations: 0}}
bootstrap: {{n_draws: 20}}
execution: {{jobs: 1}}
"""


def run_of(seed):
    """Return a run in which contact A2 is louder at one of two words."""
    raw = raw_of(seed=seed)
    for onset, word in zip(raw.annotations.onset, raw.annotations.description, strict=True):
        if word == "yes":
            at = slice(*(int(200 * (onset + s)) for s in (0.0, 1.0)))
            raw._data[1, at] *= 3
    return raw


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contacts")
    root = folder / "data"
    root.mkdir()
    rows = []
    for run in (1, 2, 3):
        run_of(run).save(root / f"s1_run{run}_raw.fif", verbose="ERROR")
        rows.append({"path": f"s1_run{run}_raw.fif", "subject": "s1", "run": f"r{run}"})
    pd.DataFrame(rows).to_csv(root / "recordings.csv", index=False)
    (folder / "recipe.yaml").write_text(RECIPE.format(root=root))
    with pytest.MonkeyPatch.context() as patch:
        unwritten(patch)
        return bb.run(folder / "recipe.yaml", out=folder / "run", cache=folder / "cache")


def test_it_decodes_as_the_fold_did_whatever_the_order_of_contacts(done, tmp_path):
    _, opened = open_decode_run(done.path, None, None)
    _, cases = open_trials(opened)
    ((_, _, units),) = pipeline_units(opened, cases)
    expected = done.folder.read_unit(units[2].digest)["probability"]
    raw = run_of(3)
    more = mne.io.RawArray(raw.get_data()[:1] * 0.5, mne.create_info(["A4"], 200.0, "seeg"), verbose="ERROR")
    raw.add_channels([more], force_update_info=True)  # with A4 there were pairs that training did not have
    raw.reorder_channels(["B2", "A4", "A5", "A3", "C1", "A2", "B1", "A1"])
    raw.save(tmp_path / "new_raw.fif", verbose="ERROR")
    found = apply_run(
        done.path, tmp_path / "new_raw.fif", out=tmp_path / "out.csv", subjects=["s1"], train_runs=["r1", "r2"]
    )
    columns = ["probability_no", "probability_yes"]
    np.testing.assert_allclose(found.table[columns], expected, atol=1e-6)
    assert (found.table["predicted"] == found.table["label"]).mean() > 0.9
    said = " ".join(found.lines)
    assert "3 channels" in said and "A4" in said


def test_a_contact_that_is_missing_is_named(done, tmp_path):
    run_of(4).drop_channels(["A2"]).save(tmp_path / "new_raw.fif", verbose="ERROR")
    with pytest.raises(UserError, match="A2"):
        apply_run(done.path, tmp_path / "new_raw.fif", out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
