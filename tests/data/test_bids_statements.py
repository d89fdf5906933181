"""What the files of a BIDS data set say of themselves is obeyed, or refused where two of them disagree."""

import json
import re
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainbench.core.errors import UserError
from brainbench.core.order import natural
from brainbench.data.check import check_dataset
from brainbench.data.layouts.bids.files import agree, entities_of, find_runs, identity_of, read_events
from brainbench.data.layouts.bids.shown import Names
from tests.data.bids_folder import INSIDE, write_bids
from tests.data.test_bids import open_bids


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("bids") / "data"
    write_bids(root, n_runs=2)
    return root


@pytest.fixture
def own(original, tmp_path):
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def derived(root):
    return root / "derivatives" / "fmriprep" / "sub-01" / "func"


def rename(folder, old, new):
    for path in sorted(folder.iterdir()):
        if old in path.name:
            path.rename(path.with_name(path.name.replace(old, new)))


def edit_events(root, run, change):
    path = root / "sub-01" / "func" / f"sub-01_task-read_run-{run}_events.tsv"
    change(pd.read_csv(path, sep="\t", keep_default_na=False)).to_csv(path, sep="\t", index=False)


def test_runs_are_numbers_however_they_are_padded(own):
    raw = own / "sub-01" / "func"
    rename(raw, "run-1_", "run-010_")
    rename(raw, "run-2_", "run-02_")
    rename(derived(own), "run-1_", "run-10_")
    dataset = open_bids(own)
    assert [run.files.name for run in dataset._runs["sub-01"]] == ["run-2", "run-10"]
    names = [run.events.path.name for run in dataset._runs["sub-01"]]
    assert names == ["sub-01_task-read_run-02_events.tsv", "sub-01_task-read_run-010_events.tsv"]
    said = "\n".join(check_dataset(dataset))
    assert re.search(r"sub-01 run-2: 8 betas of 8 events in 120 volumes.*; 1 of 9 events left out: no stimulus", said)
    assert said.index("run-2:") < said.index("run-10:")


def test_two_spellings_of_one_run_are_refused(own):
    shutil.copy(next(derived(own).glob("*run-1*bold.nii.gz")), derived(own) / (
        "sub-01_task-read_run-01_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    ))  # fmt: skip
    with pytest.raises(UserError, match=r"two images of one run: .*run-0?1.* and .*run-0?1"):
        open_bids(own)
    (derived(own) / "sub-01_task-read_run-01_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz").unlink()
    events = own / "sub-01" / "func" / "sub-01_task-read_run-1_events.tsv"
    shutil.copy(events, events.with_name("sub-01_task-read_run-001_events.tsv"))
    with pytest.raises(UserError, match="two tables of events of one run"):
        open_bids(own)


def test_a_file_in_the_folder_of_another_subject_is_refused(own):
    shutil.copytree(own / "sub-01", own / "sub-02")
    shutil.copytree(derived(own).parent, derived(own).parents[1] / "sub-02")
    with pytest.raises(UserError, match="lies in sub-02, but its name says sub-01"):
        open_bids(own)


def test_sessions_are_labels_and_the_events_that_are_there_are_named(own):
    for folder in (own / "sub-01", derived(own).parent):
        (folder / "ses-1").mkdir()
        (folder / "func").rename(folder / "ses-1" / "func")
    rename(own / "sub-01" / "ses-1" / "func", "sub-01_", "sub-01_ses-1_")
    rename(derived(own).parent / "ses-1" / "func", "sub-01_", "sub-01_ses-1_")
    responses = open_bids(own).responses("sub-01")
    assert {row.session for row in responses.account if row.run} == {"1"}
    (own / "sub-01" / "ses-1").rename(own / "sub-01" / "ses-01")
    rename(own / "sub-01" / "ses-01" / "func", "ses-1_", "ses-01_")
    with pytest.raises(UserError, match=r"(?s)no events for .*hint: events of sub-01: sub-01_ses-01_task-read_run-1"):
        open_bids(own)


def set_header(root, t_r, unit):
    for path in derived(root).glob("*preproc_bold.nii.gz"):
        image = nibabel.load(path)
        new = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
        new.header.set_zooms((2.0, 2.0, 2.0, t_r))
        new.header.set_xyzt_units("mm", unit)
        nibabel.save(new, path.with_name("new.nii.gz"))
        path.with_name("new.nii.gz").replace(path)


@pytest.mark.parametrize(
    ("t_r", "unit", "message"),
    [
        (2000.0, "msec", None),
        (2000.0, "sec", "2000 sec as repetition time, which is 2000 s"),
        (2.0, "msec", "which is 0.002 s; recordings have 0.05 to 60 s"),
        (2000.0, "unknown", "2000 without a unit"),
        (1.5, "sec", "repetition time 1.5 s, but .* says 2 s"),
        (2.0, "unknown", None),
        (0.0, "sec", None),
    ],
)
def test_the_unit_of_the_repetition_time_is_read(own, t_r, unit, message):
    set_header(own, t_r, unit)
    if message is None:
        assert open_bids(own)._runs["sub-01"][0].timing.t_r == 2.0
    else:
        with pytest.raises(UserError, match=message):
            open_bids(own)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"RepetitionTime": 2000}, "RepetitionTime is 2000; .*hint: BIDS counts in seconds, not milliseconds"),
        ({"RepetitionTime": "2"}, "RepetitionTime is '2'"),
        ({"RepetitionTime": 2.0, "StartTime": "early"}, "StartTime is 'early'"),
        ({"RepetitionTime": 2.0, "StartTime": 9.0}, "StartTime is 9.0; it is a number of seconds from 0 to 2"),
        ({"VolumeTiming": [0.0, 2.0, 8.0, 10.0]}, "VolumeTiming: volumes were measured 2 to 6 s after one another"),
        ({"VolumeTiming": [0.0, 1.5, 3.0]}, "repetition time 2 s, but .* says 1.5 s"),
        ({"VolumeTiming": 2.0}, "VolumeTiming is the seconds at which every volume was measured"),
    ],
)
def test_numbers_of_a_sidecar_are_seconds(own, facts, message):
    next(derived(own).glob("*preproc_bold.json")).write_text(json.dumps(facts))
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        open_bids(own)


def test_the_raw_sidecar_must_agree_with_that_of_the_derivative(own):
    (own / "task-read_bold.json").write_text(json.dumps({"RepetitionTime": 1.6}))
    with pytest.raises(UserError, match=r"task-read_bold.json: repetition time 1.6 s, but .* says 2 s"):
        open_bids(own)


def test_confounds_have_a_row_for_every_volume(own):
    path = next(derived(own).glob("*run-2_desc-confounds_timeseries.tsv"))
    pd.read_csv(path, sep="\t").iloc[5:].to_csv(path, sep="\t", index=False)
    with pytest.raises(
        UserError, match=r"run-2_desc-confounds_timeseries.tsv: 115 rows, .*bold.nii.gz has 120 volumes"
    ):
        open_bids(own)
    open_bids(own, confounds=[])


def confound(column, rows, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[rows, column] = value

    return change


ALL_ROWS = list(range(120))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (confound("trans_x", [0], "n/a"), r"run-2\S+timeseries.tsv:2  column 'trans_x': no value"),
        (confound("rot_z", [0, 1, 50], "n/a"), r"tsv:3  column 'rot_z': no value\n\S+tsv:52  column 'rot_z': no value"),
        (confound("csf", ALL_ROWS, "n/a"), r"timeseries.tsv  column 'csf': no value in any row"),
        (confound("trans_x", ALL_ROWS, 0.0), r"column 'trans_x' is the same in every volume that is kept"),
        (confound("rot_x", [5], "inf"), r"tsv:7  column 'rot_x': 'inf' is not finite"),
        (confound("rot_x", [5], "oops"), r"tsv:7  column 'rot_x': 'oops' is not a number"),
        (confound("rot_x", [5], "1_5"), r"tsv:7  column 'rot_x': '1_5' is not a number"),
        (lambda table: table.pop("rot_z"), r"nilearn's load_confounds refuses .*rot_z"),
        (
            lambda table: table.__setitem__("trans_z", table["trans_x"] * 3),
            r"tsv: trans_z can be computed from other",
        ),
    ],
)
def test_confounds_that_cannot_be_used_are_named(own, change, message):
    path = next(derived(own).glob("*run-2_desc-confounds_timeseries.tsv"))
    table = pd.read_csv(path, sep="\t")
    change(table)
    table.to_csv(path, sep="\t", index=False)
    with pytest.raises(UserError, match=re.compile(message, re.DOTALL)):
        open_bids(own, confounds=["motion", "wm_csf"]).responses("sub-01")


def test_the_first_volume_of_a_derivative_has_no_value_by_nature(own):
    path = next(derived(own).glob("*run-2_desc-confounds_timeseries.tsv"))
    table = pd.read_csv(path, sep="\t")
    for name in list(table)[:6]:
        table[f"{name}_derivative1"] = table[name].diff()
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    first = next(derived(own).glob("*run-1_desc-confounds_timeseries.tsv"))
    other = pd.read_csv(first, sep="\t")
    for name in list(other)[:6]:
        other[f"{name}_derivative1"] = other[name].diff()
    other.to_csv(first, sep="\t", index=False, na_rep="n/a")
    assert np.isfinite(open_bids(own, motion="derivatives").responses("sub-01").data).all()


def test_moments_and_stays_are_not_mixed(own):
    """nilearn's regressor of an event of 0 s is tens of times lower than that of 2 s, and lower with a shorter TR."""
    from nilearn.glm.first_level import compute_regressor

    times = np.arange(60) * 2.0
    peak = {d: compute_regressor(np.array([[10.0], [d], [1.0]]), "glover", times)[0].max() for d in (0.0, 2.0)}
    assert peak[2.0] / peak[0.0] > 20
    faster = compute_regressor(np.array([[10.0], [0.0], [1.0]]), "glover", np.arange(240) * 0.5)[0].max()
    assert faster < 0.5 * peak[0.0]
    edit_events(own, 1, lambda table: table.assign(duration=np.where(table.index == 3, 0.0, table["duration"])))
    with pytest.raises(UserError, match=r"run-1_events.tsv:5  duration 0 s \(1 such events\), but .*lasts 4 s"):
        open_bids(own)
    edit_events(own, 1, lambda table: table.assign(duration=0.0))
    with pytest.raises(UserError, match=r"duration 0 s \(8 such events\), but .*run-2_events.tsv:3 lasts 4 s"):
        open_bids(own)
    edit_events(own, 2, lambda table: table.assign(duration=0.0))
    assert open_bids(own).responses("sub-01").n_presentations == 16


def test_events_whose_response_is_scrubbed_are_refused_with_their_line(own):
    path = next(derived(own).glob("*run-1_desc-confounds_timeseries.tsv"))
    table = pd.read_csv(path, sep="\t").assign(framewise_displacement=0.1, std_dvars=1.0, global_signal=0.0)
    table.loc[40:50, ["framewise_displacement", "std_dvars"]] = 5.0  # the response to the event at 78 s
    table.to_csv(path, sep="\t", index=False)
    other = next(derived(own).glob("*run-2_desc-confounds_timeseries.tsv"))
    calm = pd.read_csv(other, sep="\t").assign(framewise_displacement=0.1, std_dvars=1.0, global_signal=0.0)
    calm.to_csv(other, sep="\t", index=False)
    with pytest.raises(UserError, match=r"run-1_events.tsv:6  onset 78 s: `scrub` leaves \d+ of the \d+ volumes"):
        open_bids(own, confounds=["motion", "scrub"]).responses("sub-01")
    edit_events(
        own, 1, lambda events: events.assign(stim_file=events["stim_file"].where(events["onset"] != 78.0, "n/a"))
    )
    responses = open_bids(own, confounds=["motion", "scrub"]).responses("sub-01")
    left = [(row.run, row.left_out) for row in responses.account if row.left_out]
    assert ("run-1", "2 of 9 events") in left
    assert any(run == "run-1" and re.fullmatch(r"\d+ of 120 volumes", what) for run, what in left)


def test_voxels_that_were_not_estimated_are_counted(own):
    betas = np.random.default_rng(0).normal(size=(5, 4, 3, 16)).astype(np.float32)
    betas[2] = np.nan
    betas[3, 0, 0] = 1.5
    (own / "glm").mkdir()
    np.save(own / "glm" / "sub-01.npy", betas)
    options = {"betas": "glmsingle", "glmsingle": "glm/{subject}.npy"}
    responses = open_bids(own, **options, atlas="atlas.nii.gz").responses("sub-01")
    assert responses.n_targets == INSIDE.sum() - 13
    assert [(row.left_out, row.why) for row in responses.account[-2:]] == [
        ("12 of 59 voxels of the mask", "not estimated: NaN in every beta"),
        ("1 of 59 voxels of the mask", "never change"),
    ]
    betas[1, 1, 1, 3] = np.nan
    np.save(own / "glm" / "sub-01.npy", betas)
    with pytest.raises(UserError, match="beta 3, voxel of the mask"):
        open_bids(own, **options).responses("sub-01")


def test_block_betas_are_not_served_after_stimuli_changed_their_order(own, tmp_path):
    cache = tmp_path / "cache"
    first = open_bids(own, cache, betas="block")
    by_name = dict(zip(np.array(first._table.stimuli.ids)[first.responses("sub-01").stimulus][:8],
                       first.responses("sub-01").data[:8], strict=True))  # fmt: skip
    stimuli = pd.read_csv(own / "stimuli.csv")
    stimuli.iloc[::-1].to_csv(own / "stimuli.csv", index=False)
    again = open_bids(own, cache, betas="block")
    ids = np.array(again._table.stimuli.ids)[again.responses("sub-01").stimulus][:8]
    for name, row in zip(ids, again.responses("sub-01").data[:8], strict=True):
        np.testing.assert_allclose(row, by_name[name], rtol=1e-4, atol=1e-4)


# Random names and events ----------------------------------------------------------------------------------------

_INDEX = st.tuples(st.integers(0, 120), st.integers(1, 4)).map(lambda pair: str(pair[0]).zfill(pair[1]))
_LABEL = st.text("abcABC0123456789", min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.tuples(_LABEL, _INDEX), min_size=1, max_size=8, unique_by=lambda pair: (pair[0], int(pair[1]))),
       data=st.data())  # fmt: skip
def test_random_entities_come_in_the_order_of_their_numbers(runs, data, tmp_path_factory):
    root = tmp_path_factory.mktemp("names")
    for session, run in data.draw(st.permutations(runs)):
        folder = root / "sub-a1" / f"ses-{session}" / "func"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"sub-a1_ses-{session}_task-x_run-{run}_space-T1w_desc-preproc_bold.nii.gz").touch()
    found = [(run.entities["ses"], run.entities["run"]) for run in find_runs(root, "x", "T1w", None)["sub-a1"]]
    assert sorted(found) == sorted(runs)
    for session in {session for session, _ in runs}:
        numbers = [int(run) for other, run in found if other == session]
        assert numbers == sorted(numbers)
    assert [session for session, _ in found] == sorted((s for s, _ in found), key=natural)


_TIME = st.integers(0, 2300).map(lambda tenths: tenths / 10)
_EVENT = st.tuples(_TIME, _TIME, st.sampled_from(["s0", "s1", "s2", "n/a", ""]), st.sampled_from(["a", "b c", "n/a"]))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(_EVENT, min_size=1, max_size=12), order=st.permutations(["onset", "duration", "stim", "cue"]))
def test_random_events_are_read_as_pandas_reads_them(rows, order, tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "events.tsv"
    frame = pd.DataFrame(rows, columns=["onset", "duration", "stim", "cue"])
    frame[order].to_csv(path, sep="\t", index=False)
    found = read_events(path, "stim", Names(["s0", "s1", "s2"], "stimuli.csv"), 240.0)
    shown = frame[~frame["stim"].isin(["n/a", ""])].sort_values("onset", kind="stable")
    np.testing.assert_array_equal(found.onset, shown["onset"])
    np.testing.assert_array_equal(found.duration, shown["duration"])
    assert [f"s{index}" for index in found.stimulus] == shown["stim"].tolist()
    assert found.labels["cue"].tolist() == shown["cue"].tolist() if len(shown) else len(found) == 0
    assert found.n_others == len(frame) - len(shown)
    assert found.lines == [line + 2 for line in shown.index]


def test_two_paths_are_not_one_stimulus_by_their_names_without_the_folder(tmp_path):
    # stimuli.csv lists the faces: `houses/01.png` would be taken for the face of the same name.
    files = [tmp_path / "stimuli" / "faces" / f"0{k}.png" for k in (1, 2)]
    names = Names(["face1", "face2"], "stimuli.csv", files, [tmp_path, tmp_path / "stimuli"])

    def read(run, *cells):
        path = tmp_path / f"{run}_events.tsv"
        rows = [f"{10 * k}\t1\t{cell}" for k, cell in enumerate(cells)]
        path.write_text("\n".join(["onset\tduration\tstim", *rows]))
        return read_events(path, "stim", names, 240.0).stimulus.tolist()

    assert read("one", "faces/01.png", "stimuli/faces/01.png", "faces\\02.png", "01", "face2") == [0, 0, 1, 0, 1]
    both = r"two_events.tsv:3  column 'stim': 'houses/01.png' and 'faces/01.png' would both be 'face1' of stimuli.csv"
    with pytest.raises(UserError, match=both):
        read("two", "faces/02.png", "houses/01.png")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["sub", "ses", "task", "acq", "run", "echo"]), _INDEX, min_size=1), st.data())
def test_padding_changes_no_recording(entities, data):
    name = "_".join(f"{key}-{value}" for key, value in entities.items()) + "_bold.nii.gz"
    assert entities_of(name) == entities
    padded = {k: data.draw(st.integers(0, 2)) * "0" + v if k in ("run", "echo") else v for k, v in entities.items()}
    assert identity_of(padded) == identity_of(entities)
    assert all(agree(key, padded[key], value) for key, value in entities.items())
    for key, value in entities.items():
        other = str(int(value) + 1)
        assert not agree(key, other, value)
        assert agree(key, f"0{value}", value) == (key in ("run", "echo"))
