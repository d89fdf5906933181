"""The reference of all settings: complete, and its examples are what the models take."""

from typing import Annotated

import pytest
from pydantic import BaseModel, TypeAdapter

from brainbench.recipes.base import Section
from brainbench.recipes.catalogue import catalogues
from brainbench.recipes.reference import pages, settings_of
from brainbench.recipes.template import templates

NOUNS = {f"{name}/{noun}": nouns[noun] for name, nouns in catalogues().items() for noun in nouns}
MODELS = NOUNS | {f"kinds/{name}": model for name, model in templates().items()}


class Bare(Section):
    """A section."""

    said: int = 1
    """What it is."""
    silent: int = 2


def test_a_key_without_a_description_is_seen():
    assert [one.meaning for one in settings_of(Bare)] == ["What it is.", ""]


@pytest.mark.parametrize("name", list(MODELS))
def test_every_key_says_what_it_means_and_has_an_example_that_it_takes(name):
    for one in settings_of(MODELS[name]):
        assert one.meaning, f"{one.owner.__name__}.{one.key} has no description below it"
        annotation = one.field.annotation
        if one.is_section:
            continue
        assert one.example not in (None, "", [], {}), f"{one.owner.__name__}.{one.key}: no `examples`"
        TypeAdapter(Annotated[annotation, *one.field.metadata, ""]).validate_python(one.example, strict=True)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_page_has_every_key_of_its_model(name):
    text = pages()[f"reference/{name}.md"]

    def walk(schema: dict, definitions: dict, prefix: str) -> set[str]:
        """Return every key of a JSON schema: pydantic's own account of the model."""
        found = set()
        for key, part in schema["properties"].items():
            found.add(f"{prefix}{key}")
            inner = [part, *part.get("anyOf", []), *part.get("allOf", [])]
            for one, mark in [(one, "") for one in inner] + [(one.get("items", {}), "[]") for one in inner]:
                if "$ref" in one:
                    found |= walk(definitions[one["$ref"].split("/")[-1]], definitions, f"{prefix}{key}{mark}.")
        return found

    class Whole(MODELS[name]):
        pass

    schema = Whole.model_json_schema()
    for key in walk(schema, schema.get("$defs", {}), ""):
        assert f"| `{key}` |" in text, key


def test_the_overview_leads_to_every_page():
    overview = pages()["reference/index.md"]
    assert all(f"]({name}.md)" in overview for name in MODELS)
    assert len(pages()) == len(MODELS) + 1
    assert issubclass(MODELS["datasets/bids"], BaseModel)
