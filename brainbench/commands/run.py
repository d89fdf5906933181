"""Runs a recipe of any kind, or finds that it is finished, and reads what it found as Python and notebooks do.

What computing takes is imported only where something is computed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from brainbench.core.errors import Interrupted, UserError, did_you_mean, one_of
from brainbench.recipes.reader import Given, Overrides, read_recipe, spelled
from brainbench.runs.folder import FINISHED, RunFolder
from brainbench.runs.folder import Run as StoredRun
from brainbench.runs.identity import default_folder, recipe_digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Predictions:
    """What a fit predicted of rows that it was not trained on.

    Attributes
    ----------
    y_true, y_pred : ndarray (n_rows, n_targets)
        As they were fitted, less the mean of the training rows of their fold.
    row : int ndarray (n_rows,)
        Which of the fitted rows each one is: where repeats were averaged (`responses.average_repeats`) one of their
        means, in the order of first showing; else the row of the responses.
    fold : int ndarray (n_rows,)
        The test fold of each row.
    subject, scheme, encoder, layer : str
    stimulus : str ndarray (n_rows,) or None
        Id of the stimulus of each row; None in a story, whose rows are moments.
    """

    y_true: np.ndarray
    y_pred: np.ndarray
    row: np.ndarray
    fold: np.ndarray
    subject: str
    scheme: str
    encoder: str
    layer: str
    stimulus: np.ndarray | None = None

    def __repr__(self) -> str:
        rows, targets = self.y_pred.shape
        of = f"{self.subject}, {self.scheme}, {self.encoder} {self.layer}"
        return f"Predictions({of}): {rows} rows x {targets} targets"


class Run(StoredRun):
    """A run to read: ``run.scores``, ``run.best_layers()``, ``run.plot("depth")``, ``run.maps``, and more."""

    def __repr__(self) -> str:
        if self.manifest.get("status") != FINISHED:
            return f"Run('{self.path}'): not finished"
        facts = self.facts
        return "\n".join([f"Run('{self.path}'): {facts['kind']}, finished", facts["question"], *facts["answer"]])

    def _repr_html_(self) -> str:
        """Return question, answer and doubts as a notebook shows them, with a link to the report."""
        if self.manifest.get("status") != FINISHED:
            return f"<p><code>{escape(str(self.path))}</code>: not finished</p>"
        facts = self.facts
        marks = ", ".join(word for word in ("simulated", "untrained") if facts[word])
        said = "".join(f"<li>{escape(one)}</li>" for one in facts["answer"])
        doubts = "".join(f"<li><b>In doubt:</b> {escape(one)}</li>" for one in facts["doubts"])
        return (
            f"<p><b>{escape(facts['title'] or facts['question'])}</b>{f' ({marks})' if marks else ''}</p>"
            f"<ul>{said}{doubts}</ul>"
            f'<p><a href="{escape(str(self.report))}">report</a> <code>{escape(str(self.path))}</code></p>'
        )

    def plot(self, name: str) -> Figure:
        """Draw a figure of the report.

        Parameters
        ----------
        name : str
            Of its file, or how that begins: ``"depth"``, ``"layer_by_roi"``, ``"participants"``, ``"accuracy"``.

        Raises
        ------
        UserError
            If the report has no such figure, with those that it has.
        """
        from brainbench.report.page import draw_figure

        return draw_figure(self.path, name)

    def best_layers(self) -> pd.DataFrame:
        """Return the best layer of every participant, region, encoder and scheme, with how sure the choice is.

        Returns
        -------
        DataFrame
            ``share`` is how often the layer was the best one of the bootstrap draws, in each of which the choice is
            repeated; between ``depth_low`` and ``depth_high`` lies the share of draws that `bootstrap.confidence` says.
        """
        import pandas as pd

        columns = ["subject", "scheme", "encoder", "roi", "layer", "depth", "share", "depth_low", "depth_high"]
        found = [{**one, "share": one["share"][one["layer"]]} for one in self.facts["findings"].get("best_layer", [])]
        return pd.DataFrame(found, columns=columns)

    @property
    def maps(self) -> pd.DataFrame:
        """Every map: subject, scheme, encoder, layer, metric, space, and the file's path."""
        import pandas as pd

        columns = ["subject", "scheme", "encoder", "layer", "metric", "space", "path"]
        return pd.DataFrame([{**one, "path": self.path / one["file"]} for one in self.facts["maps"]], columns=columns)

    def predictions(
        self, subject: str | None = None, encoder: str | None = None, layer: str | None = None, *,
        scheme: str | None = None, cache: str | None = None,
    ) -> Predictions:  # fmt: skip
        """Return the held-out predictions of one layer of an encoding run; the first of all without names.

        Parameters
        ----------
        subject, encoder, layer, scheme : str, optional
        cache : str, optional
            Feature store.

        Raises
        ------
        UserError
            If the run is no finished encoding run, or has nothing of such a name.
        """
        from brainbench.commands.export import held_out

        wanted = {"subject": subject, "scheme": scheme, "encoder": encoder, "layer": layer}
        seen: dict[str, dict[str, None]] = {name: {} for name in wanted}
        for names, read in held_out(self.path, cache):
            for name, value in names.items():
                seen[name][value] = None
            if all(value is None or names[name] == value for name, value in wanted.items()):
                arrays = read()
                y_true, y_pred, row, fold = (arrays[part] for part in ("y_true", "y_pred", "row", "fold"))
                return Predictions(y_true, y_pred, row, fold, **names, stimulus=arrays.get("stimulus"))
        for name, one in wanted.items():
            if one is not None and one not in seen[name]:
                raise UserError(
                    f"{self.path} has no {name} '{one}'{did_you_mean(one, seen[name])}",
                    hint=f"it has {one_of(seen[name]) or 'none'}",
                )
        raise UserError(f"{self.path} has no fit of {', '.join(filter(None, wanted.values()))} together")


def run(
    recipe: Given,
    *,
    overrides: Overrides = (),
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    quiet: bool = True,
    verify: bool = False,
) -> Run:
    """Run a recipe, or continue where it stopped.

    Parameters
    ----------
    recipe : path-like or mapping
        A recipe file, the name of an installed recipe, or what stands in such a file.
    overrides : iterable of str, or mapping
        ``key.path=value`` settings, or ``{"key.path": value}``.
    out : path-like, optional
        Run folder; without it ``runs/<name of the recipe>``, or ``runs/<kind>-<digest>`` of a mapping.
    cache : path-like, optional
        Feature store; else BRAINBENCH_CACHE, else the user's cache folder.
    quiet : bool
        Show no progress.
    verify : bool
        Hash every input again, instead of those only whose size, times or inode changed since they were hashed.

    Returns
    -------
    Run
        The finished run. A recipe that finished before, on files that have not changed, is not run again.

    Raises
    ------
    UserError
        For anything the user can put right.
    Interrupted
        If the user stopped it; everything finished is kept.
    """
    overrides = list(spelled(overrides) if isinstance(overrides, Mapping) else overrides)
    settings = read_recipe(recipe, overrides)
    folder = RunFolder(out or default_folder(recipe, settings))
    name = recipe_digest(settings)
    if verify:
        from brainbench.core.remembered import forget_digests
        from brainbench.features.store import default_cache

        forget_digests(default_cache(None if cache is None else str(cache)))
    if folder.finished(name, verify=verify):
        return Run(folder.path)
    from brainbench.commands.execute import execute, typed
    from brainbench.core.progress import Stages

    with folder.writing():
        if folder.finished(name):  # another process finished it while this one waited
            return Run(folder.path)
        start = time.time()
        folder.event("run_started", digest=name)
        try:
            again = ["calibrate", str(recipe), *(word for one in overrides for word in ("--set", one))]
            if isinstance(recipe, Mapping):
                again = ["calibrate", str(folder.path / "recipe.yaml")]
            execute(settings, folder, name, Stages(quiet), cache=cache, command=typed(), calibrate=again)
        except KeyboardInterrupt:
            folder.event("run_interrupted", digest=name)
            raise Interrupted from None
        folder.event("run_finished", digest=name, seconds=round(time.time() - start, 3))
    return Run(folder.path)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Return a run to read."""
    return Run(path)
