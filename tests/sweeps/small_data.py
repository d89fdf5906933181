"""Small data of the form of real recordings, for the sweep over settings: noise, with what a recipe must find in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

from tests.data.bold5000_copy import write_bold5000
from tests.data.folders import write_rdms
from tests.data.nsd_copy import write_nsd
from tests.data.pereira_copy import write_pereira, write_pictures
from tests.data.story_copies import write_friends
from tests.encoders.tiny import write_audio, write_bert, write_gpt2, write_vision
from tests.encoders.vision_language import write_regions, write_vision_language
from tests.reconstruction.pretrained_models import write_versatile_diffusion
from tests.sweeps.made_folders import write_alice


def write_long_story(root: Path) -> None:
    """The story of the sweep over files, of 200 volumes and 72 words: inner folds need three rows a regressor."""
    write_alice(root)
    rng = np.random.default_rng(0)
    data = root / "alice_data_shared"
    for folder in ("8mm", "10mm"):
        (data / folder).mkdir(exist_ok=True)
        for subject in ("s1", "s2"):
            np.savetxt(data / folder / f"{subject}-timecourses.txt", rng.normal(size=(200, 6)))
    for path in data.glob("s?-*.txt"):
        np.savetxt(path, rng.normal(size=(210, np.loadtxt(path, ndmin=2).shape[1])))
    head = (root / "alice_stim_shared" / "story.TextGrid").read_text().split("intervals: size")[0]
    words = ("alice", "was", "beginning", "to", "get", "very", "tired", "of", "sitting", "by", "her", "sister") * 6
    lines = [f"intervals: size = {len(words)}"]
    for row, word in enumerate(words):
        start = 21 + 3 * row
        lines += [f"intervals [{row + 1}]:", f"xmin = {start}", f"xmax = {start + 1 + row % 3}", f'text = "{word}"']
    grid = head.replace("xmax = 60", "xmax = 260") + "\n".join(lines) + "\n"
    (root / "alice_stim_shared" / "story.TextGrid").write_text(grid)


def write_blocks(root: Path) -> None:
    """Four runs with a block of each of five categories; every voxel answers to one of them."""
    rng = np.random.default_rng(0)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    names = ["face", "house", "cat", "shoe", "chair"]
    for run in range(1, 5):
        folder = root / "sub001" / "BOLD" / f"task001_run{run:03d}"
        folder.mkdir(parents=True)
        values = rng.normal(100, 2, (4, 3, 1, 48))
        onsets = 2.5 + 22.5 * np.arange(5)
        shown = rng.permutation(names)
        for onset, name in zip(onsets, shown, strict=True):
            rows = slice(int(onset / 2.5) + 1, int(onset / 2.5) + 6)
            values.reshape(12, 48)[names.index(name) :: 5, rows] += 3
        for image in ("bold_1slice", "bold"):
            stored = nibabel.Nifti1Image(values.astype(np.float32), affine)
            stored.header.set_zooms((3.0, 3.0, 3.0, 2.5))
            stored.header.set_xyzt_units("mm", "sec")
            nibabel.save(stored, folder / f"{image}.nii.gz")
        events = pd.DataFrame({"onset": onsets, "duration": 15.0, "trial_type": shown})
        events.to_csv(folder / "bold_events.tsv", sep="\t", index=False)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 3, 1), np.uint8), affine), root / "slice_mask.nii.gz")


def write_letters(root: Path) -> None:
    """Three runs of a style each, with the same five letters; every voxel answers to a patch."""
    rng = np.random.default_rng(0)
    root.mkdir(exist_ok=True)
    patterns = np.tile(rng.integers(0, 2, (5, 144)), (3, 1))
    patterns[5:10, 0], patterns[10:, 1] = 1 - patterns[5:10, 0], 1 - patterns[10:, 1]
    np.savez(
        root / "sub-01_figures.npz", fmri=patterns[:, ::24] + rng.normal(size=(15, 6)), pattern12=patterns,
        run=np.repeat([1, 2, 3], 5), stim_type=np.repeat(["thin", "thick", "wide"], 5),
    )  # fmt: skip


def write_movements(root: Path) -> None:
    """Two participants at rest and in all runs of fist movements: ten events a run, a weak rhythm on one side, a cough,
    an eye."""
    import mne

    names = ["FC3", "C3", "C1", "Cz", "C2", "C4", "FC4", "Oz", "HEOG"]
    rng = np.random.default_rng(0)
    onsets = 2.0 + 5.0 * np.arange(10)
    for subject in ("S001", "S002"):
        (root / subject).mkdir(parents=True)
        for run in (1, 2, 3, 4, 7, 8, 11, 12):
            kinds = rng.permutation(["T1", "T2"] * 5) if run > 2 else np.array(["T0"] * 10)
            data = rng.normal(size=(len(names), 160 * 56))
            for onset, kind in zip(onsets, kinds, strict=True):
                at = slice(int(onset * 160), int((onset + 4) * 160))
                wave = (kind != "T0") * 0.5 * np.sin(2 * np.pi * 11 * np.arange(640) / 160)
                data[names.index("C3" if kind == "T1" else "C4"), at] += wave
            raw = mne.io.RawArray(1e-5 * data, mne.create_info(names, 160.0, "eeg"), verbose="ERROR")
            raw.set_annotations(mne.Annotations([*onsets, 13.0], [4.0] * 10 + [0.5], [*kinds, "BAD_cough"]))
            mne.export.export_raw(root / subject / f"{subject}R{run:02d}.edf", raw, verbose="ERROR")


def write_photos(root: Path) -> None:
    """Three categories of sixteen pictures, each of a colour with noise."""
    rng = np.random.default_rng(0)
    for number, category in enumerate(("cup", "lamp", "tree")):
        (root / category).mkdir(parents=True)
        for index in range(16):
            picture = rng.integers(0, 120, (40, 48, 3))
            picture[:, : 8 + 2 * index, number] += 120
            Image.fromarray(picture.astype(np.uint8)).save(root / category / f"{index:02d}.png")


def write_causal(root: Path) -> None:
    """A small causal network, and word vectors of some words of the story."""
    (root / "causal").mkdir(parents=True)
    write_gpt2(root / "causal")
    vectors = np.random.default_rng(0).normal(size=(5, 6)).round(3)
    words = ("alice", "was", "beginning", "to", "sister")
    lines = [" ".join([word, *map(str, vector)]) for word, vector in zip(words, vectors, strict=True)]
    (root / "vectors.txt").write_text("\n".join(lines) + "\n")


def write_reader(root: Path) -> None:
    """A small network that looks both ways."""
    (root / "bert").mkdir(parents=True)
    write_bert(root / "bert")


def write_listener(root: Path) -> None:
    """A small network that hears, and a story of noise."""
    from scipy.io import wavfile

    (root / "whisper").mkdir(parents=True)
    write_audio("whisper", root / "whisper")
    noise = np.random.default_rng(0).normal(0, 0.1, 4000 * 260)
    wavfile.write(root / "story.wav", 4000, (noise * 32767).clip(-32767, 32767).astype(np.int16))


REGION_WIDTH = 12


def write_photographs(root: Path) -> None:
    """One participant of BOLD5000 with six photographs a run, their captions and regions of noise."""
    copy = write_bold5000(root, ["CSI1"], trials_per_run=6, n_repeated=6, image_size=32)
    write_regions(root / "regions.npz", copy.names, REGION_WIDTH)


def write_concepts(root: Path) -> None:
    """One participant and 180 concepts with a picture, a caption and regions of noise each."""
    latents = write_pereira(root, ["P01"], experiment="180concepts")
    captions = [f"a {'bright' if row[0] > 0.5 else 'dark'} thing {number}" for number, row in enumerate(latents)]
    write_pictures(root, captions, latents, n_each=1)
    write_regions(root / "regions.npz", pd.read_csv(root / "pictures.csv")["id"].to_list(), REGION_WIDTH)


def write_pictures_and_texts(root: Path) -> None:
    """A network of every family that reads pictures, captions or both."""
    texts = [f"a {shade} thing {number}" for shade in ("dark", "bright") for number in range(180)]
    for name, kind in (("visualbert", "visual_bert"), ("lxmert", "lxmert"), ("clip", "clip")):
        (root / name).mkdir(parents=True)
        write_vision_language(kind, root / name, texts=texts, regions=REGION_WIDTH)
    (root / "vit").mkdir()
    write_vision("vit", root / "vit")


SMALL_DATA: dict[str, Callable[[Path], Any]] = {
    "alice": write_long_story,
    "haxby2001": write_blocks,
    "miyawaki2008": write_letters,
    "MNE-eegbci-data": write_movements,
    "caltech101-mini": write_photos,
    "nsd": lambda root: write_nsd(root, ("subj01",), n_sessions=2, n_trials=24, image_size=16, n_shared=5),
    "bold5000": write_photographs,
    "pereira": write_concepts,
    "photos": write_photos,
    "rdm": write_rdms,
    "friends": lambda root: write_friends(root, ("sub-01",), ("s01e01a", "s01e01b")),
}
"""Folder of real recordings -> what writes small data of its form."""
NETWORKS: dict[str, Callable[[Path], Any]] = {
    "alice-smollm2": write_causal,
    "alice-whisper": write_listener,
    "friends-language": write_causal,
    "lens-alice": write_reader,
    "nsd-brain-diffuser": write_versatile_diffusion,
    "visio-linguistic-bold5000": write_pictures_and_texts,
    "visio-linguistic-pereira": write_pictures_and_texts,
}
"""Recipe -> what writes the networks that it reads from files."""
