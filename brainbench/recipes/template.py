"""Writes a commented recipe from the schema, so that the template can never disagree with it."""

from __future__ import annotations

import textwrap
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from brainbench.core.errors import UserError, did_you_mean, one_of
from brainbench.recipes.datasets import settings_models as dataset_models
from brainbench.recipes.encoders import settings_models as encoder_models
from brainbench.recipes.reconstruction import codec_models, generator_models
from brainbench.recipes.schema import KINDS

_WIDTH = 108

# What a template needs to be a recipe that runs as it is: everything else comes from the defaults.
_EXAMPLES: dict[str, dict[str, Any]] = {
    "encode": {
        "title": "Which layer of EfficientNet explains which simulated region?",
        "dataset": {
            "name": "simulated",
            "rois": [
                {"roi": "early", "encoder": "efficientnet", "layer": "blocks.1"},
                {"roi": "late", "encoder": "efficientnet", "layer": "blocks.5"},
            ],
        },
        "encoders": [
            {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.*"]},
            {"name": "pixels", "family": "pixels"},
        ],
    },
    "decode": {
        "title": "Which category did the participant see?",
        "dataset": {"name": "haxby2001"},
        "hold_out": ["run"],
        "decoding": {"label": "category", "decoders": [{"name": "lda"}]},
    },
    "explore": {
        "title": "Which images would a simulated region respond to most?",
        "dataset": {
            "name": "simulated",
            "images": "drawings",
            "n_subjects": 1,
            "rois": [{"roi": "stripes-area", "prefers": "stripes"}, {"roi": "letter-area", "prefers": "letter"}],
        },
        "encoders": [
            {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.5"]},
            {"name": "gabor", "family": "gabor"},
        ],
        "generator": {"name": "small", "train_on": "drawings", "train_steps": 300},
        "guide": {"encoder": "efficientnet", "layer": "blocks.5"},
    },
    "reconstruct": {
        "title": "Which image did the simulated participant see?",
        "dataset": {
            "name": "simulated",
            "n_subjects": 1,
            "rois": [
                {"roi": "layout", "encoder": "pixels", "layer": "all"},
                {"roi": "content", "encoder": "efficientnet", "layer": "blocks.5"},
            ],
        },
        "encoders": [
            {"name": "efficientnet", "family": "image", "weights": "installed", "layers": ["blocks.5"]},
            {"name": "pixels", "family": "pixels"},
        ],
        "low_level": {"codec": "pca"},
        "generator": {
            "name": "small",
            "condition_on": [{"encoder": "efficientnet", "layer": "blocks.5"}],
            "train_steps": 300,
        },
    },
}


def write_template(kind: str) -> str:
    """Return a commented recipe of `kind` that runs as it is.

    Raises
    ------
    UserError
        If there is no such kind.
    """
    if kind not in KINDS:
        raise UserError(f"unknown kind of recipe '{kind}'{did_you_mean(kind, KINDS)}", hint=f"kinds: {one_of(KINDS)}")
    model = KINDS[kind]
    lines = [
        f"# {model.__doc__}",
        "# Check it with `brainbench check`, see what it costs with `brainbench plan`.",
        "",
    ]
    example = {"kind": kind, **_EXAMPLES[kind]}
    order = ["kind", *[name for name in model.model_fields if name != "kind"]]
    for name in order:
        lines += _field(name, model.model_fields[name], example.get(name, PydanticUndefined), 0)
    return "\n".join(lines) + "\n"


def _field(name: str, field: FieldInfo, example: Any, indent: int) -> list[str]:
    pad = " " * indent
    text = (field.description or "").replace("\n", " ")
    choices = _choices(field.annotation)
    if len(choices) > 1:
        text += f" [{' | '.join(choices)}]"
    lines = textwrap.wrap(text, _WIDTH - indent, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ")
    value = example if example is not PydanticUndefined else field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return []
    sections = _sections(name, value)
    if sections is not None:
        if isinstance(sections, list):
            lines.append(f"{pad}{name}:")
            for model, entry in sections:
                body = _body(model, entry, indent + 4)
                first = next(i for i, line in enumerate(body) if not line.lstrip().startswith("#"))
                lines += [line[2:] if line.startswith("  ") else line for line in body[:first]]
                lines.append(f"{pad}  - {body[first].lstrip()}")
                lines += body[first + 1 :]
        else:
            model, entry = sections
            lines.append(f"{pad}{name}:")
            lines += _body(model, entry, indent + 2)
    else:
        lines.append(f"{pad}{name}: {_inline(value)}")
    if indent == 0:
        lines.append("")
    return lines


def _body(model: type[BaseModel], entry: dict[str, Any], indent: int) -> list[str]:
    lines: list[str] = []
    first = [name for name in ("name", "family", "codec") if name in model.model_fields]
    for name in [*first, *[name for name in model.model_fields if name not in first]]:
        lines += _field(name, model.model_fields[name], entry.get(name, PydanticUndefined), indent)
    return lines


def _sections(name: str, value: Any) -> Any:
    """Return (model, values) for a section, a list of them for a list of sections, else None."""
    if isinstance(value, BaseModel):
        return type(value), {}
    if name == "dataset":
        return dataset_models()[value["name"]], value
    if name == "encoders":
        return [(encoder_models()[entry["family"]], entry) for entry in value]
    if name == "low_level":
        return codec_models()[value["codec"]], value
    if name == "generator" and value is not None:
        return generator_models()[value["name"]], value
    if name == "decoding" and value is not None:
        from brainbench.recipes.schema import Decoding

        return Decoding, value
    return None


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return []


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).strip()
    return text.removesuffix("...").strip()
