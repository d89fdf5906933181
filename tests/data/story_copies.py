"""Writes small copies of data sets of stories, with signal that follows the length of the words."""

import csv
import json

import h5py
import nibabel
import numpy as np

from brainbench.data.haemodynamics import response_at
from brainbench.data.layouts.stories.friends import PARCELS, RESPONSES

TEXT = "the little fox sat quietly by a well and wondered whether anybody remembered the extraordinary garden".split()


def words(seconds, seed=0, first=0.4):
    """Return words with begin and end, a pause now and then."""
    rng = np.random.default_rng(seed)
    found, now = [], first
    while now < seconds - 1:
        word = TEXT[int(rng.integers(len(TEXT)))]
        length = 0.1 + 0.03 * len(word)
        found.append((word, round(now, 3), round(now + length, 3)))
        now += length + (1.5 if rng.random() < 0.1 else 0.25)
    return found


def answer(told, times, n_targets, seed, noise=0.4):
    """Return volumes, ``(n, n_targets)``; the first half of the targets follows the lengths of the words."""
    onset, length = np.array([w[1] for w in told]), np.array([len(w[0]) for w in told], dtype=float)
    signal = response_at(np.asarray(times)[:, None] - onset[None, :], "glover") @ length
    signal = (signal - signal.mean()) / signal.std()
    rng = np.random.default_rng(seed)
    values = noise * rng.standard_normal((len(times), n_targets))
    values[:, : n_targets // 2] += signal[:, None] * rng.uniform(0.5, 1.5, n_targets // 2)
    return values.astype(np.float32)


def marked(root, **said):
    root.mkdir(parents=True, exist_ok=True)
    (root / "synthetic_copy.json").write_text(json.dumps({"copy": True, **said}))


def text_grid(tiers, end):
    """Return a long TextGrid of interval tiers: name -> (label, start, end)."""
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end}",
        "tiers? <exists>",
    ]
    lines += [f"size = {len(tiers)}", "item []:"]
    for k, (name, intervals) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{k}]:", '        class = "IntervalTier"', f'        name = "{name}"', "        xmin = 0"]
        lines += [f"        xmax = {end}", f"        intervals: size = {len(intervals)}"]
        for i, (text, start, stop) in enumerate(intervals, start=1):
            lines += [f"        intervals [{i}]:", f"            xmin = {start}", f"            xmax = {stop}"]
            lines += [f'            text = "{text}"']
    return "\n".join(lines) + "\n"


def write_lebel(root, people=("UTS01", "UTS02"), stories=("avatar", "legacy", "wheretheressmoke"), n_voxels=6, n=60):
    """Recordings of `n` volumes, of which ten are dropped at either end; the story begins after 10 s."""
    folder = root / "derivative"
    (folder / "TextGrids").mkdir(parents=True)
    counts = {}
    for k, story in enumerate(stories):
        counts[story] = n + 4 * k
        told = words(2.0 * counts[story] - 20, seed=k)
        marks = [("", 0.0, 0.1), ("{sp}", 0.1, 0.2), ("LG", 0.2, 0.3)]
        tiers = {"phone": [("AH0", 0.0, 0.2)], "word": [*marks, *told]}
        (folder / "TextGrids" / f"{story}.TextGrid").write_text(text_grid(tiers, 2.0 * counts[story]))
        for p, person in enumerate(people):
            times = 2.0 * np.arange(counts[story]) - 10.0  # of the whole recording, on the story's clock
            values = answer(told, times, n_voxels, seed=10 * k + p)[10:-10]
            (folder / "preprocessed_data" / person).mkdir(parents=True, exist_ok=True)
            with h5py.File(folder / "preprocessed_data" / person / f"{story}.hf5", "w") as file:
                file["data"] = values
    (folder / "respdict.json").write_text(json.dumps(counts))
    marked(root)


def gifti(values, side):
    structure = {"L": "CortexLeft", "R": "CortexRight"}[side]
    meta = nibabel.gifti.GiftiMetaData({"AnatomicalStructurePrimary": structure})
    arrays = [nibabel.gifti.GiftiDataArray(row, datatype="NIFTI_TYPE_FLOAT32", meta=meta) for row in values]
    return nibabel.gifti.GiftiImage(darrays=arrays)


def write_narratives(root, n_vertices=5):
    """Two stories; the second has versions. One recording is excluded, one is heard twice."""
    (root / "code").mkdir(parents=True)
    events = {
        "pieman": {"pieman": {"onset": 10, "duration": 50}},
        "milkyway": {"milkyway": {"onset": 14, "duration": 44}},
        "slumlordreach": {"slumlord": {"onset": 4, "duration": 20}, "reach": {"onset": 30, "duration": 20}},
    }
    heard = {
        "sub-001": ["pieman_run-1", "pieman_run-2", "milkyway"],
        "sub-002": ["pieman", "milkyway", "slumlordreach"],
    }
    heard["sub-003"] = ["pieman", "schema"]
    condition = {"sub-001": "original", "sub-002": "vodka"}
    told = {
        "pieman": words(75, 0), "milkywayoriginal": words(66, 1), "milkywayvodka": words(66, 2),
        "slumlordreach": words(69, 3),
    }  # fmt: skip
    for name, listed in told.items():
        found = [
            {"word": w, "alignedWord": w.lower(), "case": "success", "start": a, "end": b, "startOffset": 9 * k}
            for k, (w, a, b) in enumerate(listed)
        ]
        found.insert(3, {"word": "Mumble", "case": "not-found-in-audio", "startOffset": 0})
        (root / "stimuli" / "gentle" / name).mkdir(parents=True)
        (root / "stimuli" / "gentle" / name / "align.json").write_text(json.dumps({"transcript": "", "words": found}))
    for k, (person, scans) in enumerate(heard.items()):
        for scan in scans:
            task = scan.partition("_")[0]
            name = task + condition.get(person, "") if task == "milkyway" else task
            parts = events.get(task, {task: {"onset": 0, "duration": 10}}).values()
            onset = min(part["onset"] for part in parts)
            n = max(part["onset"] + part["duration"] for part in parts) + 6
            times = 1.5 * (np.arange(n) - onset)
            values = answer(told.get(name, told["pieman"]), times, 2 * n_vertices, seed=k)
            values[:, n_vertices - 1] = 0  # medial wall
            folder = root / "derivatives" / "afni-nosmooth" / person / "func"
            folder.mkdir(parents=True, exist_ok=True)
            for side, part in zip("LR", np.split(values, 2, axis=1), strict=True):
                nibabel.save(
                    gifti(part, side), folder / f"{person}_task-{scan}_space-fsaverage6_hemi-{side}_desc-clean.func.gii"
                )
    meta = {"milkyway": {name: {"condition": condition[name]} for name in condition}}
    exclude = {"pieman": {"sub-002": ["sub-002_task-pieman"]}}
    for name, value in (("event_meta", events), ("task_meta", meta), ("scan_exclude", exclude)):
        (root / "code" / f"{name}.json").write_text(json.dumps(value))
    marked(root)


def write_little_prince(root, people=("sub-EN057", "sub-EN058"), volumes=(40, 44, 36), shape=(3, 3, 2)):
    """Sections whose runs are numbered as the scanner did; a further participant lacks one."""
    told = [words(2.0 * n - 6, seed=k) for k, n in enumerate(volumes)]
    lines = [["", "word", "lemma", "onset", "offset", "pos", "section"]]
    row = 0
    for k, section in enumerate(told, start=1):
        for word, start, end in section:
            lines.append([row, word, word, start, end, "N", k])
            row += 1
    lines.insert(4, [row, "", "", 0.5, 0.6, "", 1])
    folder = root / "annotation" / "EN"
    folder.mkdir(parents=True)
    with (folder / "lppEN_word_information.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    for p, person in enumerate((*people, "sub-EN059")):
        numbers = [15 + 2 * k for k in range(len(volumes))]
        for k, number in enumerate(numbers):
            if person == "sub-EN059" and k == 1:
                continue
            n_voxels = int(np.prod(shape))
            values = answer(told[k], 2.0 * np.arange(volumes[k]), n_voxels, seed=10 * p + k)
            values[:, 0] = 0  # outside of the brain
            image = nibabel.Nifti1Image(values.T.reshape(*shape, volumes[k]), np.diag([2.0, 2.0, 2.0, 1.0]))
            to = root / "derivatives" / person / "func"
            to.mkdir(parents=True, exist_ok=True)
            name = f"{person}_task-lppEN_run-{number:02d}_space-MNIColin27_desc-preproc_bold.nii.gz"
            nibabel.save(image, to / name)
    marked(root, volumes=list(volumes))


def write_friends(root, people=("sub-01", "sub-02"), episodes=("s01e01a", "s01e01b", "s02e03a"), n=48):
    """Episodes in another order than recorded; the second person lacks the last, nobody has season 7."""
    for k, episode in enumerate((*episodes, "s07e01a")):
        told = words(1.49 * n - 4, seed=k)
        rows = [["text_per_tr", "words_per_tr", "onsets_per_tr", "durations_per_tr"]]
        for tr in range(n):
            spoken = [w for w in told if tr * 1.49 <= w[2] < (tr + 1) * 1.49]
            if not spoken:
                rows.append(["", "", "", ""] if tr % 2 else ["", "[]", "[]", "[]"])
                continue
            rows.append([
                " ".join(w[0] for w in spoken), str([w[0] for w in spoken]), str([w[1] for w in spoken]),
                str([round(w[2] - w[1], 3) for w in spoken]),
            ])  # fmt: skip
        rows[2 + k][1:] = [str(["What's"]), "[nan]", "[nan]"]
        to = root / "stimuli" / "transcripts" / "friends" / f"s{int(episode[1:3])}"
        to.mkdir(parents=True, exist_ok=True)
        with (to / f"friends_{episode}.tsv").open("w", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
        for p, person in enumerate(people):
            if episode == "s07e01a" or (p == 1 and episode == episodes[-1]):
                continue
            path = root / "fmri" / person / "func" / RESPONSES.format(subject=person)
            path.parent.mkdir(parents=True, exist_ok=True)
            n_rows = n - 2 + p  # samples and rows of a transcript differ by a few
            values = answer(told, 1.49 * np.arange(n_rows), PARCELS, seed=10 * k + p)
            with h5py.File(path, "a") as file:
                file[f"ses-{len(episodes) - k:03d}_task-{episode}"] = values
    marked(root)
