"""Facts of a run: today's format, the one before, and one that is too new."""

import json

import pytest

from brainbench.core.errors import UserError
from brainbench.core.facts import FORMAT, read_facts


def write(folder, facts):
    (folder / "facts.json").write_text(json.dumps(facts))
    return folder


def test_the_format_before_is_read_as_todays(tmp_path):
    old = {
        "kind": "encode", "best_layer": [{"roi": "V1"}], "confusion": [], "trials": None, "reconstruction": None,
        "exploration": None, "rsa_ceilings": [], "claims": ["V1 is seen."],
    }  # fmt: skip
    assert read_facts(write(tmp_path, old)) == {
        "format": FORMAT, "kind": "encode", "claims": ["V1 is seen."], "answer": ["V1 is seen."],
        "data": [], "doubts": [], "titles": {},
        "findings": {"best_layer": [{"roi": "V1"}]},
    }  # fmt: skip


def test_todays_facts_are_read_as_they_are(tmp_path):
    facts = {"format": FORMAT, "findings": {"trials": {"classes": ["a"]}}, "data": [], "doubts": [], "titles": {}}
    facts["answer"] = []
    assert read_facts(write(tmp_path, facts)) == facts


def test_facts_of_a_later_version_are_refused(tmp_path):
    with pytest.raises(UserError, match=rf"has format {FORMAT + 1}; this brainbench reads up to {FORMAT}"):
        read_facts(write(tmp_path, {"format": FORMAT + 1}))
