"""Every code block of README, CONTRIBUTING and docs is executed: Python, shell, and recipes."""

import os
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from brainbench.cli import app, main
from brainbench.recipes.datasets import dataset_settings
from brainbench.recipes.kinds import kinds
from brainbench.recipes.reader import parse_recipe, read_recipe
from tests import processes
from tests.data.bids_folder import write_bids
from tests.data.bold5000_copy import write_bold5000
from tests.data.folders import write_trials
from tests.data.nsd_copy import write_nsd
from tests.data.test_trials import write_folder

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
MADE = {
    "/data/nsd": lambda root: write_nsd(root),
    "/data/bold5000": lambda root: write_bold5000(root),
    "/data/my-study": lambda root: write_bids(root),
    "/data/my-data": lambda root: write_trials(root),
    "/data/my-recordings": lambda root: (root.mkdir(parents=True), write_folder(root)),
}
"""Folders of the pages that are made here, small; the lines that name one run on it."""

ELSEWHERE = {
    "run eeg-motor-imagery": "tests/studies/test_recordings.py runs the recipe, with fewer trials",
    "run eeg-cross-subject": "tests/sweeps/test_settings.py reads it; benchmarks/eeg.py runs it in full",
    "run eeg-layers": "tests/encoders/test_signals.py runs the recipe on made recordings",
    "run tokenizer-eeg": "tests/studies/test_pretrain.py runs its kind on made recordings",
    "run seeg-words": "tests/studies/test_contacts.py runs such a recipe, with fewer words",
    "run tokenizer-probe": "tests/decoders/test_tokens.py runs such a recipe on made recordings",
    "run haxby-categories": "tests/studies/test_recordings.py runs the recipe, with fewer folds",
    "run alice-language": "tests/studies/test_recordings.py runs the recipe, with fewer layers",
    "run miyawaki-reconstruct": "tests/studies/test_reconstruct.py runs its kind; the recording is the user's",
    "run simulated-photos-reconstruct": "tests/studies/test_reconstruct.py runs its kind; photographs are the user's",
    "check nsd-brain-diffuser": "the data are the user's; tests/studies/test_brain_diffuser.py runs the recipe",
    "run nsd-brain-diffuser": "tests/studies/test_brain_diffuser.py runs the recipe on made data and small networks",
    "data check pereira2018": "tests/data/test_pereira.py holds made copies against the contract",
    "calibrate eeg-layers": "tests/commands/test_calibrate.py runs the command; the recordings are the user's",
    "audit eeg-motor-imagery": "tests/commands/test_audit.py runs it on made recordings",
    "apply runs/eeg-motor-imagery": "tests/commands/test_apply.py runs each of its forms on made recordings",
    "data fetch haxby2001": "downloads 300 MB; tests/data/test_fetch.py has every step of it",
    "my-study.yaml": "tests/walks/test_walks.py walks them",
    "runs/my-study": "tests/walks/test_walks.py walks them",
    "my-recordings.yaml": "tests/walks/test_walks.py walks them",
    "runs/my-recordings": "tests/walks/test_walks.py walks them",
    "mine.yaml": "tests/recipes/test_reader.py checks the template of every kind; it runs in tests/studies/test_run.py",
    "new reconstruct > my.yaml": "tests/recipes/test_reader.py checks the template of every kind",
}
"""Lines that begin so (or hold that file) do not run here, and why; their options and settings are read."""


INSTALLED = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}


def blocks(page: Path, language: str) -> list[str]:
    found = []
    for indent, name, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if name == language:
            found.append("".join(line.removeprefix(indent) for line in body.splitlines(keepends=True)))
    return found


def pages_with(language: str) -> list:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if blocks(page, language)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    cache = tmp_path_factory.mktemp("docs-cache")
    return dict(os.environ, BRAINBENCH_CACHE=str(cache), COLUMNS="120", PYTHONPATH=str(ROOT))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Return the folder where all blocks run, as they would for one reader: a run that is there goes on."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    return folder


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_blocks_run(page, desk, environment):
    code = "\n".join(blocks(page, "python"))
    done = processes.python(code, cwd=desk, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_recipes_are_recipes(page):
    for text in blocks(page, "yaml"):
        assert parse_recipe(text, str(page)).kind in kinds()


def left_to(line: str) -> str | None:
    """Return the entry of `ELSEWHERE` that a line belongs to."""
    return next((key for key in ELSEWHERE if line.startswith(f"brainbench {key}") or key in line.split()), None)


@pytest.mark.parametrize("page", pages_with("bash"))
def test_brainbench_lines_run(page, desk, environment, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    for name in ("BRAINBENCH_CACHE", "COLUMNS"):
        monkeypatch.setenv(name, environment[name])
    for line in commands_of_shell(page):
        if left_to(line) is not None:
            continue
        for place, make in MADE.items():
            if place in line:
                here = desk / "made" / place.removeprefix("/data/")
                if not here.exists():
                    make(here)
                line = line.replace(place, str(here))
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line, comments=True)[1:])
        said = capsys.readouterr()
        assert ended.value.code in (0, None), f"{line}\n{said.err[-2000:]}"


def commands_of_shell(page: Path) -> list[str]:
    lines = "\n".join(blocks(page, "bash")).splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("brainbench ")]


def test_lines_that_do_not_run_here_are_printed_and_run_in_the_test_that_is_named():
    left = {left_to(line) for page in PAGES if blocks(page, "bash") for line in commands_of_shell(page)}
    assert left - {None} == set(ELSEWHERE)
    for key, why in ELSEWHERE.items():
        named = re.findall(r"(?:tests|benchmarks)/\S+\.py", why)
        assert named and all((ROOT / name).is_file() for name in named), key


def printed_commands(page: Path) -> list[str]:
    """Return every line and every word of code of a page that calls the command line."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    lines += re.findall(r"`(brainbench [^`]+)`", text)
    return [line.split(" > ")[0].strip() for line in lines if line.strip().startswith("brainbench ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_printed_command_is_understood(page):
    """Its subcommand, options and settings exist, whether or not its data are here: nothing is run."""
    group = get_command(app)
    for line in printed_commands(page):
        words = shlex.split(line, comments=True)[1:]
        command = group
        while hasattr(command, "commands"):
            assert words and words[0] in command.commands, f"{page.name}: {line}"
            command, words = command.commands[words[0]], words[1:]
        try:
            given = command.make_context(command.name, list(words)).params
        except Exception as error:
            # A command that the text names, such as `brainbench run --verify`, leaves out what it is run on.
            if type(error).__name__ == "MissingParameter" and f"`{line}`" in page.read_text(encoding="utf-8"):
                continue
            raise
        wanted = list(given.get("settings") or [])
        recipe = given.get("recipe")
        if recipe in INSTALLED:
            read_recipe(str(ROOT / "recipes" / f"{recipe}.yaml"), wanted)
        elif "name" in given and wanted:
            values = {key.removeprefix("dataset."): yaml.safe_load(value) for key, _, value in map(_parted, wanted)}
            needed = {"bids": {"task": "x"}}.get(given["name"], {})
            dataset_settings({"name": given["name"], **needed, **values})


def _parted(setting: str) -> tuple[str, str, str]:
    return setting.partition("=")


def test_links_of_the_readme_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), target


def test_commands_named_in_the_docs_exist():
    known = {command.name or command.callback.__name__.strip("_") for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    for page in PAGES:
        for name in re.findall(r"`brainbench ([a-z]+)", page.read_text(encoding="utf-8")):
            assert name in known, f"{page.name}: brainbench {name}"
