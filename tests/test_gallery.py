"""Every script of the gallery runs as it is, in an empty folder with spaces in its name."""

from pathlib import Path

import pytest

from tests import processes

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
SAYS = {
    "own_images": "Run('runs/own-images'): encode, finished",
    "own_fmriprep": "6 betas of 6 events in 80 volumes",
    "story": "Run('runs/story'): encode, finished",
    "eeg": "forecast: ",
    "reconstruction": "nearest",
    "compare": "runs/compared.html",
}
"""Something that each of them prints."""
UNDRAWN = """
import brainbench.report
brainbench.report.write_report = lambda folder: (folder / "report.html").write_text("")
"""
"""Drawing reports would take most of the time; other tests look at them."""


def test_all_are_listed():
    assert {path.stem for path in GALLERY.glob("*.py")} == set(SAYS)
    page = (GALLERY.parent / "gallery.md").read_text()
    assert all(f"gallery/{name}.py" in page for name in SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_a_script_runs(name, tmp_path):
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    done = processes.python(UNDRAWN + (GALLERY / f"{name}.py").read_text(), cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert SAYS[name] in done.stdout
