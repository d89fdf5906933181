"""Any data set of MOABB by name; MOABB finds (and, where they are missing, fetches) the files, nothing more."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.data.base import Context
from brainbench.recipes.datasets import MoabbSettings
from brainbench.recordings.base import RecordingDataset
from brainbench.recordings.channels import set_types
from brainbench.recordings.events import annotated_events, channel_events, named_events
from brainbench.recordings.reading import read_raw, require_mne
from brainbench.recordings.recording import Recording


class Moabb(RecordingDataset):
    """A data set of MOABB."""

    name = "moabb"
    expected = "MOABB's folders (the folder that MNE_DATA would name)"
    says_files = False

    def __init__(self, settings: MoabbSettings, root: Path | None) -> None:
        super().__init__(settings)
        self.root = root
        self.source = _open(settings)
        self.interval = float(self.source.interval[0])
        events = list(self.source.event_id)
        unknown = [event for event in settings.events or [] if event not in events]
        if unknown:
            raise UserError(
                f"dataset.events: {settings.dataset} has no event '{unknown[0]}'{did_you_mean(unknown[0], events)}",
                hint=f"events: {one_of(events)}",
            )
        self.events = settings.events or events

    @classmethod
    def open(cls, settings: MoabbSettings, root: Path | None, context: Context) -> Moabb:  # noqa: D102
        require_mne()
        return cls(settings, root)

    @property
    def subjects(self) -> list[str]:  # noqa: D102
        return [str(subject) for subject in self.source.subject_list]

    def paths(self, subject: str) -> list[Path]:
        """Return nothing: MOABB does not say which files a subject has; trials are known by their content."""
        return []

    def origins(self, subject: str) -> dict[str, str]:  # noqa: D102
        name = f"MOABB's {self.source.code}, subject {subject}"
        return {name: name}

    def notes(self) -> list[str]:  # noqa: D102
        doi = getattr(self.source, "doi", None)
        return [
            f"MOABB data set {self.source.code}{f', doi {doi}' if doi else ''}: its own licence and citation apply",
            f"times count from {self.interval:g} s after the event, where its task interval begins",
        ]

    def recordings(self, subject: str) -> list[Recording]:  # noqa: D102
        by_name = {str(one): one for one in self.source.subject_list}
        with _own_files(self.root):
            try:
                sessions = self.source.get_data(subjects=[by_name[subject]])[by_name[subject]]
            except Exception as error:  # whatever the data set's own reader or its server raise
                raise UserError(
                    f"MOABB could not read subject {subject} of {self.source.code}: {type(error).__name__}: {error}",
                    hint="the files are looked for below `dataset.root` (or MNE_DATA)",
                ) from error
        return [
            self._recording(raw, session, run, subject)
            for session, runs in sessions.items()
            for run, raw in runs.items()
        ]

    def _read_new(self, path: Path) -> tuple[str, Recording]:
        raw, _ = read_raw(path)
        return "", self._with_events(raw, "", "", str(path))

    def _recording(self, raw: Any, session: str, run: str, subject: str) -> Recording:
        where = f"{self.source.code} subject {subject}, session {session}, run {run}"
        return self._with_events(raw.copy().load_data(verbose="ERROR"), session, run, where)

    def _with_events(self, raw: Any, session: str, run: str, where: str) -> Recording:
        """Find the events of a loaded recording: the codes of its stim channel, else its annotations."""
        set_types(raw, self.settings.channel_types, where)
        names = {str(code): name for name, code in self.source.event_id.items() if name in self.events}
        events = channel_events(raw, where) if "stim" in raw.get_channel_types() else None
        if events is None or not len(events.onsets):
            events, names = annotated_events(raw, self.events), {name: name for name in self.events}
        events = named_events(events, names, "no class of the data set, or not in `events`")
        return Recording(
            raw=raw,
            onsets=events.onsets + self.interval,
            labels=events.labels,
            session=str(session),
            run=str(run),
            where=where,
            left_out=tuple(events.left_out),
            said=tuple(events.said),
        )


def _open(settings: MoabbSettings) -> Any:
    try:
        import moabb.datasets as shelf
        from moabb.datasets.base import BaseDataset
        from moabb.datasets.fake import FakeDataset
    except ImportError:
        raise UserError("dataset 'moabb' needs MOABB", hint='pip install "brainbench[eeg]"') from None
    known = {
        name: value
        for name, value in {**vars(shelf), "FakeDataset": FakeDataset}.items()
        if inspect.isclass(value) and issubclass(value, BaseDataset) and value is not BaseDataset
    }
    if settings.dataset not in known:
        near = did_you_mean(settings.dataset, known)
        raise UserError(f"dataset.dataset: MOABB has no data set '{settings.dataset}'{near}", hint=one_of(known))
    factory = known[settings.dataset]
    takes = [name for name in inspect.signature(factory.__init__).parameters if name not in ("self", "args", "kwargs")]
    for name in settings.parameters:
        if name not in takes:
            raise UserError(
                f"dataset.parameters: {settings.dataset} has no argument '{name}'{did_you_mean(name, takes)}",
                hint=f"arguments: {', '.join(takes) or 'none'}",
            )
    return factory(**settings.parameters)


@contextmanager
def _own_files(root: Path | None) -> Iterator[None]:
    """Let MOABB look below `root`, and ask no mirror for files that may be there already.

    `root` is what MNE_DATA would name, or the folder of one data set inside of it, ``MNE-<code>-data``. Folders of
    single data sets that MNE remembers from earlier downloads would win over MNE_DATA; here they do not.
    """
    values = {"MOABB_DOWNLOAD_PROVIDER": "upstream"}
    if root is not None:
        import mne

        parent = str(root.parent if re.fullmatch(r"MNE-.+-data", root.name) else root)
        known = [name for name in (*mne.get_config(), *os.environ) if re.fullmatch(r"MNE_DATASETS_.+_PATH", name)]
        values |= dict.fromkeys(("MNE_DATA", *known), parent)
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
