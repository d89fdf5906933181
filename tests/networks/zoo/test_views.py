import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks.zoo.views import (
    FrequencyShift,
    Reflection,
    SignFlip,
    label_order,
    make_views,
    mirror_order,
    plain_name,
    symmetrised,
)

NAMES = ["Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP3", "CPz", "CP4"]
BNCI2014001 = (
    "Fz FC3 FC1 FCz FC2 FC4 C5 C3 C1 Cz C2 C4 C6 CP3 CP1 CPz CP2 CP4 P1 Pz P2 POz".split(),
    [1, 2, 6, 7, 8, 13, 14, 18],
    [5, 4, 12, 11, 10, 17, 16, 20],
)


def trials(n=4, channels=16, times=320, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, channels, times))), torch.tensor(rng.integers(0, 2, n))


def test_the_sign_flips_back():
    X, y = trials()
    turned, labels = SignFlip()(X, y)
    assert torch.equal(turned, -X) and torch.equal(labels, y)
    assert torch.equal(SignFlip()(turned, y)[0], X)
    assert torch.equal(turned.norm(), X.norm())


@pytest.mark.parametrize("sfreq", [160.0, 250.0, 512.0])
def test_ten_hertz_becomes_ten_and_a_tenth_at_every_rate(sfreq):
    seconds = 20
    time = np.arange(int(seconds * sfreq)) / sfreq
    X = torch.tensor(np.sin(2 * np.pi * 10 * time))[None, None]
    kept = X.clone()
    turned, _ = FrequencyShift(sfreq)(X, torch.zeros(1))
    np.testing.assert_allclose(turned[0, 0].numpy(), np.sin(2 * np.pi * 10.1 * time), atol=1e-9)
    assert torch.equal(X, kept)
    spectrum = np.abs(np.fft.rfft(turned[0, 0].numpy()))
    assert np.fft.rfftfreq(len(time), 1 / sfreq)[spectrum.argmax()] == pytest.approx(10.1, abs=1e-9)


def test_a_shift_keeps_power_and_is_undone_by_its_opposite():
    rng = np.random.default_rng(0)
    spectrum = np.zeros(241, complex)  # 3 s at 160 Hz, 8 to 32 Hz
    spectrum[24:97] = rng.normal(size=73) + 1j * rng.normal(size=73)
    X, y = torch.tensor(np.fft.irfft(spectrum))[None, None], torch.zeros(1)
    turned, _ = FrequencyShift(160.0)(X, y)
    assert turned.norm().item() == pytest.approx(X.norm().item(), rel=0.01)
    back, _ = FrequencyShift(160.0, -0.1)(turned, y)
    # Exact inside; the ends leak, because a shift of less than one bin is not periodic.
    error = (back - X)[..., 40:-40].norm() / X[..., 40:-40].norm()
    assert error < 0.05
    still, _ = FrequencyShift(160.0, 0.0)(X, y)
    np.testing.assert_allclose(still.numpy(), X.numpy(), atol=1e-12)


def test_the_shift_agrees_with_scipys_analytic_signal_for_odd_and_even_lengths():
    from scipy.signal import hilbert

    for n in (301, 320):
        X, y = trials(times=n)
        turned = FrequencyShift(250.0)(X, y)[0].numpy()
        expected = (hilbert(X.numpy()) * np.exp(2j * np.pi * 0.1 * np.arange(n) / 250)).real
        np.testing.assert_allclose(turned, expected, atol=1e-10)


def test_reflection_is_an_involution_that_swaps_hands():
    X, y = trials()
    view = Reflection(mirror_order(NAMES), label_order(["left_hand", "right_hand"]))
    turned, labels = view(X, y)
    assert torch.equal(labels, 1 - y)
    assert torch.equal(turned[:, NAMES.index("C3")], X[:, NAMES.index("C4")])
    assert torch.equal(turned[:, NAMES.index("Cz")], X[:, NAMES.index("Cz")])
    back, again = view(turned, labels)
    assert torch.equal(back, X) and torch.equal(again, y)
    assert turned.norm().item() == pytest.approx(X.norm().item())
    with pytest.raises(UserError, match="16 channels"):
        view(X[:, :3], y)


def test_the_published_pairs_come_out_of_the_names():
    names, left, right = BNCI2014001
    order = mirror_order(names)
    np.testing.assert_array_equal(order[left], right)
    np.testing.assert_array_equal(order[right], left)
    assert {names[k] for k in np.flatnonzero(order == np.arange(22))} == {"Fz", "FCz", "Cz", "CPz", "Pz", "POz"}


@pytest.mark.parametrize(
    ("name", "plain"),
    [("Fc5.", "FC5"), ("C3..", "C3"), ("EEG Fp1-REF", "FP1"), ("EEG T7-LE", "T7"), ("Iz", "IZ"), ("EEG 017", "017")],
)
def test_names_without_what_recorders_add(name, plain):
    assert plain_name(name) == plain


def test_names_of_a_recording_as_they_are():
    order = mirror_order(["Fc5.", "Fcz.", "Fc6.", "C3..", "C4..", "T9..", "T10."])
    np.testing.assert_array_equal(order, [2, 1, 0, 4, 3, 6, 5])


def test_a_montage_without_mirror_is_refused():
    with pytest.raises(UserError, match="no mirror for C3"):
        mirror_order(["C3", "Cz", "P3", "P4"])
    with pytest.raises(UserError, match="without positions"):
        mirror_order(["E1", "E2"])  # a geodesic net: odd and even are no sides
    with pytest.raises(UserError, match="without positions"):
        mirror_order(["A1", "A2", "A3", "A4"])  # a Biosemi cap
    with pytest.raises(UserError, match="one name"):
        mirror_order(["C3", "C3..", "C4"])


def cap():
    left = np.array([[-0.05, 0.01, 0.08], [-0.07, -0.03, 0.05], [-0.03, 0.07, 0.06]])
    return np.concatenate([left, left * [-1, 1, 1], [[0.0, 0.0, 0.1]]])


def test_positions_decide_where_names_do_not():
    names = [f"E{k}" for k in range(7)]
    jitter = 0.004 * np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_array_equal(mirror_order(names, cap() + jitter), [3, 4, 5, 0, 1, 2, 6])
    with pytest.raises(UserError, match=r"within 20 mm for E0"):
        mirror_order(names[:3] + names[4:], np.delete(cap(), 3, axis=0))
    with pytest.raises(UserError, match="without positions"):
        mirror_order(names, np.full((7, 3), np.nan))  # unknown is not zero, and zero is unknown
    with pytest.raises(UserError, match="without positions"):
        mirror_order(names, np.zeros((7, 3)))
    with pytest.raises(UserError, match=r"\(7, 3\)"):
        mirror_order(names, np.zeros((7, 2)))


def test_names_and_positions_that_contradict_each_other_are_refused():
    names = ["C3", "CP5", "F1", "C4", "CP6", "F2", "Cz"]
    np.testing.assert_array_equal(mirror_order(names, cap()), [3, 4, 5, 0, 1, 2, 6])
    turned = cap()[[0, 1, 2, 0, 4, 5, 6]]
    with pytest.raises(UserError, match="contradict"):
        mirror_order(names, turned)


def test_a_standard_cap_agrees_by_name_and_by_position():
    mne = pytest.importorskip("mne")
    montage = mne.channels.make_standard_montage("biosemi64")
    names = montage.ch_names
    positions = np.array([montage.get_positions()["ch_pos"][name] for name in names])
    by_name = mirror_order(names)
    np.testing.assert_array_equal(mirror_order(names, positions), by_name)
    np.testing.assert_array_equal(mirror_order([f"Q{k}" for k in range(64)], positions), by_name)


def test_labels():
    assert label_order(["feet", "left_hand", "right_hand"]) == (0, 2, 1)
    assert label_order(np.array(["Left Fist", "Right Fist"])) == (1, 0)
    assert label_order(["feet", "right_hand"]) == (0, 1)  # the other side is no class
    assert label_order([0, 1]) == (0, 1)  # numbers say nothing
    assert label_order(np.array([0, 1]), {0: 1, 1: 0}) == (1, 0)
    with pytest.raises(UserError, match="no class"):
        label_order(["left", "right"], {"left": "rihgt"})
    with pytest.raises(UserError, match="undo itself"):
        label_order([0, 1, 2], {0: 1, 1: 2, 2: 0})
    with pytest.raises(UserError, match="undo itself"):
        Reflection([1, 2, 0])


def test_views_by_name():
    views = make_views(
        ["reflection", "time", "frequency"], classes=["left", "right"], sfreq=160.0, ch_names=["C3", "C4"]
    )
    assert [type(view) for view in views] == [Reflection, SignFlip, FrequencyShift]
    assert repr(views) == "(Reflection([1, 0], [1, 0]), SignFlip(), FrequencyShift(sfreq=160.0, shift_hz=0.1))"
    with pytest.raises(UserError, match="did you mean 'reflection'"):
        make_views(["reflexion"], classes=["left", "right"])
    with pytest.raises(UserError, match="sampling rate"):
        make_views(["frequency"], classes=["left", "right"])
    with pytest.raises(UserError, match="ch_names"):
        make_views(["reflection"], classes=["left", "right"])
    with pytest.raises(UserError, match="sampling rate"):
        FrequencyShift(0.0)


def test_alignment_commutes_with_reflection_only_when_it_is_symmetrised():
    rng = np.random.default_rng(0)
    X = torch.tensor(rng.normal(size=(20, 16, 16)) @ rng.normal(size=(16, 16)).T).transpose(1, 2)
    order = mirror_order(NAMES)
    R = (X @ X.transpose(1, 2)).mean(0).numpy()
    y, view = torch.zeros(20), Reflection(order)

    def gap(covariance):
        values, vectors = np.linalg.eigh(covariance)
        whiten = torch.tensor(vectors / np.sqrt(values) @ vectors.T)
        return float((view(whiten @ X, y)[0] - whiten @ view(X, y)[0]).norm() / (whiten @ X).norm())

    assert gap(symmetrised(R, order)) < 1e-10 < 0.1 < gap(R)
