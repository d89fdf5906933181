"""Architectures built small with random weights: text in transformers, all of timm and braindecode, and what many use.

Each gets a verdict: `read` (its layers are the library's own hidden states or feature maps of a stimulus alone, to
1e-5 of the largest value, found here by another way than the check on opening), `refused` (by name, with the reason),
or `WRONG`. Kinds that cannot be built small from their configuration alone are `not built`.

    python benchmarks/architectures.py [--sample 20 --seed 7] [--page docs/architectures.md] [NAME ...]
    python benchmarks/architectures.py --named
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from brainbench.core.errors import UserError
from brainbench.encoders.base import open_encoder
from brainbench.encoders.capture import first_tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests write the networks of pictures and texts

from benchmarks.architectures_page import write

TOLERANCE = 1e-5
TEXTS = ["the cat sat", "on a very long mat that goes on and on without an end in sight", "colour less", "rain"]
LARGEST = 30e6
"""Parameters: what is larger is not built here."""
SMALL = {
    32: ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "attention_hidden_size",
         "word_embed_proj_dim", "intra_bottleneck_size", "true_hidden_size", "d_embed", "embed_dim"),
    64: ("intermediate_size", "ffn_dim", "d_ff", "d_inner", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim",
         "moe_intermediate_size", "shared_expert_intermediate_size", "dff", "ffn_hidden_size", "n_inner"),
    3: ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "decoder_layers",
        "num_encoder_layers", "num_decoder_layers"),
    4: ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads", "decoder_attention_heads",
        "attention_heads"),
    2: ("num_key_value_heads", "num_experts_per_tok", "num_kv_heads"),
    8: ("head_dim", "d_kv", "d_head", "state_size", "num_experts", "num_local_experts", "n_routed_experts"),
    128: ("max_position_embeddings", "n_positions", "context_length"),
}  # fmt: skip
"""Sizes by the names that configurations give them."""


# Texts ----------------------------------------------------------------------------------------------------------------


@cache
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in special}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, **names)


def text_kinds() -> list[str]:
    """Kinds of models whose configuration has a vocabulary."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    found = []
    for kind in sorted(MODEL_MAPPING_NAMES):
        with contextlib.suppress(Exception):
            config = AutoConfig.for_model(kind)
            if getattr(config, "vocab_size", None) or getattr(config, "text_config", None) is not None:
                found.append(kind)
    return found


def small_config(kind: str) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(kind, **_sizes(AutoConfig.for_model(kind)))


def _sizes(plain: Any) -> dict[str, Any]:
    """Return the small sizes that a configuration, and those inside of it, have names for."""
    names = set(plain.to_dict()) | set(getattr(plain, "attribute_map", {}))
    sizes: dict[str, Any] = {name: size for size, those in SMALL.items() for name in those if name in names}
    if "layer_types" in names and isinstance(plain.layer_types, list):
        sizes["layer_types"] = plain.layer_types[-3:]
    tokens = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    sizes |= {name: value for name, value in tokens.items() if name in names or name.endswith("token_id")}
    for name in getattr(plain, "sub_configs", {}):
        inner = getattr(plain, name, None)
        if inner is not None:
            sizes[name] = {"model_type": inner.model_type, **_sizes(inner)}
    return sizes


def _runs(config: Any) -> str:
    """Return why a network does not run on plain tokens by itself, or nothing."""
    from transformers import AutoModel

    try:
        network = AutoModel.from_config(config).eval()
        tokens = tokenizer()(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
        if getattr(config, "is_encoder_decoder", False):
            network = network.get_encoder()
        with torch.inference_mode():
            network(**tokens)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def text_verdict(kind: str, folder: Path) -> tuple[str, str]:
    from transformers import AutoModel

    try:
        config = small_config(kind)
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in AutoModel.from_config(config).parameters())
    except Exception as error:  # libraries raise whatever they raise
        return "not built", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if size > LARGEST:
        return "not built", f"{size / 1e6:.0f} million parameters"
    config.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    try:
        encoder: Any = open_encoder({"name": kind, "family": "text", "model": str(folder), "weights": "random"})
        found = encoder.features(TEXTS)
    except UserError as error:
        alone_it_fails = _runs(config) if "does not run on two stimuli" in str(error) else ""
        if alone_it_fails:
            return "not built", f"does not run on tokens by itself: {alone_it_fails}"
        return "refused", str(error).splitlines()[0]
    alone = []
    for text in TEXTS:
        inputs = encoder._sentences([text])
        with torch.inference_mode():
            states = encoder.network(**inputs.kwargs, output_hidden_states=True).hidden_states
        alone.append([_own_tokens(state, inputs) for state in states])
    states = [np.stack(each) for each in zip(*alone, strict=True)]
    taps, last = list(found.values()), _afters(encoder, list(found)[-1])
    return _agree(taps, states, last), f"{len(taps)} taps; {encoder.note}"


def _own_tokens(state: Any, inputs: Any) -> np.ndarray:
    """Return the mean over a text's tokens: some networks pad further, or add a token of their own at the end."""
    tensor = state[0] if isinstance(state, tuple) else state
    mean: np.ndarray = tensor[0, : inputs.mask.shape[1]].mean(0).numpy()
    return mean


def _afters(encoder: Any, layer: str) -> list[np.ndarray]:
    """Return what modules outside of the blocks make of the last block's output: one may be the last state."""
    (tap,) = [tap for tap in encoder.taps if tap.name == layer]
    made = []
    for name, module in encoder.network.named_modules():
        if not name or any(part.isdecimal() for part in name.split(".")) or list(module.children()):
            continue
        with contextlib.suppress(Exception), torch.inference_mode():
            values = []
            for text in TEXTS:
                inputs = encoder._sentences([text])
                values.append(_own_tokens(module(encoder.run(inputs, [tap])[tap.name]), inputs))
            made.append(np.stack(values))
    return made


def _agree(taps: list[np.ndarray], states: list[np.ndarray], last: list[np.ndarray]) -> str:
    """`read` when every tap is the hidden state of its place, counted from the first that one of the two lists has."""
    for shift in (0, 1):  # a library may list no embeddings
        pairs = list(zip(taps[shift:], states, strict=False))
        enough = len(taps) - shift <= len(states) <= len(taps) - shift + (shift == 1)
        inner = all(_same(tap, state) for tap, state in pairs[:-1])
        if enough and inner and any(_same(one, pairs[-1][1]) for one in [pairs[-1][0], *last]):
            return "read"
    return "WRONG"


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and float(np.abs(a - b).max()) <= TOLERANCE * max(1.0, float(np.abs(b).max()))


# Pictures -------------------------------------------------------------------------------------------------------------


def timm_families() -> list[str]:
    import timm

    return sorted(timm.list_modules())


def smallest(family: str) -> str | None:
    """Return the model of a family with the fewest parameters, of the five whose names look smallest."""
    import timm

    hints = ("test_", "pico", "femto", "atto", "nano", "tiny", "xx", "_xs", "_s0", "_t", "_s", "small", "18", "b0", "0")
    names = sorted(timm.list_models(module=family), key=lambda name: (-sum(h in name for h in hints), len(name)))
    sizes = {}
    for name in names[:5]:
        with contextlib.suppress(Exception), torch.device("meta"):
            sizes[name] = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
    return min(sizes, key=sizes.__getitem__) if sizes else None


SMALLER: dict[str, dict[str, int]] = {"deepseek_vit": {"depth": 3, "embed_dim": 64, "num_heads": 4}}
"""Family of timm whose smallest model is too large here -> what makes it small."""


def timm_verdict(family: str, _folder: Path) -> tuple[str, str]:
    import timm

    name = smallest(family)
    if name is None:
        return "not built", "no model of it builds without memory"
    smaller = SMALLER.get(family, {})
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (2, 48, 64, 3)).astype(np.uint8))
    settings = {"name": family, "family": "image", "model": name, "weights": "random"}
    encoder: Any = None
    reason = "too large"
    for size in (64, 128, None):
        try:
            with patch.object(timm, "create_model", partial(timm.create_model, **smaller)):
                encoder = open_encoder({**settings, "image_size": size})
            break
        except UserError as error:
            reason = str(error).splitlines()[0]
    if encoder is None:
        return ("refused" if reason.startswith("encoder") else "WRONG"), f"{name}: {reason}"
    taps = list(encoder.features(pictures).values())
    with torch.inference_mode():
        maps = encoder.network.forward_intermediates(encoder.prepare(pictures), intermediates_only=True)
    means = [one.mean((2, 3)).numpy() if one.ndim == 4 else one.mean(1).numpy() for one in maps]
    held = [any(_same(tap, mean) for tap in taps) for mean in means]
    # The first map may come before the first block, the last be what a final norm or convolution makes of it.
    right = all(held[1:-1]) and sum(held) >= max(1, len(held) - 2)
    return (
        "read" if right else "WRONG",
        f"{name}{''.join(f', {key} {size}' for key, size in smaller.items())}: "
        f"{len(taps)} taps hold {sum(held)} of {len(held)} maps; {encoder.note}",
    )


# Pictures in transformers and torchvision -----------------------------------------------------------------------------


VISION = ("vit", "deit", "beit", "dinov2", "dinov2_with_registers", "dinov3_vit", "siglip", "clip")
PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3)).astype(np.uint8))


def vision_verdict(kind: str, folder: Path) -> tuple[str, str]:
    """Hold a network of pictures against hidden states; how many tokens are no patches is written down here."""
    from transformers import AutoConfig, AutoModel, ViTImageProcessor

    before = {"vit": 1, "deit": 2, "beit": 1, "dinov2": 1, "dinov2_with_registers": 5, "dinov3_vit": 5, "clip": 1}
    sizes = _sizes(AutoConfig.for_model(kind))
    for one in (sizes, *(sizes[name] for name in ("vision_config",) if name in sizes)):
        one |= {"image_size": 32, "patch_size": 8}
    if kind == "dinov3_vit":
        sizes["num_register_tokens"] = 4
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(kind, **sizes)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    encoder: Any = open_encoder({"name": kind, "family": "image", "model": str(folder)})
    taps = list(encoder.features(PICTURES).values())
    states: list[list[np.ndarray]] = []
    for picture in PICTURES:
        with torch.inference_mode():
            found = encoder.network(pixel_values=encoder.prepare([picture]), output_hidden_states=True).hidden_states
        states.append([state[0, before.get(kind, 0) :].mean(0).numpy() for state in found])
    expected = [np.stack(each) for each in zip(*states, strict=True)]
    tap = encoder.taps[-1]
    last = []
    for name, module in encoder.network.named_modules():
        if name.rpartition(".")[2] in ("norm", "layernorm"):
            with contextlib.suppress(Exception), torch.inference_mode():
                values = encoder.run(encoder._inputs(PICTURES), [tap])[tap.name]
                last.append(module(values)[:, before.get(kind, 0) :].mean(1).numpy())
    return _agree(taps, expected, last), f"{len(taps)} taps; {encoder.note}"


def torchvision_verdict(model: str, _folder: Path) -> tuple[str, str]:
    """Hold a network of torchvision against hooks of the plainest kind."""
    encoder: Any = open_encoder(
        {"name": model, "family": "image", "model": f"torchvision:{model}", "weights": "random", "image_size": 64}
    )
    found = encoder.features(PICTURES)
    right = []
    for tap in encoder.taps[1:]:
        seen: list[torch.Tensor] = []
        handle = encoder.network.get_submodule(tap.module).register_forward_hook(
            lambda _m, _a, out, seen=seen: seen.append(out.clone())
        )
        with torch.inference_mode():
            encoder.network(encoder.prepare(PICTURES))
        handle.remove()
        value = seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]
        right.append(_same(found[tap.name], value.numpy()))
    return ("read" if all(right) else "WRONG"), f"{len(found)} taps; {encoder.note}"


# Sound ----------------------------------------------------------------------------------------------------------------


AUDIO = ("whisper", "wav2vec2", "hubert", "wavlm", "data2vec-audio", "wav2vec2-bert")


def audio_verdict(kind: str, folder: Path) -> tuple[str, str]:
    """Hold a network of sound against hidden states of two seconds of noise."""
    import transformers
    from transformers import AutoConfig, AutoModel

    from brainbench.data.base import Stimuli
    from brainbench.data.sound.recording import Recording

    sizes = _sizes(AutoConfig.for_model(kind)) | {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    if kind == "whisper":
        sizes |= {"max_source_positions": 100, "decoder_start_token_id": 2}
    elif kind != "wav2vec2-bert":
        sizes["conv_dim"] = [8] * 7
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(kind, **sizes)).save_pretrained(folder)
    names = {"whisper": "WhisperFeatureExtractor", "wav2vec2-bert": "SeamlessM4TFeatureExtractor"}
    extractor = getattr(transformers, names.get(kind, "Wav2Vec2FeatureExtractor"))
    extractor(**({"chunk_length": 2} if kind == "whisper" else {})).save_pretrained(folder)
    settings = {"name": kind, "family": "audio", "model": str(folder), "window_s": 2, "overlap_s": 0}
    encoder: Any = open_encoder(settings)
    noise = np.random.default_rng(0).standard_normal((2, 32_000)).astype(np.float32) / 10
    taps = list(encoder.features(Stimuli.of_sounds([Recording.of(one, 16_000) for one in noise])).values())
    states = []
    for one in noise:
        inputs = encoder.processor([one], sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            found = encoder.network(**inputs, output_hidden_states=True).hidden_states
        states.append([state[0].mean(0).numpy() for state in found])
    expected = [np.stack(each) for each in zip(*states, strict=True)]
    tap, last = encoder.taps[-1], []
    for name in ("layer_norm", "encoder.layer_norm"):
        with contextlib.suppress(AttributeError), torch.inference_mode():
            norm = encoder.network.get_submodule(name)
            last.append(
                np.stack([norm(encoder.run(encoder._inputs([x]), [tap])[tap.name])[0].mean(0).numpy() for x in noise])
            )
    return _agree(taps, expected, last), f"{len(taps)} taps; {encoder.note}"


# Trials ---------------------------------------------------------------------------------------------------------------


def braindecode_models() -> list[str]:
    from braindecode.models.util import models_dict

    return sorted(models_dict)


@cache
def recordings() -> tuple[Any, dict[str, Any], Any]:
    """Return a folder with movements of eight channels at 160 Hz, the settings that read it, and its trials."""
    from brainbench.data.base import Context
    from brainbench.recipes.datasets import DATASETS, dataset_settings
    from tests.sweeps.small_data import write_movements

    place = tempfile.TemporaryDirectory(prefix="architectures-")
    write_movements(Path(place.name))
    settings = {"name": "physionet-mi", "subjects": ["S001"], "tmin": 0.0, "tmax": 4.0}
    power = {"bands": {"alpha": [8.0, 13.0]}, "groups": {"left": ["C3"]}}
    chosen = dataset_settings({**settings, "band_power": power})
    dataset = DATASETS.builder("physionet-mi").open(chosen, Path(place.name), Context())
    return place, {**settings, "root": place.name}, dataset.stimuli("S001")


def braindecode_verdict(model: str, _folder: Path) -> tuple[str, str]:
    """Hold every layer's values of a batch against plain hooks on each trial alone."""
    _, trained_on, stimuli = recordings()
    decoder = {"decoder": "braindecode", "model": model, "max_epochs": 1}
    settings = {"name": model, "family": "eeg", "decoder": decoder, "weights": "random", "trained_on": trained_on}
    try:
        encoder: Any = open_encoder(settings, device="cpu")
        found = encoder.features(stimuli, ["*"], "flatten")
    except UserError as error:
        return "refused", str(error).splitlines()[0]
    right = []
    for tap in encoder.taps[1:]:
        seen: list[torch.Tensor] = []
        handle = encoder.network.get_submodule(tap.module).register_forward_hook(
            lambda _m, _a, out, seen=seen: seen.append(first_tensor(out).clone())
        )
        with torch.inference_mode():
            for row in range(4):
                encoder.network(*encoder.inputs(stimuli, [row]).args)
        handle.remove()
        expected = np.stack([one.float().flatten().numpy() for one in seen]) if len(seen) == 4 else np.zeros(0)
        right.append(_same(found[tap.name][:4], expected))
    return ("read" if all(right) else "WRONG"), f"{len(found)} taps; {encoder.note}"


# Clips ----------------------------------------------------------------------------------------------------------------


def video_verdict(kind: str, folder: Path) -> tuple[str, str]:
    """Hold a network of clips against hidden states of each clip alone."""
    from tests.encoders.tiny import clips, write_video

    stimuli, before = clips(3), 1 if kind == "timesformer" else 0
    encoder: Any = open_encoder({"name": kind, "family": "video", "model": str(write_video(kind, folder))})
    taps, states = list(encoder.features(stimuli).values()), []
    for row in range(3):
        with torch.inference_mode():
            given = encoder.inputs(stimuli, [row]).kwargs
            found = encoder.network(**given, output_hidden_states=True).hidden_states
        states.append([state[0, before:].mean(0).numpy() for state in found])
    expected = [np.stack(each) for each in zip(*states, strict=True)]
    last = []
    for name, module in encoder.network.named_modules():
        if name in ("layernorm", "encoder.layernorm"):
            with torch.inference_mode():
                value = module(
                    encoder.run(encoder.inputs(stimuli, range(3)), [encoder.taps[-1]])[encoder.taps[-1].name]
                )
                last.append(value[:, before:].mean(1).numpy())
    return _agree(taps, expected, last), f"{len(taps)} taps; {encoder.note}"


# Pictures and texts ---------------------------------------------------------------------------------------------------


def vision_language_verdict(kind: str, folder: Path) -> tuple[str, str]:
    """Hold words' tokens and patches' or regions' tokens against hidden states of each stimulus alone."""
    from dataclasses import replace

    from tests.encoders.tiny import SENTENCES, images
    from tests.encoders.vision_language import layers_and_states, write_regions, write_vision_language

    stimuli = replace(images(3), captions=[(text,) for text in SENTENCES[:3]])
    write_vision_language(kind, folder, regions=12)
    regions = write_regions(folder / "regions.npz", stimuli.ids, 12)
    settings = {"name": kind, "family": "vision_language", "model": str(folder), "regions": str(regions)}
    right, said = [], []
    for tokens in ("text", "visual"):
        encoder = open_encoder({**settings, "tokens": tokens})
        found, states = layers_and_states(kind, encoder, stimuli, regions)
        right += [len(found) == len(states), *(_same(tap, state) for tap, state in zip(found, states, strict=False))]
        said.append(f"{len(encoder.layers())} taps of {tokens} tokens")
    both = open_encoder(settings)
    return ("read" if all(right) else "WRONG"), f"{', '.join(said)}, {len(both.layers())} of both; {both.note}"


# All ------------------------------------------------------------------------------------------------------------------


PAIRS = ("visual_bert", "lxmert", "vilt", "clip", "blip", "blip-matching", "blip-2", "llava", "qwen2_5_vl")
JUDGES = {
    "braindecode": braindecode_verdict,
    "text": text_verdict,
    "timm": timm_verdict,
    "vision": vision_verdict,
    "torchvision": torchvision_verdict,
    "audio": audio_verdict,
    "vision_language": vision_language_verdict,
    "video": video_verdict,
}
NAMED = (
    *(f"vision:{kind}" for kind in VISION),
    "text:clip", "torchvision:alexnet", "timm:resnet", "timm:vgg",
    *(f"audio:{kind}" for kind in AUDIO),
    *(f"vision_language:{kind}" for kind in PAIRS),
    "video:vjepa2", "video:videomae", "video:timesformer",
    "text:gpt2", "text:llama", "text:qwen3", "text:gpt_neox",
)  # fmt: skip
"""What users of this field run; none of them may be refused."""


def verdicts(names: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, verdict and remark of architectures by name: ``text:bert``, ``timm:resnet``."""
    for name in names:
        family, _, kind = name.partition(":")
        judge = JUDGES[family]
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    verdict, remark = judge(kind, Path(folder))
            except Exception as error:  # a crash of ours is what is looked for
                verdict, remark = "WRONG", f"crash: {type(error).__name__}: {error}"
        yield name, verdict, remark


FAMILIES = {"text": text_kinds, "timm": timm_families, "braindecode": braindecode_models}
"""Family -> names of all of it."""


def every_name() -> list[str]:
    every = [f"{family}:{kind}" for family, kinds in FAMILIES.items() for kind in kinds()]
    return [*every, *(name for name in NAMED if name not in every)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="text:bert, or a family: braindecode; all without")
    parser.add_argument("--named", action="store_true", help="those that users of this field run; none may be refused")
    parser.add_argument("--sample", type=int, help="only so many, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="page of verdicts; rows of what is not judged now stay")
    options = parser.parse_args()
    names = options.names or (list(NAMED) if options.named else every_name())
    names = [
        name for one in names
        for name in ([f"{one}:{kind}" for kind in FAMILIES[one]()] if one in FAMILIES else [one])
    ]  # fmt: skip
    if options.sample:
        names = list(np.random.default_rng(options.seed).permutation(names)[: options.sample])
    counts: Counter[str] = Counter()
    for name, verdict, remark in verdicts(names):
        counts[verdict] += 1
        if options.page:
            write(options.page, [(name, verdict, remark)])
        print(f"{name:<40} {verdict:<10} {remark[:240]}", flush=True)
    print(", ".join(f"{n} {verdict}" for verdict, n in counts.most_common()), f"of {sum(counts.values())}")
    sys.exit(1 if counts["WRONG"] or (options.named and counts["read"] < len(names)) else 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
