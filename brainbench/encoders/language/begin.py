"""The first place of a text, which causal networks use as a sink of attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SINK = 10.0
"""A first token so many times as large as the others is a place of the network's own, whatever word stands there."""


def without_sink(tokenizer: Any, states: Sequence[Tensor]) -> tuple[str | None, str]:
    """Return what is put before every text for a network whose first place is a sink, and what the report says of it.

    What stands there gets values of hundreds of times the others', in the same direction for every word. A mean over a
    text would be little else than one by its length, and the first word of a story an outlier. Where nothing stands
    before a text, the token by which the network knows the begin of one is put there: the tokenizer is changed.

    Parameters
    ----------
    tokenizer
        A fast one of transformers.
    states : sequence of Tensor (n_tokens, n_features)
        Of every layer, of one text.

    Returns
    -------
    put : str or None
        None where there is no such place, or no such token; nothing where the tokenizer puts one there by itself.
    said : str
    """
    sizes = [state.float().norm(dim=1) for state in states]
    ratio = max(float(size[0] / size[1:].median()) for size in sizes)
    if not ratio > SINK:
        return None, ""
    said = f"the first token of a text is {ratio:.0f} times as large as others"
    if tokens_before(tokenizer):
        return "", f"{said}, whichever it is: special tokens are in no mean"
    put = tokenizer.bos_token or tokenizer.eos_token
    if not put:
        return None, f"{said}, and counts in means"
    put_before(tokenizer, put)
    return put, f"{said}, whichever it is: '{put}' is put before every text"


def tokens_before(tokenizer: Any) -> list[int]:
    """Return the special tokens that a tokenizer puts before every text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    ids: list[int] = tokenizer("a")["input_ids"]
    return ids[: next(i for i in range(len(ids)) if ids[i : i + len(bare)] == bare)]


def put_before(tokenizer: Any, token: str) -> None:
    """Make a tokenizer begin every text with one of its special tokens."""
    from tokenizers import processors

    backend, special = tokenizer.backend_tokenizer, [(token, tokenizer.convert_tokens_to_ids(token))]
    begin = processors.TemplateProcessing(single=[token, "$A"], pair=[token, "$A", "$B"], special_tokens=special)
    own = backend.post_processor
    backend.post_processor = begin if own is None else processors.Sequence([own, begin])
