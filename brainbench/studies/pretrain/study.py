"""``kind: pretrain``: a tokenizer of sensors, trained on some people's recordings and tried on others'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import subject_named, subjects_asked
from brainbench.networks.store import NetworkStore
from brainbench.networks.tokens.trained import usages
from brainbench.networks.tokens.training import MaskedTraining, Person, TokenTraining
from brainbench.recipes.kinds.pretrain import PretrainRecipe
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.whole.segments import Segments, read_segments
from brainbench.runs.units import Unit
from brainbench.studies.base import Stage, Study
from brainbench.studies.memory import BASE_MB, BATCH_MB, MNE_MB, TORCH_MB, megabytes
from brainbench.studies.outcome import ALL, Outcome
from brainbench.studies.pretrain.trial import check_codebooks, try_masked, try_tokenizer
from brainbench.studies.words import joined, number

ROWS = (
    ("tokenizer", "model", "tokenizer"),
    ("splines", "control", "interpolation (MNE)"),
    ("nearest", "control", "nearest sensor"),
)
"""What predicts withheld sensors: array of a unit, role, and what the report calls it."""


class PretrainStudy(Study[PretrainRecipe]):
    """Training, codebooks, and reconstruction of people who were never seen."""

    recipe_model: ClassVar = PretrainRecipe

    @classmethod
    def sample(cls, recipe: Any, subjects: Sequence[str]) -> list[str]:
        """Return those who are held out or choose the weights, and one to train on."""
        apart = subjects_asked(subjects, [*recipe.held_out, *recipe.validation])
        return [*[one for one in subjects if one not in apart][:1], *apart]

    @cached_property
    def parts(self) -> dict[str, list[str]]:
        """Participants that are trained on, that choose the weights, and that are held out.

        Raises
        ------
        UserError
            If one is not there, or nobody is left to train on.
        """
        recipe, there = self.recipe, self.opened.subjects
        for place, names in (("held_out", recipe.held_out), ("validation", recipe.validation)):
            for name in names:
                if subject_named(there, name) is None:
                    raise UserError(
                        f"`{place}` names '{name}', who is not among the recipe's participants"
                        f"{did_you_mean(name, there)}",
                        hint=f"participants: {one_of(there)}",
                    )
        held_out, validation = subjects_asked(there, recipe.held_out), subjects_asked(there, recipe.validation)
        training = [name for name in there if name not in {*held_out, *validation}]
        if not training:
            raise UserError(
                "`held_out` and `validation` leave nobody to train on", hint=f"participants: {one_of(there)}"
            )
        return {"training": training, "validation": validation, "held_out": held_out}

    @cached_property
    def segments(self) -> dict[str, Segments]:
        """Everybody's recordings in segments."""
        dataset = self.opened.dataset
        assert isinstance(dataset, RecordingDataset)
        found = {
            name: read_segments(dataset, name, self.recipe.seconds) for names in self.parts.values() for name in names
        }
        rates = {name: float(one.info["sfreq"]) for name, one in found.items()}
        if len(set(rates.values())) > 1:
            shown = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
            raise UserError(f"recordings have several rates: {shown} Hz", hint="`dataset.sfreq` resamples all to one")
        for name, one in found.items():
            if one.X.shape[2] < self.recipe.tokenizer.window:
                raise UserError(
                    f"{name}: segments have {one.X.shape[2]} samples, the tokenizer reads "
                    f"{self.recipe.tokenizer.window} together",
                    hint="longer `seconds`, or a smaller `tokenizer.window`",
                )
            if len(one.sensors.names) < 2:
                raise UserError(f"{name}: one channel: none can be withheld")
        return found

    def _people(self, part: str) -> list[Person]:
        found = []
        for name in self.parts[part]:
            one = self.segments[name]
            sensors = one.sensors
            found.append(Person(one.inputs, sensors.place, sensors.kind, one.digest(), name, one.origins))
        return found

    @cached_property
    def tokenizer(self) -> TokenTraining:
        """The tokenizer."""
        recipe = self.recipe
        return TokenTraining(
            recipe.tokenizer, recipe.training, self._people("training"), self._people("validation"),
            float(next(iter(self.segments.values())).info["sfreq"]),
            NetworkStore(self.opened.networks), seed=recipe.seed, device=recipe.execution.device,
            threads=recipe.execution.threads_per_unit,
        )  # fmt: skip

    @cached_property
    def masked(self) -> MaskedTraining | None:
        """The model of its codes."""
        return None if self.recipe.masked is None else MaskedTraining(self.recipe.masked, self.tokenizer)

    # Units ------------------------------------------------------------------------------------------------------------

    @cached_property
    def train_units(self) -> list[Unit]:
        """The training of the tokenizer, and of the masked-code model."""
        found = []
        for name, one in (("tokenizer", self.tokenizer), ("masked codes", self.masked)):
            if one is not None:
                found.append(Unit("train", name, {"network": one.key}, _curves(one, self)))
        return found

    @cached_property
    def code_unit(self) -> Unit:
        """The codes of the people trained on; refuses a collapsed codebook."""
        least = self.recipe.least_perplexity
        key = {"network": self.tokenizer.key, "people": [person.digest for person in self.tokenizer.people]}
        return Unit("codes", "codebooks", key | {"least": least}, lambda: check_codebooks(self.tokenizer, least))

    @cached_property
    def trial_units(self) -> dict[str, list[Unit]]:
        """What the networks do with the recordings of people held out."""
        recipe, found = self.recipe, {}
        for name in self.parts["held_out"]:
            one = self.segments[name]
            key = {"network": self.tokenizer.key, "person": one.digest(), "parts": recipe.withhold, "seed": recipe.seed}
            found[name] = [Unit("reconstruct", f"{name}, reconstruction", key, _trial(self, name))]
            if self.masked is not None:
                key = {"network": self.masked.key, "person": one.digest(), "seed": recipe.seed}
                found[name].append(Unit("masked", f"{name}, masked codes", key, _masked_trial(self, name)))
        return found

    def stages(self) -> Iterator[Stage]:
        """Yield training, codes, and the trial on people held out."""
        for unit in self.train_units:
            yield Stage(f"train {unit.label}", [unit])
        yield Stage("codes", [self.code_unit])
        yield Stage("people held out", [unit for units in self.trial_units.values() for unit in units])

    def trained(self) -> list[str]:
        """Return the keys of the trained networks."""
        return [f"{unit.label} trained here, key {unit.key['network']}" for unit in self.train_units]

    # Results ----------------------------------------------------------------------------------------------------------

    def gather(self, outcome: Outcome) -> None:
        """Add r of sensors, codes, and what the report draws."""
        for part, names in self.parts.items():
            for name in names:
                outcome.note("people", {"name": name, "part": part, "segments": len(self.segments[name])})
                outcome.data += self.segments[name].account
        curves = self.runner.read(self.train_units)
        for unit, arrays in zip(self.train_units, curves, strict=True):
            outcome.note("training", {"name": unit.label} | {k: v.tolist() for k, v in arrays.items()})
        counts = self.runner.read([self.code_unit])[0]["counts"]
        trials = {name: self.runner.read(units) for name, units in self.trial_units.items()}
        for name, found in trials.items():
            self._add_person(outcome, name, found)
        held = np.sum([found[0]["counts"] for found in trials.values()], axis=0)
        for level, (ours, theirs) in enumerate(zip(usages(counts), usages(held), strict=True), start=1):
            row = {"level": level, "codes": ours.size, "perplexity": ours.perplexity, "used": ours.used}
            outcome.note("codebooks", row | {"held_out_perplexity": theirs.perplexity, "held_out_used": theirs.used})
        first = next(iter(trials))
        one = self.segments[first]
        outcome.findings["sources"] = {
            "subject": first,
            "mixing": self.recipe.tokenizer.mixing,
            "names": list(one.sensors.names),
            "kinds": one.sensors.kind.tolist(),
            "positions": [channel["loc"][:3].tolist() for channel in one.info["chs"]],
            "values": trials[first][0]["topography"].tolist(),
        }

    def _add_person(self, outcome: Outcome, name: str, found: list[dict[str, np.ndarray]]) -> None:
        arrays, n = found[0], len(self.segments[name])
        for array, role, row in ROWS:
            outcome.add(
                subject=name, encoder=row, role=role, fold=ALL, metric="withheld_r", n_rows=n,
                value=float(arrays[array].mean()), n_targets=len(arrays[array]),
            )  # fmt: skip
        outcome.add(
            subject=name, encoder="tokenizer", role="model", fold=ALL, metric="seen_r", n_rows=n,
            value=float(arrays["seen"].mean()), n_targets=len(arrays["seen"]),
        )  # fmt: skip
        if len(found) > 1:
            for level, (hit, constant) in enumerate(zip(found[1]["right"], found[1]["constant"], strict=True), start=1):
                for value, row, role in ((hit, "masked codes", "model"), (constant, "most frequent code", "control")):
                    outcome.add(
                        subject=name, encoder=row, role=role, layer=f"level {level}", fold=ALL, n_rows=n,
                        metric="masked_accuracy", value=float(value),
                    )  # fmt: skip

    lead = "withheld_r"

    def title_of(self, metric: str) -> str:
        """Return what a metric of this kind is called."""
        titles = {
            "withheld_r": "r of withheld sensors",
            "seen_r": "r of sensors that were read",
            "masked_accuracy": "accuracy of masked codes",
        }
        return titles.get(metric) or super().title_of(metric)

    def question(self) -> str:
        """Return what is asked."""
        n = len(self.parts["training"])
        return (
            f"How well does a tokenizer that was trained on {n} {'person' if n == 1 else 'people'} read "
            f"{joined(self.parts['held_out'])}, whom it has never seen?"
        )

    def claims(self, outcome: Outcome) -> list[str]:
        """Return r of withheld sensors beside what needs no network."""
        said = []
        for name in self.parts["held_out"]:
            value = {
                row["encoder"]: row["value"]
                for row in outcome.rows
                if row["subject"] == name and row["metric"] == "withheld_r"
            }
            ours, splines, nearest = (value[row] for *_, row in ROWS)
            than = "above" if ours > nearest else "not above"
            said.append(
                f"{name}: sensors that the tokenizer did not see are decoded with r {number(ours)}, {than} the nearest "
                f"sensor's ({number(nearest)}) and {number(abs(ours - splines))} "
                f"{'above' if ours > splines else 'below'} interpolation ({number(splines)})."
            )
        books = outcome.findings["codebooks"]
        shown = joined([f"{book['perplexity']:.0f} of {book['codes']}" for book in books])
        return [*said, f"Perplexity of the codebooks on the people trained on: {shown}."]

    def memory(self) -> dict[str, float]:
        """Estimate recordings, networks and a batch."""
        held = sum(megabytes(one.X.shape, 8) for one in self.segments.values())
        return {"libraries": BASE_MB + MNE_MB, "recordings": held, "networks": TORCH_MB, "units at once": 2 * BATCH_MB}


def _curves(one: TokenTraining | MaskedTraining, study: PretrainStudy) -> Any:
    def compute() -> dict[str, np.ndarray]:
        facts = one.trained().facts
        history = facts["history"]
        names = [name for name in history[0] if name != "epoch"]
        curves = {name: np.array([record[name] for record in history]) for name in names}
        own = {"best_epoch": facts["best_epoch"], "steps": one.options.n_steps, "network": one.key}
        return curves | {name: np.array(value) for name, value in own.items()}

    return compute


def _trial(study: PretrainStudy, name: str) -> Any:
    recipe = study.recipe
    return lambda: try_tokenizer(study.tokenizer, study.segments[name], recipe.withhold, recipe.seed)


def _masked_trial(study: PretrainStudy, name: str) -> Any:
    assert study.masked is not None
    masked = study.masked
    return lambda: try_masked(masked, study.segments[name], study.recipe.seed)
