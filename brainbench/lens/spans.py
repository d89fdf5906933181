"""How well a label is read off the states of a span of tokens, block by block.

After the probes of states pooled over a span in arXiv:2506.22516; what that paper says of integrated information is not
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.capture import Tap
from brainbench.encoders.network import NetworkEncoder
from brainbench.lens.base import Looked
from brainbench.lens.diagnostics.content import concept
from brainbench.lens.measure import counted, tokens_of
from brainbench.networks.devices import in_batches

if TYPE_CHECKING:
    from torch import Tensor


def span_states(encoder: NetworkEncoder, stimuli: Stimuli, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the mean state of every stimulus's span behind every block, float32 ``(n_blocks, n, d)``.

    Parameters
    ----------
    encoder : NetworkEncoder
    stimuli : Stimuli
    spans : sequence of (int, int)
        First token of every stimulus's span, and the one behind its last. Padding does not count.

    Raises
    ------
    UserError
        If spans are not one a stimulus, are empty or reach beyond the tokens, or if a pass reads other pieces than
        stimuli (windows of a story).
    """
    import torch

    if len(spans) != len(stimuli):
        raise UserError(f"spans: {len(spans)} for {len(stimuli)} stimuli")
    blocks = [encoder.site(block, "resid_post") for block in range(len(encoder.stream) - 1)]
    n, size, read_at = encoder.reads(stimuli, range(len(stimuli)), "mean")

    def forward(places: range) -> np.ndarray:
        read = read_at(places)
        if list(read.rows) != list(places) or n != len(stimuli):
            raise UserError(
                f"spans: {encoder.name} reads windows of a story, in which stimuli have no tokens of theirs"
            )

        def reduce(value: Tensor, at: Tap) -> Tensor:
            tokens = tokens_of(value, at)
            real = counted(read.inputs, encoder.stream[1], tokens.shape[1])[1].to(tokens.device)
            place = real.cumsum(1) - 1
            for row, length in zip(read.rows, real.sum(1).tolist(), strict=True):
                start, stop = spans[row]
                if not 0 <= start < stop <= length:
                    raise UserError(f"spans: tokens {start} to {stop} of stimulus {row + 1}, which has {length}")
            start, stop = torch.tensor([spans[row] for row in read.rows], device=tokens.device).T.unsqueeze(-1)
            inside = (real & (place >= start) & (place < stop)).unsqueeze(-1)
            return tokens.where(inside, 0).sum(1) / inside.sum(1)

        with torch.inference_mode():
            found = encoder.run(read.inputs, blocks, reduce=reduce)
        return torch.stack([found[at.name] for at in blocks]).float().cpu().numpy()

    return np.concatenate(list(in_batches(n, size, forward)), axis=1)


def span_probe(
    encoder: NetworkEncoder, stimuli: Stimuli, spans: Sequence[tuple[int, int]], labels: Sequence[str],
    *, runs: Sequence[str] | None = None, seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Return the balanced accuracy of a label, and of the label exchanged, ``(n_blocks, 2)``.

    The classifier of `content`, which reads the mean token of a span instead of that of the stimulus.

    Parameters
    ----------
    encoder, stimuli, spans
        As in `span_states`.
    labels : sequence of str
    runs : sequence of str, optional
        What must not be split between training and test.
    seed : int

    Raises
    ------
    UserError
        As `span_states`; or if labels are not one a stimulus, or too few to be held out.
    """
    if len(labels) != len(stimuli):
        raise UserError(f"labels: {len(labels)} for {len(stimuli)} stimuli")
    looked = Looked(labels=np.asarray(labels), runs=None if runs is None else np.asarray(runs), seed=seed)
    found = concept(list(span_states(encoder, stimuli, spans).astype(float)), looked)
    columns = [found["concept"], found["concept_control"]]
    if isinstance(columns[0], str):
        raise UserError(f"labels: {columns[0]}")
    return np.stack([np.asarray(column).mean(axis=1) for column in columns], axis=1)
