"""What nearly every run imports: the server that processes are copied from has it already, see `tests.processes`."""

import matplotlib.figure
import nilearn.maskers
import torch._dynamo  # which the first optimizer of a process imports
import torch.optim

import brainbench.cli
import brainbench.commands.memory
import brainbench.report.page
import brainbench.studies.encode.fits

__all__ = ["brainbench", "matplotlib", "nilearn", "torch"]
