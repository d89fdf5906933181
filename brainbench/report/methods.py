"""A methods paragraph for a paper, from what a run resolved: data, features, fits, folds, tests, software.

Sections of a recipe that have no words here are listed with their settings, so that nothing is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from brainbench.recordings.recording import counted

Settings = Mapping[str, Any]
ALWAYS = ("numpy", "scipy", "scikit-learn", "pandas", "matplotlib")
"""Packages that every run computes and draws with."""
SAID_ELSEWHERE = (
    "kind", "title", "seed", "execution", "dataset", "hold_out", "folds", "also", "significance", "bootstrap",
    "metrics", "evaluate",
)  # fmt: skip
"""Sections that stand in a sentence on data, folds or tests, or that change no number."""


def methods(facts: Settings, manifest: Settings, recipe: Settings) -> list[str]:
    """Return the sentences of a methods paragraph; keys of `references` stand in brackets.

    Parameters
    ----------
    facts, manifest : dict
        ``facts.json`` and ``manifest.json``.
    recipe : dict
        ``recipe.yaml``, every default resolved.
    """
    continuous = any(subject.get("continuous") for subject in facts["subjects"])
    unused = () if continuous else ("timing",)
    sections = {
        name: value for name, value in recipe.items()
        if name not in (*SAID_ELSEWHERE, *unused) and value not in (None, [], {}, "", False)
    }  # fmt: skip
    said = [_data(facts)]
    said += [WORDS[name](value) if name in WORDS else _listed(name, value) for name, value in sections.items()]
    said += [_folds(facts, recipe), _tests(facts, recipe), _software(manifest)]
    return [sentence for sentence in said if sentence]


def references(facts: Settings, manifest: Settings) -> str:
    """Return the BibTeX of data set, networks and software."""
    entries = [_cited("dataset", facts["dataset"]["citation"], facts["dataset"]["title"])]
    for index, one in enumerate(facts["findings"].get("reconstruction", {}).get("weights", []), start=1):
        entries.append(_cited(f"weights{index}", one["citation"], one["title"]))
    known = files("brainbench.report").joinpath("templates/software.bib").read_text(encoding="utf-8")
    for name in ("brainbench", *_used(manifest), "benjamini"):
        found = re.search(rf"^@\w+\{{{re.escape(name)},.*?^\}}$", known, re.DOTALL | re.MULTILINE)
        if found:
            version = manifest["brainbench"] if name == "brainbench" else manifest["versions"].get(name)
            entry = found.group()
            entries.append(entry if version is None else f"{entry[:-2]},\n  note = {{version {version}}}\n}}")
    return "\n\n".join(entries)


def _cited(key: str, citation: str, title: str) -> str:
    doi = re.search(r"10\.\d{4,9}/[^\s,;]+", citation)
    year = re.search(r"\((\d{4})\)", citation)
    fields = [("title", title), ("note", citation)]
    fields += [("doi", doi.group().rstrip("."))] if doi else []
    fields += [("year", year.group(1))] if year else []
    lines = ",\n".join(f"  {name} = {{{_escaped(value)}}}" for name, value in fields)
    return f"@misc{{{key},\n{lines}\n}}"


def _escaped(text: str) -> str:
    """Return text as BibTeX takes it."""
    text = re.sub(r"[{}\\]", "", text)
    return re.sub(r"([&%$#_])", r"\\\1", text)


def _data(facts: Settings) -> str:
    people, dataset = facts["subjects"], facts["dataset"]
    n = len([one for one in people if one["subject"] not in ("group", "mean")])
    if not people:
        return f"Data: {dataset['title']} [dataset]."
    trials = "trials" in facts["findings"]
    what = ("trials", "channels") if trials else ("rows", "targets")
    ranged = []
    for name, word in (("n_rows", what[0]), ("n_targets", what[1])):
        values = [one[name] for one in people if name in one]
        if values:
            low, high = min(values), max(values)
            ranged.append(f"{low} {word}" if low == high else f"{low} to {high} {word}")
    left = [row for row in facts["data"] if row["left_out"]]
    runs = {(row["subject"], row["session"], row["run"]) for row in left if row["session"] or row["run"]}
    whole = {row["subject"] for row in left} - {subject for subject, *_ in runs}
    parts = [counted(len(runs), "run")] * bool(runs)
    parts += [f"all runs of {counted(len(whole), 'participant')}"] * bool(whole)
    text = f"We analysed {counted(n, 'participant')} of {dataset['title']} [dataset]"
    text += f", with {' and '.join(ranged)} each" if ranged else ""
    text += f"; parts of {' and of '.join(parts)} were left out, with reasons in the report" if left else ""
    return text + "."


def _encoders(entries: Sequence[Settings]) -> str:
    def named(one: Settings) -> str:
        layers = one.get("layers") or []
        which = "all layers" if layers == ["*"] else f"layers {', '.join(map(str, layers))}"
        more = [str(one[name]) for name in ("model", "pretrained", "weights") if one.get(name) not in (None, True)]
        detail = ", ".join([f"family {one['family']}", *more, which, f"pooled by {one['pool']}"])
        return f"{one['name']} ({detail}{', stimuli shuffled' if one.get('shuffle') else ''})"

    said = []
    for role, words in (("model", "Features were those of"), ("control", "Controls were")):
        mine = [named(one) for one in entries if one.get("role") == role]
        if mine:
            said.append(f"{words} {'; '.join(mine)}.")
    return " ".join(said)


def _head(one: Settings) -> str:
    low, high = one["log10_alphas"]
    return (
        "A linear model was fitted by ridge regression with a penalty per target, chosen among "
        f"{one['n_alphas']} values from 1e{low:g} to 1e{high:g} on {one['inner_folds']} inner folds of training rows."
    )


def _timing(one: Settings) -> str:
    hrf = f"convolved with the {one['hrf']} response" if one["hrf"] != "none" else f"delayed by {one['delays_s']} s"
    drift = f"; periods over {one['high_pass_s']:g} s were projected out in every fold" if one["high_pass_s"] else ""
    nuisance = (
        "; nuisance regressors were fitted in every test fold and inner fold by itself"
        if one["regress_nuisance"]
        else ""
    )
    return f"Features were resampled to volumes ({one['resample']}) and {hrf}{drift}{nuisance}."


def _reduction(one: Settings) -> str:
    if one["method"] == "none":
        return ""
    return f"Features were reduced to {one['n_components']} dimensions ({one['method']}), fitted on training rows."


def _responses(one: Settings) -> str:
    parts = ["showings of a stimulus were averaged within what is held out together"] if one["average_repeats"] else []
    parts += [f"rows were {word} per {one[name]}" for name, word in (("center", "centred"), ("scale", "scaled"))
              if one[name] != "none"]  # fmt: skip
    return f"Of the responses, {' and '.join(parts)}." if parts else ""


def _pipelines(entries: Sequence[Settings]) -> str:
    def named(one: Settings) -> str:
        more = [f"{key} {value}" for key, value in one.items() if key not in ("name",) and value is not None]
        return f"{one['name']} ({', '.join(more)})" if more else str(one["name"])

    return f"Pipelines: {'; '.join(map(named, entries))}."


def _listed(name: str, value: Any) -> str:
    """Return a section by its settings."""

    def words(one: Any) -> str:
        if isinstance(one, Mapping):
            return ", ".join(f"{key} {words(of)}" for key, of in one.items() if of not in (None, [], {}, ""))
        return f"[{', '.join(map(words, one))}]" if isinstance(one, list | tuple) else str(one)

    return f"{name.replace('_', ' ').capitalize()}: {words(value)}."


WORDS: dict[str, Callable[[Any], str]] = {
    "encoders": _encoders,
    "head": _head,
    "timing": _timing,
    "reduction": _reduction,
    "responses": _responses,
    "pipelines": _pipelines,
}
"""Section of a recipe -> its sentence."""


def _folds(facts: Settings, recipe: Settings) -> str:
    said = []
    for scheme in facts["schemes"]:
        scored = "means over folds" if scheme["over"] == "folds" else "computed once on the held-out rows of all folds"
        held = " and ".join(scheme["hold_out"])
        which = "" if len(facts["schemes"]) == 1 else " (main)" if scheme["main"] else " (beside it)"
        leak = "" if scheme["certificate"]["ok"] else "; this scheme leaks, as the report says"
        said.append(f"held out by {held}{which} in {scheme['n_folds']} folds, scores {scored}{leak}")
    return f"Rows were {'; '.join(said)}; everything fitted was fitted on training rows." if said else ""


def _tests(facts: Settings, recipe: Settings) -> str:
    lead = facts["metric"]
    said = [f"The leading score is {facts['titles'].get(lead, lead)}"] if lead else []
    main = next((scheme for scheme in facts["schemes"] if scheme["main"]), None)
    n = (recipe.get("significance") or {}).get("n_permutations")
    if main is not None and n:
        said.append(f"its null: {main['null']} ({n} exchanges)")
        said.append("q controls the false discovery rate [benjamini]")
    draws = recipe.get("bootstrap") or {}
    if draws.get("n_draws"):
        said.append(f"intervals are at {100 * draws['confidence']:g} %")
    return f"{f'{text[0].upper()}{text[1:]}. ' if (text := '; '.join(said)) else ''}The seed was {recipe.get('seed')}."


def _used(manifest: Settings) -> list[str]:
    """Return the packages a run was computed with; runs that did not note it name all that were installed."""
    noted = manifest.get("used", list(manifest["versions"]))
    return [name for name in manifest["versions"] if name in noted or name in ALWAYS]


def _software(manifest: Settings) -> str:
    named = [f"{name} {manifest['versions'][name]} [{name}]" for name in _used(manifest)]
    computed = f"brainbench {manifest['brainbench']} [brainbench] on Python {manifest['python']}"
    return f"All of it was computed by {computed}, with {', '.join(named)}; recipe {manifest['digest'][:16]}."
