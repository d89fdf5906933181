"""Pages of which the text is looked at: their figures are made, and not written out, which is most of a page's time."""

import pytest


def undrawn(patch: pytest.MonkeyPatch) -> None:
    """Write a word in place of every figure's file."""
    patch.setattr("brainbench.report.frame.vectors", lambda figure: ("drawn", b"drawn"))
    patch.setattr("brainbench.report.frame.as_svg", lambda figure: "drawn")


def unwritten(patch: pytest.MonkeyPatch) -> None:
    """Write an empty page in place of the report, which takes half the time of a small run."""
    patch.setattr("brainbench.report.write_report", lambda folder: (folder / "report.html").write_text(""))
