"""The report: one HTML page made from a run folder and nothing else."""

from __future__ import annotations

from brainbench.report.page import write_report

__all__ = ["write_report"]
