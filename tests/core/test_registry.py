import sys
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from brainbench.core import registry as module
from brainbench.core.errors import UserError
from brainbench.core.registry import Registry, installed


def test_decorated_things_are_found_by_name():
    things = Registry("encoder")

    @things.register("gabor")
    class Gabor:
        pass

    assert things["gabor"] is Gabor and "gabor" in things and len(things) == 1 and list(things) == ["gabor"]
    assert "pixels" not in things
    assert things.register("gabor")(Gabor) is Gabor  # a module that is imported again
    with pytest.raises(ValueError, match="encoder 'gabor' is registered twice"):
        things.register("gabor")(object())


@pytest.mark.parametrize(("asked", "meant"), [("gabbor", "gabor"), ("pixel", "pixels"), ("zzz", None)])
def test_unknown_names_are_answered_with_the_nearest(asked, meant):
    things = Registry("encoder", {"gabor": "nowhere", "pixels": "nowhere"})
    with pytest.raises(UserError, match=f"unknown encoder '{asked}'") as caught:
        things[asked]
    assert (f"did you mean '{meant}'?" in caught.value.message) is (meant is not None)
    assert ("did you mean" in caught.value.message) is (meant is not None)
    assert caught.value.hint == "known: gabor, pixels"


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """A module that registers itself when it is imported."""
    (tmp_path / "some_plug_in.py").write_text("built_in = 'the built-in one'\nthing = 'the plugged-in one'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("some_plug_in", None)
    THINGS._entries.clear()


THINGS: Registry = Registry("thing", {"built-in": "some_plug_in:built_in"}, entry_point_group="brainbench.things")


def test_what_is_built_in_is_imported_when_it_is_asked_for(plug_in):
    assert THINGS.names() == ["built-in"] and "built-in" in THINGS
    assert "some_plug_in" not in sys.modules
    assert THINGS["built-in"] == "the built-in one"
    assert "some_plug_in" in sys.modules


def test_entry_points(plug_in, monkeypatch):
    asked, group = [], "brainbench.more_things"
    points = [EntryPoint("extra", "some_plug_in:thing", group), EntryPoint("built-in", "nowhere:thing", group)]

    def entry_points():
        asked.append("all")
        return EntryPoints([*points, EntryPoint("another", "nowhere:thing", "brainbench.other_things")])

    monkeypatch.setattr(module, "entry_points", entry_points)
    monkeypatch.setattr(module, "_everything", cache(module._everything.__wrapped__))
    things = Registry("thing", {"own": "nowhere"}, entry_point_group=group)
    things.register("built-in")("ours")
    assert things.names() == ["built-in", "extra", "own"]
    assert things["extra"] == "the plugged-in one"
    assert things["built-in"] == "ours"  # a third party does not replace what is built in
    assert installed("brainbench.other_things")[0].name == "another"
    assert asked == ["all"]  # looking through all packages takes 10 ms: once, whatever the number of groups
    with pytest.raises(UserError, match="did you mean 'extra'"):
        things["extras"]


def test_without_a_group_no_entry_points_are_read(monkeypatch):
    def refuse():
        raise AssertionError

    monkeypatch.setattr(module, "_everything", refuse)
    assert Registry("thing").names() == []
