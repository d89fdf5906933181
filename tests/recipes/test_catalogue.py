"""Nouns of recipes: what is in the catalogue can be built, from where it may be built."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from brainbench.core.errors import UserError
from brainbench.core.registry import imported
from brainbench.recipes.catalogue import catalogues
from brainbench.recipes.kinds import kinds
from brainbench.recipes.parts import CLASSIFIERS

NOUNS = [(name, noun) for name, nouns in catalogues().items() for noun in nouns]


def heights():
    """Return how high every room lies: the layers of import-linter, the lowest first."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    lines = reversed(contract["layers"])
    return {room.strip().split(".")[1]: height for height, line in enumerate(lines) for room in line.split("|")}


def room_of(dotted):
    """Return the room of a module of brainbench."""
    package, room, *_ = dotted.partition(":")[0].split(".")
    assert package == "brainbench"
    return room


def test_every_kind_of_noun_is_there():
    assert set(catalogues()) == {"codecs", "datasets", "encoders", "generators", "pipelines"}
    sections = {name: nouns.section for name, nouns in catalogues().items()}
    assert len(set(sections.values())) == len(sections)


@pytest.mark.parametrize(("name", "noun"), NOUNS)
def test_a_builder_lies_at_or_below_the_room_of_its_noun(name, noun):
    nouns, height = catalogues()[name], heights()
    names = [
        nouns[noun].built_by,
        *[value for key in ("network_by", "fetched_by") if (value := getattr(nouns[noun], key, None))],
    ]
    for dotted in names:
        assert height[room_of(dotted)] <= height[nouns.room], f"{dotted} stands above {nouns.room}"


def test_classifiers_lie_in_the_room_of_decoders():
    for name, dotted in CLASSIFIERS.built_in.items():
        assert heights()[room_of(dotted)] <= heights()["decoders"]
        assert callable(CLASSIFIERS[name](0).fit)


@pytest.mark.parametrize("model", [model for models in kinds().values() for model in models])
def test_a_study_lies_in_the_room_of_studies(model):
    assert room_of(model.studied_by) == "studies"
    assert imported(model.studied_by).recipe_model is model


@pytest.mark.parametrize(("name", "noun"), NOUNS)
def test_what_a_settings_model_names_is_there(name, noun):
    model = catalogues()[name][noun]
    assert model.__doc__ and model.__doc__ != type(model).__doc__
    assert callable(catalogues()[name].builder(noun))
    for key in ("network_by", "fetched_by"):
        if getattr(model, key, None):
            assert callable(imported(getattr(model, key)))


def test_no_name_is_in_two_models():
    for nouns in catalogues().values():
        assert len(set(nouns.models.values())) == len(nouns)


def test_an_unknown_noun_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown encoder 'gabbor'; did you mean 'gabor'\?"):
        catalogues()["encoders"].builder("gabbor")


def test_an_entry_point_that_names_no_builder_is_refused(monkeypatch):
    from importlib.metadata import EntryPoint

    from brainbench.recipes import catalogue
    from brainbench.recipes.encoders import EncoderSettings

    point = EntryPoint("mine", "brainbench.recipes.encoders:EncoderSettings", "brainbench.recipes.encoders")
    monkeypatch.setattr(catalogue, "installed", lambda group: (point,))
    fresh = catalogue.Catalogue.__new__(catalogue.Catalogue)
    fresh.__dict__.update(catalogues()["encoders"].__dict__)
    fresh.__dict__.pop("models", None)
    assert fresh.base is EncoderSettings
    with pytest.raises(UserError, match=r"entry point 'mine' of brainbench.recipes.encoders .* says what builds it"):
        _ = fresh.models


def test_rooms_are_rooms():
    for nouns in catalogues().values():
        import_module(f"brainbench.{nouns.room}")
        assert nouns.room in heights()
