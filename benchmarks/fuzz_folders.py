"""Folders of the data set `folder` with one or two things wrong, run from recipe to tables; see fuzz.py."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import yaml
from PIL import Image

import brainbench as bb
from tests.data.folders import VOLUMES, write_rdms, write_story, write_trials, write_volumes
from tests.sweeps.made_folders import write_photos

ENCODE = {
    "kind": "encode",
    "folds": {"n_splits": 3},
    "head": {"n_alphas": 5, "inner_folds": 2},
    "significance": {"n_permutations": 19},
    "bootstrap": {"n_draws": 10},
}
PIXELS = [{"name": "pixels", "family": "pixels", "role": "model", "image_size": 4}]
STORY: dict[str, Any] = {
    **ENCODE,
    "dataset": {"name": "folder", "continuous": True, "modality": "word"},
    "encoders": [{"name": "rate", "family": "word_rate", "role": "model"}],
    "folds": {"n_splits": 3, "trim_s": 4.0},
    "timing": {"high_pass_s": 60.0},
}
LDA = [{"name": "lda", "classifier": "shrinkage_lda"}]
DECODE = {
    "kind": "decode",
    "dataset": {"name": "folder"},
    "decoding": {"label": "category", "decoders": LDA},
    "hold_out": ["run"],
    "significance": {"n_permutations": 19},
    "bootstrap": {"n_draws": 10},
}
RSA = {
    "kind": "rsa",
    "dataset": {"name": "rdm", "modality": "text", "rdms": "{subject}.npy", "rois": ["V1", "LO"]},
    "encoders": [{"name": "random", "family": "random", "role": "model", "width": 4}],
    "significance": {"n_permutations": 19},
}
LENS = {
    "kind": "lens",
    "dataset": {"name": "stimuli"},
    "encoders": [{"name": "vit", "family": "image", "model": "test_vit", "weights": "random", "image_size": 32}],
    "lens": {"diagnostics": ["stream", "units"], "stimuli": 6},
    "bootstrap": {"n_draws": 10},
}


def _trials(root: Path) -> None:
    write_trials(root)
    for path in root.glob("sub-*/design.csv"):
        table = pd.read_csv(path)
        table["category"] = np.where(table["stimulus"].isin(["image0", "image1", "image2"]), "animal", "tool")
        table.to_csv(path, index=False)


def _volumes(root: Path) -> None:
    _trials(root)
    write_volumes(root)
    for path in [root / "rois.csv", *root.rglob("responses.npy")]:
        path.unlink()


BASES: Mapping[str, tuple[Callable[[Path], object], dict[str, Any]]] = {
    "trials": (_trials, {**ENCODE, "dataset": {"name": "folder"}, "encoders": PIXELS}),
    "similarity": (
        _trials,
        {**ENCODE, "dataset": {"name": "folder"}, "encoders": PIXELS, "similarity": ["rsa", "cka"]},
    ),
    "decode": (_trials, DECODE),
    "story": (write_story, STORY),
    "volumes": (_volumes, {**ENCODE, "dataset": {"name": "folder", **VOLUMES}, "encoders": PIXELS}),
    "rsa": (write_rdms, RSA),
    "lens": (write_photos, LENS),
}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"seed": 2**32}, {"seed": 2**63}, {"seed": 2**32 - 1}, {"hold_out": ["run"]}, {"hold_out": ["stimulus", "run"]},
    {"folds": {"n_splits": 2}}, {"folds": {"n_splits": 6}}, {"folds": {"n_splits": 60}},
    {"responses": {"center": "run"}},
    {"responses": {"scale": "run"}}, {"ceiling": {"method": "split_half"}}, {"unique": {"over": "controls"}},
    {"significance": {"n_permutations": 0}}, {"bootstrap": {"n_draws": 0}},
    {"head": {"log10_alphas": [-30.0, 30.0]}},
    {"head": {"log10_alphas": [200.0, 300.0]}}, {"decoding": {"label": "run", "decoders": LDA}},
    {"decoding": {"label": "category", "decoders": LDA, "pairwise": True}},
    {"reduction": {"n_components": 3}},
    {"zero_shot": {"n_shuffles": 10}}, {"timing": {"hrf": "glover"}}, {"timing": {"high_pass_s": 1e-3}},
)  # fmt: skip
SUFFIXES = (".npy", ".npy", ".csv", ".csv", ".png", ".gz", ".tsv")
TEXTS = (
    "", " ", "NA", "nan", "inf", "-1", "1e155", "1e-200", "0", "007", "../../x", "a\nb", "a\x00b", "\x1b[2J", "é",
    "=1+1", "x" * 3000, "images", "image0", "run-1", "1,5", '"', "None",
)  # fmt: skip
SCALES = (1e155, 1e-155, 1e-200, 1e-310, 1e30, 1e-30, 1e6, -1.0, 3e38)


def mutated_folder(rng: random.Random) -> Callable[[], str]:
    """Return a case of one folder that was changed in one or two ways."""
    name = rng.choice(list(BASES))
    settings = dict(rng.choice(SETTINGS)) if rng.random() < 0.25 else {}
    steps: list[str] = [f"{name} {settings or ''}"]
    folder = tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)
    root = Path(folder.name) / "data"
    shutil.copytree(base(name), root)
    scale = 1.0
    for _ in range(rng.choice((1, 1, 1, 2)) if not settings else rng.choice((0, 0, 1))):
        files = sorted(path for path in root.rglob("*") if path.is_file())
        if not files:
            break
        kind = rng.choice(SUFFIXES)
        path = rng.choice([one for one in files if one.suffix == kind] or files)
        if path.name == "responses.npy" and rng.random() < 0.15 and not settings and len(steps) == 1:
            scale = rng.choice(SCALES)
            for one in root.rglob("responses.npy"):
                np.save(one, np.load(one).astype(np.float64) * scale)
            steps.append(f"responses times {scale:g}")
            break
        how = rng.choice(list(_ways(path)))
        steps.append(f"{path.relative_to(root)}: {how.__name__}")
        with contextlib.suppress(Exception):  # what was changed before may no longer be read
            how(path, rng)

    def case() -> str:
        with folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = run(name, root, settings)
            numbers = scores["value"].to_numpy(float)
            if np.isinf(numbers).any():
                raise AssertionError("an infinite score")
            if scale != 1.0:
                np.testing.assert_allclose(numbers, expected(name), rtol=1e-3, atol=1e-4, err_msg="another score")
        return "ran"

    case.text = "\n".join(steps)  # type: ignore[attr-defined]
    return case


def run(name: str, root: Path, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Run the recipe of a base on a folder and return its scores; no page is drawn."""
    recipe = {**BASES[name][1], **settings}
    recipe["dataset"] = {**recipe["dataset"], "root": str(root)}
    file = root.parent / "mine.yaml"
    file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with patch("brainbench.report.write_report", lambda folder: (folder / "report.html").write_text("")):
        return bb.run(file, out=root.parent / "run", cache=root.parent / "cache").scores


@cache
def base(name: str) -> Path:
    """Return the folder of a base before anything was changed."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-base-")) / "data"
    BASES[name][0](folder)
    return folder


@cache
def expected(name: str) -> np.ndarray:
    """Return the scores of a base."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        root = Path(folder) / "data"
        shutil.copytree(base(name), root)
        for one in root.rglob("responses.npy"):
            np.save(one, np.load(one).astype(np.float64))
        return run(name, root, {})["value"].to_numpy(float)


# Changes ----------------------------------------------------------------------------------------------------------

Change = Callable[[Path, random.Random], None]


def _ways(path: Path) -> Iterator[Change]:
    special = {".npy": NPY, ".csv": CSV, ".png": PNG, ".gz": NII}.get(path.suffix, ())
    yield from (*special, *special, *ANY)


def truncated(path: Path, rng: random.Random) -> None:
    """Keep the beginning."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def flipped(path: Path, rng: random.Random) -> None:
    """Change some bytes."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 3, 30))):
        if content:
            content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(bytes(content))


def removed(path: Path, rng: random.Random) -> None:
    """Remove the file."""
    path.unlink()


def a_folder(path: Path, rng: random.Random) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


def a_loop(path: Path, rng: random.Random) -> None:
    """Put a link to itself in its place."""
    path.unlink()
    path.symlink_to(path.name)


def another(path: Path, rng: random.Random) -> None:
    """Put another file of the folder in its place."""
    root = path.parent if path.parent.name == "data" else path.parent.parent
    shutil.copy(rng.choice(sorted(one for one in root.rglob("*") if one.is_file() and one != path)), path)


ANY: tuple[Change, ...] = (truncated, flipped, removed, a_folder, a_loop, another)


def header(path: Path, rng: random.Random) -> None:
    """Write another header over the same bytes."""
    shape = rng.choice(("(-1, 10)", "(18, -10)", "(10**12, 10)", "(0, 10)", "(18,)", "()", "(18, 10, 1)", "(True, 10)"))
    kind = rng.choice(("<f4", "<f8", "|O", "<c8", "<U3", "|V4", "<M8[s]", "<i2"))
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    data = np.load(path).tobytes()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data)


def kinds(path: Path, rng: random.Random) -> None:
    """Store the values as another type."""
    values = np.load(path)
    kind = rng.choice(("f2", ">f4", ">f8", "i1", "i8", "u1", "?", "c8", "U8", "O", "M8[s]", "S3"))
    np.save(path, (values * 10).astype(kind), allow_pickle=True)


def npz(path: Path, rng: random.Random) -> None:
    """Store an archive under the name of an array."""
    buffer = io.BytesIO()
    np.savez(buffer, **{rng.choice(("arr_0", "x")): np.load(path)})
    path.write_bytes(buffer.getvalue())


def values(path: Path, rng: random.Random) -> None:
    """Change values: NaN, infinity, constants, huge and tiny numbers, equal rows or columns."""
    array = np.load(path).astype(np.float64)
    every = slice(None)
    index: Any = rng.choice([(every, 0), (0, every), (every, every), (0, 0), (slice(6), every), (every, slice(5))])
    what = rng.randrange(5)
    if what == 0:
        array[index] = rng.choice((np.nan, np.inf, -np.inf, 0.0, 1e155, 1e308, 1e-200, 5.0))
    elif what == 1:
        array[index] *= rng.choice(SCALES)
    elif what == 2:
        array[index] += rng.choice((1e6, 1e12, 1e155))
    elif what == 3:
        array = np.repeat(array[:1], len(array), axis=0)
    else:
        array = np.repeat(array[:, :1], array.shape[1], axis=1)
    np.save(path, array)


def shapes(path: Path, rng: random.Random) -> None:
    """Change the shape."""
    array = np.load(path)
    changed = [array.T, array[:-1], array[:0], array[:, :0], array[:, :1], array[None], array.ravel(), array[:1]]
    np.save(path, rng.choice(changed))


NPY: tuple[Change, ...] = (header, kinds, npz, values, values, values, shapes)


def cells(path: Path, rng: random.Random) -> None:
    """Write an odd text into some cells."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    column = rng.choice(list(table.columns))
    rows = rng.choice((slice(None), slice(0, 1), slice(0, 6), slice(1, None, 2)))
    table.loc[table.index[rows], column] = rng.choice(TEXTS)
    table.to_csv(path, index=False)


def columns(path: Path, rng: random.Random) -> None:
    """Drop, rename or double a column."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    column = rng.choice(list(table.columns))
    what = rng.randrange(4)
    if what == 0:
        table = table.drop(columns=column)
    elif what == 1:
        table = table.rename(columns={column: rng.choice((*TEXTS, *table.columns, column.upper(), column + " "))})
    elif what == 2:
        table[rng.choice(("stimulus", "run", "onset", "time", "fold", "ceiling", "target", "roi", *TEXTS))] = table[
            column
        ]
    else:
        table = table[list(table.columns[::-1])]
    table.to_csv(path, index=False)


def rows(path: Path, rng: random.Random) -> None:
    """Leave out, double or reorder rows; keep two stimuli, or one run."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    column = rng.choice(list(table.columns))
    changed = [
        table.iloc[:0], table.iloc[:1], table.iloc[:-1], table.iloc[::-1], pd.concat([table, table.iloc[:1]]),
        table[table[column].isin(table[column].unique()[:2])], table[table[column] == table[column].iloc[0]],
    ]  # fmt: skip
    rng.choice(changed).to_csv(path, index=False)


def dialect(path: Path, rng: random.Random) -> None:
    """Write the table as another program would."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    text = table.to_csv(
        index=False, sep=rng.choice((",", ";", "\t", " ")), lineterminator=rng.choice(("\n", "\r\n", "\r"))
    )
    if rng.random() < 0.3:
        text = text.split("\n", 1)[-1]
    if rng.random() < 0.2:
        text += rng.choice(("\n\n", ",,,\n", '"open', "\x00"))
    path.write_bytes(text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32"))))


CSV: tuple[Change, ...] = (cells, cells, columns, rows, rows, dialect)


def picture(path: Path, rng: random.Random) -> None:
    """Write another kind of picture."""
    size = rng.choice(((32, 24), (1, 1), (1, 500), (33, 33)))
    mode = rng.choice(("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"))
    kind = "TIFF" if mode in ("CMYK", "F") else "PNG"
    Image.new(mode, size, rng.choice((0, 1)) if mode not in ("RGB", "RGBA", "CMYK", "LA") else None).save(path, kind)


def all_alike(path: Path, rng: random.Random) -> None:
    """Make all pictures of the folder alike."""
    for other in path.parent.glob("*.png"):
        if other != path:
            shutil.copy(path, other)


PNG: tuple[Change, ...] = (picture, all_alike)


def volume(path: Path, rng: random.Random) -> None:
    """Change the values, the shape, the type or the affine of an image."""
    import nibabel

    image = nibabel.load(path)
    data, affine = np.asarray(image.dataobj).astype(np.float64), image.affine.copy()  # type: ignore[attr-defined]
    what = rng.randrange(5)
    if what == 0:
        data[rng.choice((0, slice(None)))] = rng.choice((np.nan, np.inf, 0.0, 1e30, 0.999999, 2.5))
    elif what == 1:
        data = rng.choice([data[:-1], data[..., :1], data[..., None], data[..., 0], data * 0])
    elif what == 2:
        affine = rng.choice([affine * 2, affine * 0, np.eye(4), affine * np.nan, np.diag([-2.0, 2, 2, 1])])
    kind = rng.choice((np.int16, np.float32, np.float64, np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = nibabel.Nifti1Image(np.nan_to_num(data).astype(kind) if what != 0 else data.astype(np.float32), affine)
        nibabel.save(saved, path)


def not_zipped(path: Path, rng: random.Random) -> None:
    """Take the compression off, keeping the name."""
    path.write_bytes(gzip.decompress(path.read_bytes()))


NII: tuple[Change, ...] = (volume, volume, not_zipped)
