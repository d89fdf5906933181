"""CONTRIBUTING's recipe kind, followed to the letter in a package of its own: no file of brainbench is touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The files that CONTRIBUTING names, installed."""
    folder = tmp_path_factory.mktemp("package")
    section = re.search(r"## A recipe kind\n(.*?)\n## ", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL).group(1)
    files = re.findall(r"```py\n# (\w+\.py)\n(.*?)```", section, re.DOTALL)
    assert [name for name, _ in files] == ["reliability_recipe.py", "reliability_study.py", "test_reliability.py"]
    for name, text in files:
        (folder / name).write_text(text)
    about = folder / "reliability-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: reliability\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[brainbench.kinds]\nreliability = reliability_recipe:ReliabilityRecipe\n")
    recipe = re.search(r'RECIPE = """\n(.*?)"""', files[2][1], re.DOTALL).group(1)
    (folder / "recipe.yaml").write_text(recipe)
    return folder


SHELL = """
import contextlib, io, json, sys
from brainbench.cli import main
said = []
for line in json.loads(sys.argv[1]):
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(line.split())
        except SystemExit as end:
            code = end.code or 0
    said.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(said))
"""


def started(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(package), str(ROOT)]), OMP_NUM_THREADS="1")
    environment["BRAINBENCH_CACHE"] = str(package / "cache")
    return subprocess.run(
        [sys.executable, *arguments], cwd=package, env=environment, capture_output=True, text=True, check=False
    )


def commands(package: Path, *lines: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of command lines, all in one process: most of their time would be starts."""
    done = started(package, "-c", SHELL, json.dumps(lines))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_own_test_passes(package):
    done = started(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_reliability.py")
    assert done.returncode == 0, done.stdout


def test_the_command_line_knows_it(package):
    (package / "key.yaml").write_text((package / "recipe.yaml").read_text() + "n_split: 3\n")
    (package / "kind.yaml").write_text("kind: reliabilty\n")
    listed, template, key, kind = commands(
        package, "list kinds", "new reliability", "check key.yaml", "check kind.yaml"
    )
    assert "Say how reliable the responses of every region are." in listed[1], listed[2]
    assert "\n# Random halves of the repeats.\nn_splits: 20\n" in template[1] and "hold_out" not in template[1]
    assert key[0] == 2 and "n_split  unknown key; did you mean 'n_splits'?" in key[2]
    assert kind[0] == 2 and "did you mean 'reliability'?" in kind[2]


def test_it_is_planned_run_and_reported(package):
    plan, done, left = commands(
        package, "plan recipe.yaml --out run", "run recipe.yaml --out run", "plan recipe.yaml --out run"
    )
    assert "units       reliability: 4, 0 done, 4 to compute" in plan[1], plan[2]
    assert done[0] == 0, done[2]
    events = [json.loads(line) for line in (package / "run" / "events.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "unit_done" for event in events) == 4
    page = (package / "run" / "report.html").read_text()
    assert "How reliable are the regions of 2 simulated participants?" in page
    assert "V1 (sim-01) is reliable to 0." in page
    assert "Scores of regions" in page and '<td>sim-01</td><td>V1</td><td>reliability</td><td class="n">0.' in page
    assert "(finished)" in left[1] and "4 done, 0 to compute" in left[1]
