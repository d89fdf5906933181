"""What is planted in simulated sensors, and whether it is found.

``--part words``: contacts of simulated sEEG that answer words. In each of five data sets contacts are ranked by
training trials of every fold; at least four of the five planted ones must be among the first five (by median rank over
folds). With labels that were permuted before anything else, decoding must stay within what guessing gives.

``--part sphere``: dipoles in a spherical head (MNE's forward solution), seen by caps of 19, 32 and 64 electrodes and by
a helmet of 48 magnetometers, or with `--device` by a real device. In each of ten heads a small tokenizer is trained on
recordings of two caps and helmet, and tried on new recordings of all four: the time courses of the dipoles are read
from the latent sources, one source a dipole, beside the untrained twin; and sensors that the tokenizer does not see are
decoded, under layouts that it knows and under the cap of 32, which it never met. `--mixing field` gives its sources a
lead field.

``--part limits``: what `recipes/tokenizer-eeg.yaml` could reach on the person that it holds out. Withheld sensors are
foretold from spatial components of the people trained on, by least squares and without codes, and from the lead field
of the recipe's tokenizer before any training, without codec and codes; and the bits that its codes have in a window
bound r from above, were the signals Gaussian (reverse water-filling over the eigenvalues of the cross spectra).

    python benchmarks/sensors.py --part words
    python benchmarks/sensors.py --part sphere [--mixing field] [--device ctf151]
    python benchmarks/sensors.py --part limits --data ../shared/data
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import mne
import numpy as np
import torch
from mne.io.constants import FIFF
from scipy.stats import binom

import brainbench as bb
from brainbench.networks.store import NetworkStore
from brainbench.networks.tokens.trained import reconstruction_r
from brainbench.networks.tokens.training import Person, TokenTraining, shape_of
from brainbench.networks.zoo.leadfield import FieldEncoder
from brainbench.networks.zoo.tokenizer import BrainTokenizer, Mixing
from brainbench.recipes.reader import find_recipe, parse_recipe
from brainbench.recipes.tokenizers import PretrainTraining, TokenizerSettings
from brainbench.recordings.physionet import PhysionetMi
from brainbench.recordings.whole.segments import Segments, read_segments
from brainbench.recordings.whole.sensors import normalised, sensors_of, withheld_parts
from brainbench.simulation.words import SimulatedSeeg

mne.set_log_level("ERROR")
torch.set_num_threads(1)

CENTRE = np.array([0.0, 0.0, 0.04])
"""Of the head, in metres."""
TEN_TWENTY = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2".split()
UNSEEN = "32"
N_HEADS, N_SEGMENTS, N_TIMES, SFREQ = 10, 120, 128, 64.0
TOKENIZER = TokenizerSettings(window=64, n_filters=4, ratios=[4, 2], width=32, n_sources=8, n_levels=4, n_codes=32)
TRAINING = PretrainTraining(steps=200, batch_size=8, sensors=16, learning_rate=0.003, ema=0.98)
SEEDS = range(5)
WORDS = """
kind: decode
seed: {seed}
dataset: {{name: simulated-seeg, n_subjects: 1}}
pipelines: [{{name: power, decoder: power_lr, ranges: {{beta_gamma: [10.0, 45.0]}}, window: 0.2, C: 0.1}}]
evaluate: [{{scheme: leave-one-run-out}}]
contacts: {{counts: [1, 5, 20]}}
significance: {{n_permutations: 0}}
bootstrap: {{n_draws: 100}}
"""


def words(seed: int, folder: Path) -> tuple[int, dict[str, float]]:
    """Return how many planted contacts are among the first five, and accuracy by number of contacts."""
    path = folder / f"words{seed}.yaml"
    path.write_text(WORDS.format(seed=seed), encoding="utf-8")
    done = bb.run(path, out=folder / f"run{seed}", cache=folder / f"cache{seed}")
    (drawn,) = done.facts["findings"]["trials"]["contacts"]["maps"]
    first = [name for _, name in sorted(zip(drawn["rank"], drawn["names"], strict=True))[:5]]
    planted = done.facts["dataset"]["truth"]["contacts"]["sim-01"]
    rows = done.scores.query("fold == 'all' and metric == 'accuracy' and scheme == 'leave-one-run-out, best contacts'")
    return len(set(first) & set(planted)), dict(zip(rows["roi"], rows["value"], strict=True))


def permuted(seed: int, folder: Path) -> dict[str, float]:
    """Return the same with labels that were permuted within runs."""
    recordings = SimulatedSeeg.recordings

    def shuffled(self: SimulatedSeeg, subject: str) -> list:
        rng = np.random.default_rng([seed, 5])
        found = recordings(self, subject)
        for one in found:
            rng.shuffle(one.labels)
        return found

    with patch.object(SimulatedSeeg, "recordings", shuffled):  # recipes open the class by its name
        return words(seed, folder / "permuted")[1]


def print_words() -> bool:
    """Print a row a seed; return whether all planted contacts but one are found, and permuted labels are at chance."""
    n = 160
    low, high = binom.interval(1 - 0.05 / (3 * len(SEEDS)), n, 1 / 8)
    print(
        f"\n| seed | planted among the first five | 1 contact | 5 | all 20 | permuted: 1 | 5 | all 20 |\n|{'---|' * 8}"
    )
    good, start = True, time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "permuted").mkdir()
        for seed in SEEDS:
            hits, found = words(seed, folder)
            guess = permuted(seed, folder)
            shown = [f"{value:.2f}" for value in (*found.values(), *guess.values())]
            print(f"| {seed} | {hits} of 5 | {' | '.join(shown)} |", flush=True)
            good &= hits >= 4 and all(low <= n * value <= high for value in guess.values())
    print(
        f"\nChance is .125; within {low / n:.2f} to {high / n:.2f} all {3 * len(SEEDS)} accuracies of guesses lie with "
        f"95 %. {'Held' if good else 'NOT held'}. {time.process_time() - start:.0f} CPU s."
    )
    return good


# Dipoles in a sphere --------------------------------------------------------------------------------------------------


def cap(n: int) -> mne.Info:
    """Return a cap of 19 (10-20), 32 or 64 (BioSemi) electrodes."""
    known = mne.channels.get_builtin_montages()
    twenty = "colin27_1020" if "colin27_1020" in known else "standard_1020"
    montage = mne.channels.make_standard_montage({19: twenty, 32: "biosemi32", 64: "biosemi64"}[n])
    info = mne.create_info(TEN_TWENTY if n == 19 else montage.ch_names, SFREQ, "eeg")
    info.set_montage(montage)
    return info


def helmet(device: str) -> mne.Info:
    """Return a device, its origin in the middle of the head: a real one (MNE 1.12 or later), or one that is made.

    The one that is made has 48 magnetometers on a half sphere, which look at its middle.
    """
    if device != "made":
        info = mne.channels.read_meg_canonical_info(device)
    else:
        height, angle = np.linspace(1, 0, 48), np.arange(48) * np.pi * (3 - 5**0.5)
        outward = np.stack([*(np.sqrt(1 - height**2) * (np.cos(angle), np.sin(angle))), height], axis=1)
        info = mne.create_info([f"MEG{k:03d}" for k in range(48)], SFREQ, "mag")
        for channel, out in zip(info["chs"], outward, strict=True):
            across = np.cross(out, [0.3, 0.5, 0.8])
            across /= np.linalg.norm(across)
            channel["loc"][:12] = [*(0.12 * out), *across, *np.cross(out, across), *out]
            channel["coil_type"] = FIFF.FIFFV_COIL_POINT_MAGNETOMETER
    to_head = np.eye(4)
    to_head[:3, 3] = CENTRE
    with info._unlock():
        info["dev_head_t"] = mne.transforms.Transform("meg", "head", to_head)
    return info


def lead_field(info: mne.Info, places: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return what every dipole does to every sensor ``(n_channels, n_dipoles)``, each dipole equally strong there."""
    sphere = mne.make_sphere_model(CENTRE, 0.09)
    dipoles = mne.setup_volume_source_space(pos={"rr": places, "nn": directions})
    forward = mne.make_forward_solution(info, trans=None, src=dipoles, bem=sphere, mindist=0.0)
    field = forward["sol"]["data"].reshape(len(info["ch_names"]), -1, 3)
    along = np.einsum("cdk,dk->cd", field, directions)
    return along / np.linalg.norm(along, axis=0)


def recorded(field: np.ndarray, n_segments: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return segments of sensors ``(n_segments, n_channels, n_times)``, noise a fifth of them, and of dipoles."""
    n = field.shape[1]
    frequency = np.fft.rfftfreq(n_segments * N_TIMES, 1 / SFREQ)
    bands = np.exp(-(((frequency - np.linspace(3.0, 18.0, n)[:, None]) / 1.5) ** 2) / 2)
    courses = np.fft.irfft(bands * np.fft.rfft(rng.standard_normal((n, n_segments * N_TIMES))))
    courses /= courses.std(axis=1, keepdims=True)
    sensors = field @ courses
    sensors = sensors + 0.2 * sensors.std() * rng.standard_normal(sensors.shape)
    return tuple(x.reshape(len(x), n_segments, N_TIMES).transpose(1, 0, 2) for x in (sensors, courses))


def person(info: mne.Info, X: np.ndarray, name: str) -> Person:
    """Return recordings as a network reads them."""
    sensors = sensors_of(info, name)
    return Person(normalised(X, sensors.kind), sensors.place, sensors.kind, name, name)


def withheld_r(network: BrainTokenizer, info: mne.Info, X: np.ndarray) -> float:
    """Return r of sensors, each while it was withheld, mean over them."""
    sensors = sensors_of(info, "")
    found = np.zeros(len(sensors.names))
    for seen in withheld_parts(len(found), 4, 0):
        one = Person(normalised(X, sensors.kind, seen), sensors.place, sensors.kind)
        found[~seen] = reconstruction_r(network, one, seen)[~seen]
    return float(found.mean())


def dipoles_found(network: BrainTokenizer, one: Person, courses: np.ndarray) -> float:
    """Return r of dipoles' time courses, each read from one latent source, mean over dipoles.

    A ridge reads the samples of every token's span. Which source is a dipole's is chosen in the first half of the
    segments, and r is of the second half.
    """
    with torch.inference_mode():
        tokens = np.concatenate([
            network.encoder(network.windows(x), network.sensor_embed(place, kind)).numpy()
            for x, place, kind in one.batches("cpu")
        ])  # fmt: skip
    n, n_sources, n_tokens, _ = tokens.shape
    target = courses.reshape(n, courses.shape[1], n_tokens, -1).transpose(0, 2, 3, 1)
    half, quarter = np.arange(n // 2), np.arange(n // 4)
    found = np.zeros((2, n_sources, courses.shape[1]))
    for source in range(n_sources):
        ones = np.ones((n, n_tokens, 1))
        features = np.concatenate([tokens[:, source].reshape(n, n_tokens, -1), ones], axis=2)
        for way, (fit, held) in enumerate(((quarter, half[len(quarter) :]), (half, np.arange(n // 2, n)))):
            A, y = (x[fit].reshape(len(fit) * n_tokens, -1) for x in (features, target))
            ridge = 1e-2 * np.trace(A.T @ A) / A.shape[1] * np.eye(A.shape[1])
            read = features[held] @ np.linalg.solve(A.T @ A + ridge, A.T @ y)
            known = target[held].reshape(-1, courses.shape[1])
            guess = read.reshape(-1, courses.shape[1])
            found[way, source] = [np.corrcoef(guess[:, k], known[:, k])[0, 1] for k in range(courses.shape[1])]
    return float(found[1][found[0].argmax(axis=0), np.arange(courses.shape[1])].mean())


def head(seed: int, mixing: Mixing, device: str, folder: Path) -> tuple[int, dict[str, float], float, float]:
    """Return the number of dipoles, withheld r by layout, and r of dipoles, trained and untrained."""
    rng = np.random.default_rng([seed, 11])
    n = int(rng.integers(4, 9))
    directions, outward = rng.standard_normal((2, n, 3))
    outward[:, 2] = np.abs(outward[:, 2])
    directions, outward = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (directions, outward))
    places = CENTRE + outward * rng.uniform(0.04, 0.07, size=(n, 1))
    layouts = {"19": cap(19), "64": cap(64), "helmet": helmet(device), UNSEEN: cap(32)}
    fields = {name: lead_field(info, places, directions) for name, info in layouts.items()}
    people = [
        person(layouts[name], recorded(fields[name], N_SEGMENTS, rng)[0], name) for name in layouts if name != UNSEEN
    ]
    settings = TOKENIZER.model_copy(update={"mixing": mixing})
    training = TokenTraining(
        settings, TRAINING, people, [], SFREQ, NetworkStore(folder), seed=seed, device="cpu", threads=1
    )
    twin, trained = training.built(), training.network()
    new = {name: recorded(fields[name], N_SEGMENTS // 2, rng) for name in layouts}
    withheld = {name: withheld_r(trained, layouts[name], new[name][0]) for name in layouts}
    found = [
        np.mean([dipoles_found(one, person(layouts[k], new[k][0], k), new[k][1]) for k in layouts])
        for one in (trained, twin)
    ]
    return n, withheld, float(found[0]), float(found[1])


def print_sphere(mixing: Mixing, device: str) -> bool:
    """Print a row a head; return whether both claims hold."""
    print("\n| head | dipoles | dipoles found: trained | untrained | withheld r: 19 | 64 | helmet | 32, never met |")
    print(f"|{'---|' * 8}")
    rows, start = [], time.process_time()
    with tempfile.TemporaryDirectory() as name:
        for seed in range(N_HEADS):
            n, withheld, trained, twin = head(seed, mixing, device, Path(name))
            shown = [f"{value:.2f}" for value in (trained, twin, *withheld.values())]
            print(f"| {seed} | {n} | {' | '.join(shown)} |", flush=True)
            *seen, unseen = withheld.values()
            rows.append((trained - twin, float(np.mean(seen)), unseen))
    gain, seen, unseen = np.array(rows).T
    error = gain.std(ddof=1) / len(gain) ** 0.5
    lost = 1 - unseen.mean() / seen.mean()
    good = gain.mean() > 2 * error and lost <= 0.25
    print(
        f"\nTrained above untrained by {gain.mean():.3f}, {gain.mean() / error:.1f} standard errors. Withheld r "
        f"{seen.mean():.3f} under layouts that were trained on, {unseen.mean():.3f} under the cap that was not "
        f"({100 * lost:.0f} % lost). {'Held' if good else 'NOT held'}. {time.process_time() - start:.0f} CPU s."
    )
    return bool(good)


# Limits of the recipe -------------------------------------------------------------------------------------------------


def components_r(people: list[Segments], held: Segments, n: int, n_times: int) -> float:
    """Return r of withheld sensors from `n` spatial components of other people, windows as the tokenizer's."""
    X = np.concatenate([one.inputs for one in people]).transpose(1, 0, 2).reshape(len(held.sensors.names), -1)
    vectors, values, _ = np.linalg.svd(X @ X.T / X.shape[1])
    field = vectors[:, :n] * np.sqrt(values[:n])
    found = np.zeros(len(field))
    for seen in withheld_parts(len(field), 4, 0):
        known = normalised(held.X, held.sensors.kind, seen).astype(np.float64)
        read = np.linalg.solve(field[seen].T @ field[seen] + 0.02 * np.eye(n), field[seen].T)
        guess, truth = np.einsum("cs,nst->nct", field[~seen] @ read, known[:, seen]), known[:, ~seen]
        a, b = (centred_windows(x, n_times) for x in (guess, truth))
        r = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
        found[~seen] = r.mean(axis=(0, 2))
    return float(found.mean())


@torch.inference_mode()
def field_r(settings: TokenizerSettings, held: Segments, seed: int) -> float:
    """Return r of withheld sensors from the courses of sources that an untrained lead field has."""
    torch.manual_seed(seed)
    network = BrainTokenizer(shape_of(settings)).eval()
    encoder = network.encoder
    assert isinstance(encoder, FieldEncoder)
    sensors = network.sensor_embed(*(torch.from_numpy(x)[None] for x in (held.sensors.place, held.sensors.kind)))
    field, found = encoder.field(sensors)[0].numpy(), np.zeros(sensors.shape[1])
    for seen in withheld_parts(len(found), 4, 0):
        known = normalised(held.X, held.sensors.kind, seen)
        weights = field[~seen] @ encoder.inverse(sensors[:, seen])[0].numpy()
        guess = np.einsum("cs,nst->nct", weights, known[:, seen])
        a, b = (centred_windows(x, settings.window) for x in (guess, known[:, ~seen]))
        r = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
        found[~seen] = r.mean(axis=(0, 2))
    return float(found.mean())


def centred_windows(X: np.ndarray, n_times: int) -> np.ndarray:
    """Return windows ``(n, n_channels, n_windows, n_times)`` with mean zero."""
    windows = X[:, :, : X.shape[2] // n_times * n_times].reshape(*X.shape[:2], -1, n_times)
    return windows - windows.mean(axis=-1, keepdims=True)


def bound_r(held: Segments, bits: float, n_times: int) -> float:
    """Return the largest r that so many bits a window allow for Gaussian signals with the same cross spectra."""
    windows = centred_windows(held.inputs.astype(np.float64), n_times).transpose(0, 2, 1, 3)
    windows = windows.reshape(-1, *windows.shape[2:])
    windows /= windows.std(axis=-1, keepdims=True)
    spectrum = np.fft.rfft(windows, norm="ortho")
    cross = np.einsum("wcf,wdf->fcd", spectrum, spectrum.conj()) / len(spectrum)
    half = np.linalg.eigvalsh(cross) / 2  # of the real and of the imaginary part
    variance = np.concatenate([half.ravel(), half[1:-1].ravel()]).clip(min=1e-12)
    low, high = 1e-12, float(variance.max())
    for _ in range(100):
        level = (low * high) ** 0.5
        low, high = (level, high) if np.log2(variance / level).clip(min=0).sum() / 2 > bits else (low, level)
    return float((1 - np.minimum(variance, level).sum() / variance.sum()) ** 0.5)


def print_limits(data: Path) -> bool:
    """Print what components and bits allow."""
    recipe = parse_recipe(find_recipe("tokenizer-eeg").read_text(), "tokenizer-eeg")
    settings, tokenizer = recipe.dataset, recipe.tokenizer
    dataset = PhysionetMi(settings, data / "MNE-eegbci-data")
    found = {name: read_segments(dataset, name, recipe.seconds) for name in settings.subjects}
    held = found[recipe.held_out[0]]
    people = [one for name, one in found.items() if name not in recipe.held_out]
    print(f"\nr of {held.subject}'s withheld sensors, from spatial components of the other people:")
    print("\n| components | r |\n|---|---|")
    for n in (4, 8, 16, 32):
        print(f"| {n} | {components_r(people, held, n, tokenizer.window):.3f} |", flush=True)
    drawn = [field_r(tokenizer, held, seed) for seed in SEEDS]
    shown = f"{min(drawn):.3f} to {max(drawn):.3f} in {len(drawn)} draws"
    print(f"\nFrom {tokenizer.n_sources} sources of an untrained lead field: {shown}.")
    tokens = tokenizer.window // int(np.prod(tokenizer.ratios))
    bits = tokens * tokenizer.n_sources * tokenizer.n_levels * np.log2(tokenizer.n_codes)
    most = bound_r(held, bits, tokenizer.window)
    print(f"\nThe codes have {bits:.0f} bits a window: r of what is read is {most:.3f} at most.")
    return True


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["words", "sphere", "limits"], required=True)
    parser.add_argument("--mixing", choices=["attention", "field"], default="attention", help="of sources (sphere)")
    parser.add_argument("--device", choices=["made", "ctf151", "ctf275"], default="made", help="helmet (sphere)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds MNE-eegbci-data (limits)")
    given = parser.parse_args()
    parts = {
        "words": print_words,
        "sphere": lambda: print_sphere(given.mixing, given.device),
        "limits": lambda: print_limits(given.data),
    }
    sys.exit(0 if parts[given.part]() else 1)


if __name__ == "__main__":
    main()
