"""Every code block of README, CONTRIBUTING and docs is executed: Python, shell, and recipes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from brainbench.cli import app
from brainbench.recipes.datasets import dataset_settings
from brainbench.recipes.kinds import kinds
from brainbench.recipes.reader import parse_recipe, read_recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("/path/to/", "/data/", "mine.yaml", "my.yaml")
"""Shell lines with these need files that only a user has; `> mine.yaml` is covered by the template's own test."""


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
    """Return the folder where all pages' commands run, as they would for one reader: a run that is there goes on."""
    return tmp_path_factory.mktemp("desk")


def workshop(tmp_path: Path) -> Path:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    return tmp_path


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_blocks_run(page, tmp_path, environment):
    code = "\n".join(blocks(page, "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:brainbench", "-c", code],
        cwd=workshop(tmp_path), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_recipes_are_recipes(page):
    for text in blocks(page, "yaml"):
        assert parse_recipe(text, str(page)).kind in kinds()


@pytest.mark.parametrize("page", pages_with("bash"))
def test_brainbench_lines_run(page, desk, environment):
    ran = 0
    for line in "\n".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] != "brainbench":
            continue
        command = [sys.executable, "-m", "brainbench", *words[1:]]
        if any(part in line for part in ELSEWHERE):  # `test_every_printed_command_is_understood` looks at it
            continue
        done = subprocess.run(
            command, cwd=desk, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
        ran += 1
    assert ran or page.name in ("CONTRIBUTING.md", "README.md", "recordings.md")


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
