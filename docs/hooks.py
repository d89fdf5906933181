"""Adds the reference of all settings to the site: it is generated when the site is built."""

from typing import Any

from mkdocs.structure.files import File, Files

from brainbench.recipes.reference import pages


def on_config(config: Any) -> Any:
    """Put the pages into the navigation, by kind of noun."""
    sections: dict[str, list[dict[str, str]]] = {}
    for path in pages():
        _, *folder, name = path.split("/")
        if folder:
            sections.setdefault(folder[0].capitalize(), []).append({name.removesuffix(".md"): path})
    inside: list[Any] = ["reference/index.md", *[{name: entries} for name, entries in sections.items()]]
    config.nav.append({"Reference": inside})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages to the files of the site."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
