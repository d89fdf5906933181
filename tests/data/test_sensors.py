"""Sensors and segments of recordings that are read whole."""

import numpy as np
import pytest

from brainbench.core.errors import UserError
from tests.data.test_trials import folder, make_raw, write_folder

mne = pytest.importorskip("mne")

from brainbench.recordings.whole.segments import read_segments  # noqa: E402
from brainbench.recordings.whole.sensors import (  # noqa: E402
    EEG,
    GRAD,
    MAG,
    interpolated,
    normalised,
    sensors_of,
    withheld_parts,
)

NAMES = ["Fz", "C3", "Cz", "C4", "Pz", "Oz"]


def placed(names=NAMES):
    info = mne.create_info(list(names), 100.0, "eeg")
    info.set_montage("standard_1005")
    return info


def moved(info, shift, scale):
    """Return the same cap elsewhere, larger."""
    new = info.copy()
    for channel in new["chs"]:
        channel["loc"][:3] = scale * channel["loc"][:3] + shift
    return new


def test_places_are_relative_to_the_cap():
    sensors = sensors_of(placed(), "x")
    assert (sensors.kind == EEG).all() and not sensors.place[:, 3:].any()
    np.testing.assert_allclose(sensors.place[:, :3].mean(axis=0), 0, atol=1e-6)
    assert (sensors.place[:, :3] ** 2).sum(axis=1).mean() == pytest.approx(1 / 3)
    other = sensors_of(moved(placed(), [0.1, -0.2, 0.05], 1.3), "x")
    np.testing.assert_allclose(other.place, sensors.place, atol=1e-6)
    assert other.digest() != sensors_of(placed(NAMES[:5]), "x").digest()


@pytest.mark.parametrize("unknown", [np.nan, 0.0])
def test_unknown_positions_are_refused(unknown):
    info = placed()
    info["chs"][3]["loc"][:3] = unknown
    with pytest.raises(UserError, match=r"sub-1: the position of channel C4 is unknown \(1 of 6\)") as error:
        sensors_of(info, "sub-1")
    assert "montage" in error.value.hint


def test_other_channels_are_refused():
    info = mne.create_info(["Cz", "EOG"], 100.0, ["eeg", "eog"])
    with pytest.raises(UserError, match="channel EOG: no electrode"):
        sensors_of(info, "x")


@pytest.mark.parametrize(
    ("system", "mag", "grad"), [("ctf", 0, 274), ("kit", 0, 157), ("bti", 248, 0), ("vv", 102, 204)]
)
@pytest.mark.filterwarnings("ignore")
def test_coils_of_real_recordings_have_their_type(real_data, system, mag, grad):
    """CTF's and KIT's axial gradiometers are gradiometers, though MNE counts them among the magnetometers."""
    root = real_data / "mne-python-tests"
    kit, bti = root / "kit/tests/data", root / "bti/tests/data"
    if system == "ctf":
        info = mne.io.read_info(root / "tests/data/test_ctf_comp_raw.fif", verbose="ERROR")
    elif system == "kit":
        info = mne.io.read_raw_kit(kit / "test.sqd", verbose="ERROR").info
    elif system == "bti":
        files = (bti / f"test_{part}_linux" for part in ("pdf", "config", "hs"))
        info = mne.io.read_raw_bti(*files, verbose="ERROR").info
    else:
        info = mne.read_evokeds(root / "tests/data/test-ave.fif.gz", verbose="ERROR")[0].info
    info = mne.pick_info(info, mne.pick_types(info, meg=True, ref_meg=False, exclude=[]))
    sensors = sensors_of(info, system)
    counts = np.bincount(sensors.kind, minlength=3)
    assert (counts[EEG], counts[MAG], counts[GRAD]) == (0, mag, grad)
    np.testing.assert_allclose(np.linalg.norm(sensors.place[:, 3:], axis=1), 1, atol=2e-3)
    planar = np.array(["PLANAR" in str(channel["coil_type"]) for channel in info["chs"]])
    normal, along = (np.array([c["loc"][k : k + 3] for c in info["chs"]]) for k in (9, 3))
    np.testing.assert_allclose(sensors.place[:, 3:], np.where(planar[:, None], along, normal), atol=1e-6)


def test_segments_are_scaled_type_by_type():
    rng, kind = np.random.default_rng(0), np.array([EEG] * 4 + [MAG] * 3)
    X = rng.normal(size=(5, 7, 50)) * np.array([1e-5] * 4 + [1e-13] * 3)[:, None]
    found = normalised(X, kind)
    for one in (EEG, MAG):
        mine = found[:, kind == one]
        np.testing.assert_allclose(mine.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(mine.std(axis=(1, 2)), 1, rtol=1e-4)
    np.testing.assert_allclose(normalised(1e3 * X, kind), found, rtol=1e-4, atol=1e-5)
    assert not normalised(0 * X, kind).any()


def test_what_is_withheld_does_not_count():
    X, kind = np.random.default_rng(0).normal(size=(3, 6, 40)), np.zeros(6, dtype=int)
    seen = np.array([True] * 4 + [False] * 2)
    other = X.copy()
    other[:, 5] += 100
    np.testing.assert_array_equal(normalised(X, kind, seen)[:, :5], normalised(other, kind, seen)[:, :5])


def test_every_sensor_is_withheld_once():
    parts = withheld_parts(10, 4, seed=1)
    assert len(parts) == 4 and (sum(~part for part in parts) == 1).all()
    assert len(withheld_parts(3, 4, seed=1)) == 3


def test_neighbours_and_splines():
    info = placed()
    sensors, seen = sensors_of(info, "x"), np.array([True, True, False, True, True, True])
    assert NAMES[sensors.nearest(seen)[2]] in ("C3", "C4", "Fz", "Pz")
    assert sensors.nearest(seen)[0] == 0
    # What changes slowly over the head is found by splines.
    X = np.repeat(sensors.place[None, :, :1], 3, axis=0) * np.ones((3, 6, 4))
    found = interpolated(X, info, seen)
    np.testing.assert_allclose(found[:, seen], X[:, seen])
    assert abs(found[0, 2, 0] - X[0, 2, 0]) < 0.1


def test_recordings_are_cut_whole(tmp_path):
    dataset = folder(write_folder(tmp_path), montage="standard_1005", band=[1.0, 30.0], sfreq=50.0)
    found = read_segments(dataset, "s1", 7.0)
    assert found.X.shape == (16, 4, 350) and found.X.dtype == np.float32
    assert found.account[0].used == "8 segments of 7 s, 4 channels"
    assert any("shorter than a segment" in row.why and row.left_out == "4.0 s" for row in found.account)
    raw, *_ = make_raw(seed=0)
    whole = raw.filter(1.0, 30.0, verbose="ERROR").resample(50.0, verbose="ERROR").get_data()
    np.testing.assert_allclose(found.X[:8].transpose(1, 0, 2).reshape(4, -1), whole[:, : 8 * 350], atol=1e-10)
    assert found.digest() == read_segments(dataset, "s1", 7.0).digest() != read_segments(dataset, "s1", 6.0).digest()


def test_events_need_not_be_there(tmp_path):
    write_folder(tmp_path)
    raw, *_ = make_raw()
    raw.set_annotations(mne.Annotations([10.0], [3.0], ["BAD_jump"])).save(tmp_path / "s1_0_raw.fif", overwrite=True)
    dataset = folder(tmp_path, events="annotations", montage="standard_1005", band=[1.0, 30.0])
    found = read_segments(dataset, "s1", 2.0)
    assert len(found) == 58
    assert not any("event" in row.left_out for row in found.account)
    assert any(row.left_out == "2 segments" and "BAD" in row.why for row in found.account)


def test_recordings_that_do_not_fit_are_refused(tmp_path):
    root = write_folder(tmp_path)
    with pytest.raises(UserError, match="position of channels C3, Cz, C4, Pz is unknown"):
        read_segments(folder(root, montage=None), "s1", 2.0)
    with pytest.raises(UserError, match="no segment of 90 s is left"):
        read_segments(folder(root, montage="standard_1005"), "s1", 90.0)
