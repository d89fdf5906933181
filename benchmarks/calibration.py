"""How often p values reject without an effect, intervals cover, and effects are found.

    python benchmarks/calibration.py [--out FOLDER] [--rows GLOB ...] [--sets N] [--continue] [--jobs N] [--list]

Rows stand in `benchmarks/calibration_rows/*.py`. Every data set's number is appended to FOLDER/ROW.jsonl as soon as it
is known; a further call goes on where the last one stopped. `--continue` brings rows whose verdict is open to 4,000
data sets. A row fails when the exact 99 % interval of its rate lies wholly outside .035-.065 at .05 or wholly above
.015 at .01. The table is also written to FOLDER/table.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

from brainbench.evaluation.calibration import Row, judge  # noqa: E402

HERE = Path(__file__).parent
MOST_SETS = 4000


def all_rows() -> list[Row]:
    """Return the rows of every module of `calibration_rows`."""
    sys.path.insert(0, str(HERE))
    modules = sorted(path.stem for path in (HERE / "calibration_rows").glob("[a-z]*.py"))
    rows = [row for name in modules for row in importlib.import_module(f"calibration_rows.{name}").ROWS]
    if len({file_name(row) for row in rows}) < len(rows):
        raise ValueError("two rows of the calibration have the same name")
    return rows


def file_name(row: Row) -> str:
    """Return the name of the row's file of results."""
    return re.sub(r"[^a-z0-9.]+", "-", row.name.lower()).strip("-") + ".jsonl"


def read(path: Path) -> dict[int, float]:
    """Return number -> value of the data sets that are known; a line cut short by a kill is left out."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            number, value = json.loads(line)
        except ValueError:
            continue
        found[int(number)] = float("nan") if value is None else float(value)
    return found


def advance(name: str, out: Path, n_sets: int) -> float:
    """Bring a row to `n_sets` data sets and return the seconds it took."""
    row = next(row for row in all_rows() if row.name == name)
    path, start = out / file_name(row), time.process_time()
    known = read(path)
    with path.open("a") as file:
        if path.stat().st_size and not path.read_text().endswith("\n"):
            file.write("\n")
        for index in range(-(-n_sets // row.many)):
            if index * row.many not in known:
                found = row.one(row.seed(index))
                for number, value in enumerate(np.atleast_1d(found), start=index * row.many):
                    file.write(json.dumps([number, None if value != value else float(value)]) + "\n")
                file.flush()
    return time.process_time() - start


def table(rows: list[Row], out: Path) -> str:
    """Return the table of all rows that have data sets."""
    lines = ["| row | sets | rate [exact 99 % interval] | verdict |", "|---|---|---|---|"]
    for row in rows:
        values = list(read(out / file_name(row)).values())
        if values:
            judged = judge(row, values)
            lines.append(f"| {row.name} ({row.promise}) | {len(values)} | {judged.text} | {judged.verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Draw data sets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("calibration"))
    parser.add_argument("--rows", nargs="*", default=["*"], help="names or globs")
    parser.add_argument("--sets", type=int, help="data sets a row (default: what the row is worth)")
    parser.add_argument("--continue", dest="go_on", action="store_true", help=f"open rows to {MOST_SETS} sets")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the table of what is known and draw nothing")
    args = parser.parse_args()
    rows = [row for row in all_rows() if any(fnmatch(row.name, pattern) for pattern in args.rows)]
    if args.list:
        print("\n".join(row.name for row in rows))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.table:
        from joblib import Parallel, delayed

        if args.go_on:
            rows = [row for row in rows if judge(row, list(read(args.out / file_name(row)).values())).verdict == "open"]
        asked = [MOST_SETS if args.go_on else args.sets or row.n_sets for row in rows]
        jobs = (delayed(advance)(row.name, args.out, n) for row, n in zip(rows, asked, strict=True))
        for row, seconds in zip(rows, Parallel(n_jobs=args.jobs, return_as="generator")(jobs), strict=True):
            judged = judge(row, list(read(args.out / file_name(row)).values()))
            print(f"{row.name}: {judged.text} {judged.verdict} ({seconds:.0f} CPU s)", flush=True)
    shown = table(all_rows(), args.out)
    (args.out / "table.md").write_text(shown + "\n")
    print(shown)


if __name__ == "__main__":
    main()
