"""The contract of a diagnostic: its test is one call of `check_diagnostic`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from brainbench.encoders.sites import SITES
from brainbench.lens.base import Block, Diagnostic, Looked

if TYPE_CHECKING:
    from torch import Tensor


def made_block(n: int = 3, n_tokens: int = 6, width: int = 8, n_heads: int = 2, *, norm: str = "pre") -> Block:
    """Return a block of random values that add up as a block's do: what a diagnostic is tried on."""
    import torch

    draw = torch.Generator().manual_seed(0)
    before, attention, mlp = (torch.randn(n, n_tokens, width, generator=draw) for _ in range(3))
    between, after = before + attention, before + attention + mlp
    if norm == "post":
        normed = torch.nn.LayerNorm(width, elementwise_affine=False)
        between = normed(before + attention)
        after = normed(between + mlp)
    values = {
        "resid_pre": before, "attn_out": attention, "resid_mid": between, "mlp_out": mlp, "resid_post": after,
        "pattern": torch.randn(n, n_heads, n_tokens, n_tokens, generator=draw).softmax(-1),
        "z": torch.randn(n, n_tokens, n_heads, width // n_heads, generator=draw),
        "mlp_act": torch.randn(n, n_tokens, 4 * width, generator=draw).relu(),
    }  # fmt: skip
    keep = torch.ones(n, n_tokens, dtype=torch.bool)
    real = keep.clone()
    keep[:, 0] = False
    places = {"tokens": torch.arange(n_tokens, dtype=torch.float32).unsqueeze(1)}
    return Block(1, 4, norm, values, keep, real, keep, places, out_norm=torch.ones(4 * width), rectified=True)


def check_diagnostic(diagnostic: Diagnostic) -> None:
    """Hold a diagnostic against its contract.

    Raises
    ------
    AssertionError
        Naming what does not hold.
    """
    import torch

    names = [column.name for column in diagnostic.columns]
    assert names and len(set(names)) == len(names), f"{diagnostic.name}: columns need names of their own"
    assert diagnostic.paper and diagnostic.formula, f"{diagnostic.name}: paper and formula are printed beside it"
    assert diagnostic.sites and set(diagnostic.sites) <= set(SITES), f"{diagnostic.name}: sites are among {SITES}"
    for norm in ("pre", "post", "parallel", ""):
        whole = made_block(norm=norm)
        block = replace(whole, values={site: whole.values[site].clone() for site in diagnostic.sites}, carry={})
        found = _numbers(diagnostic, block, len(whole.keep))
        for site in diagnostic.sites:
            assert torch.equal(block.values[site], whole.values[site]), f"{diagnostic.name} changes '{site}'"
        for row in range(len(whole.keep)):
            one = replace(
                block, values={site: value[row : row + 1] for site, value in block.values.items()},
                keep=block.keep[row : row + 1], real=block.real[row : row + 1], inside=block.inside[row : row + 1],
                carry={},
            )  # fmt: skip
            for name, value in _numbers(diagnostic, one, 1).items():
                torch.testing.assert_close(
                    value, found[name][row : row + 1], equal_nan=True,
                    msg=f"{diagnostic.name}: '{name}' of a stimulus depends on its company in a batch",
                )  # fmt: skip


def _numbers(diagnostic: Diagnostic, block: Block, n: int) -> Mapping[str, Tensor]:
    found = diagnostic.function(block)
    names = {column.name for column in diagnostic.columns}
    kept = {name: value for name, value in found.items() if name not in names and not isinstance(value, str)}
    assert diagnostic.across is not None or not kept, f"{diagnostic.name}: {sorted(kept)} are no columns"
    looked = Looked(why_no_readout="a made block has no readout")
    across = {} if diagnostic.across is None else diagnostic.across({k: [v] for k, v in kept.items()}, looked)
    for name, value in across.items():
        assert value if isinstance(value, str) else value.shape == (1, n), (
            f"{diagnostic.name}: '{name}' is neither one number a block and stimulus nor a reason"
        )
    given = {*(set(found) - set(kept)), *across}
    assert given == names, f"{diagnostic.name} gives {sorted(given)}, its columns are {sorted(names)}"
    for name in set(found) & names:
        value = found[name]
        assert value if isinstance(value, str) else value.shape == (n,), (
            f"{diagnostic.name}: '{name}' is neither one number a stimulus nor a reason"
        )
    return {name: value for name, value in found.items() if not isinstance(value, str)}
