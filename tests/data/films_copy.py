"""Small copies of DEAP, SEED, SEED-IV and DREAMER in their official layouts, with noise in them."""

import pickle

import numpy as np
from scipy.io import savemat

NAMES = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()


def write_deap(root, subjects=("s01", "s02"), n_films=6, seconds=5):
    """Write pickles with the names of NumPy 1, as they were made with; ratings rise from video to video."""
    folder = root / "data_preprocessed_python"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for subject in subjects:
        labels = np.tile(np.linspace(1, 9, n_films)[:, None], (1, 4))
        labels[:, 1] = labels[::-1, 1]
        data = 10 * rng.normal(size=(n_films, 40, (3 + seconds) * 128))
        written = pickle.dumps({"data": data, "labels": labels}, protocol=2)
        (folder / f"{subject}.dat").write_bytes(written.replace(b"numpy._core", b"numpy.core"))
    return root


def write_seed(root, people=("1", "10"), dates=("20130709", "20131016"), n_films=6, seconds=5):
    """Write a file per participant and session, clips of unlike length, and their labels."""
    folder = root / "Preprocessed_EEG"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for person in people:
        for date in dates:
            clips = {f"djc_eeg{n}": 10 * rng.normal(size=(62, seconds * 200 + n)) for n in range(1, n_films + 1)}
            savemat(folder / f"{person}_{date}.mat", clips)
    savemat(folder / "label.mat", {"label": np.array([[1, 0, -1] * (n_films // 3)])})
    return root


def write_seed_iv(root, people=("2",), seconds=2.2, sessions=("1", "2", "3")):
    """Write the folders 1, 2 and 3, a session each."""
    rng = np.random.default_rng(0)
    for session in sessions:
        folder = root / "eeg_raw_data" / session
        folder.mkdir(parents=True)
        for person in people:
            clips = {f"cz_eeg{n}": 10 * rng.normal(size=(62, round(seconds * 200))) for n in range(1, 25)}
            savemat(folder / f"{person}_2015050{session}.mat", clips, do_compression=False)
    return root


def write_dreamer(root, n_people=2, n_films=6, seconds=5):
    """Write the one file: structures in structures, a cell a clip."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    def cells(values):
        out = np.empty((len(values), 1), dtype=object)
        out[:, 0] = values
        return out

    people = np.empty((1, n_people), dtype=object)
    for person in range(n_people):
        clips = [4200 + 10 * rng.normal(size=(seconds * 128 + n, 14)) for n in range(n_films)]
        scores = (np.arange(n_films) % 5 + 1.0)[:, None]
        people[0, person] = {
            "Age": "22",
            "EEG": {"baseline": cells([clip[:128] for clip in clips]), "stimuli": cells(clips)},
            "ScoreValence": scores, "ScoreArousal": 6 - scores, "ScoreDominance": scores,
        }  # fmt: skip
    names = np.empty((1, 14), dtype=object)
    names[0] = NAMES
    whole = {"Data": people, "EEG_SamplingRate": 128.0, "EEG_Electrodes": names, "noOfSubjects": float(n_people)}
    savemat(root / "DREAMER.mat", {"DREAMER": whole})
    return root
