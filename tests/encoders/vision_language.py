"""Networks of pictures and texts, small, with random weights; and what the library itself says of their tokens."""

import numpy as np
import torch

from tests.encoders.tiny import SENTENCES, _seeded, features

KINDS = ("visual_bert", "lxmert", "vilt", "clip", "blip", "blip-matching", "llava", "qwen2_5_vl", "blip-2")
NORMS = {
    "llava": "language_model.norm",
    "qwen2_5_vl": "language_model.norm",
    "blip-2": "language_model.model.decoder.final_layer_norm",
}
"""What the last hidden state of the library comes after."""


def write_words(folder, texts=(), more=()):
    """Save a tokenizer of whole words with class and separator tokens, as BERT's has."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *more]
    words = sorted({word for text in [*SENTENCES, *texts] for word in text.lower().split()})
    made = Tokenizer(models.WordLevel({name: i for i, name in enumerate([*special, *words])}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=40, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip
    if more:
        tokenizer.add_special_tokens({"additional_special_tokens": list(more)})
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_vision_language(kind, folder, texts=(), regions=2048):
    """Save a network of pictures and texts of three blocks, with all that prepares its inputs."""
    import transformers
    from transformers import AutoConfig, AutoModel, ViltImageProcessor, ViTImageProcessor

    pictures = {"vilt": ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8, rescale_factor=1 / 255)}
    n_words = len(write_words(folder, texts))
    bert = {
        "vocab_size": n_words, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": 40,
    }  # fmt: skip
    sees = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 32,
        "patch_size": 8,
    }  # fmt: skip
    sees["initializer_range"] = 0.02  # BLIP's own is 1e-10: its patches would all be zero
    reads = {**bert, "initializer_range": 0.02, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    if kind in ("llava", "qwen2_5_vl", "blip-2"):
        return _write_reader(kind, folder, texts, sees)
    sizes = {
        "visual_bert": {**bert, "visual_embedding_dim": regions},
        "lxmert": {**bert, "l_layers": 3, "x_layers": 2, "r_layers": 2, "visual_feat_dim": regions},
        "vilt": {**bert, "image_size": 32, "patch_size": 8},
        "clip": {"text_config": reads, "vision_config": sees, "projection_dim": 8},
        "blip": {
            "text_config": {**reads, "encoder_hidden_size": 16, "sep_token_id": 3},
            "vision_config": sees,
            "projection_dim": 8,
        },
    }  # fmt: skip
    sizes["blip-matching"] = sizes["blip"]
    config = AutoConfig.for_model(kind.removesuffix("-matching"), **sizes[kind])
    made = transformers.BlipForImageTextRetrieval if kind == "blip-matching" else AutoModel.from_config
    _seeded(made, config).save_pretrained(folder)
    pictures.get(kind, ViTImageProcessor(size={"height": 32, "width": 32})).save_pretrained(folder)
    return folder


def _write_reader(kind, folder, texts, sees):
    """Save a language model that reads patches, with its processor."""
    import transformers
    from transformers import AutoConfig, AutoModel

    qwen = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    more = qwen if kind == "qwen2_5_vl" else ["<image>"]
    tokenizer = write_words(folder, texts, more)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in more}
    llama = {
        "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 128,
    }  # fmt: skip
    if kind == "llava":
        config = AutoConfig.for_model(
            kind, text_config=llama, vision_config={"model_type": "clip_vision_model", **sees},
            image_token_index=ids["<image>"], vision_feature_layer=-2,
        )  # fmt: skip
        images = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        processor = transformers.LlavaProcessor(
            images, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1
        )
    elif kind == "qwen2_5_vl":
        inner = {
            **llama, "model_type": "qwen2_5_vl_text",
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4},
        }  # fmt: skip
        vision = {
            "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 16,
            "patch_size": 4, "spatial_merge_size": 2, "window_size": 16, "fullatt_block_indexes": [1],
        }  # fmt: skip
        config = AutoConfig.for_model(
            kind, text_config=inner, vision_config=vision, image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )  # fmt: skip
        images = transformers.Qwen2VLImageProcessor(min_pixels=256, max_pixels=1024, patch_size=4, merge_size=2)
        processor = transformers.Qwen2_5_VLProcessor(
            images, tokenizer, transformers.Qwen2VLVideoProcessor(patch_size=4, merge_size=2)
        )
    else:
        opt = {
            "model_type": "opt", "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 3, "ffn_dim": 24,
            "num_attention_heads": 2, "max_position_embeddings": 128, "word_embed_proj_dim": 16,
        }  # fmt: skip
        former = {
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
            "encoder_hidden_size": 16, "cross_attention_frequency": 1,
        }  # fmt: skip
        config = AutoConfig.for_model(
            kind, text_config=opt, vision_config=sees, qformer_config=former, num_query_tokens=4,
            image_token_index=ids["<image>"],
        )  # fmt: skip
        images = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
        processor = transformers.Blip2Processor(images, tokenizer, num_query_tokens=4)
    _seeded(AutoModel.from_config, config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_regions(path, ids, width):
    """Save regions of noise, up to four a picture."""
    rng = np.random.default_rng(5)
    n = len(ids)
    corner = rng.uniform(0, 0.5, (n, 4, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, (n, 4, 2))], axis=2)
    np.savez(
        path, ids=np.array(ids), features=rng.standard_normal((n, 4, width)).astype(np.float32),
        boxes=boxes.astype(np.float32), n_regions=np.array([4, 3, 4, 2] * n)[:n],
    )  # fmt: skip
    return path


def seen_by_the_library(kind, encoder, stimuli, regions, row):
    """Hidden states of one stimulus alone by the library's own call: words' tokens and patches' or regions' tokens."""
    network, picture, text = encoder.network, stimuli.load(row), stimuli.captions[row][0]
    ids = encoder.kind.tokenizer(text, return_tensors="pt")["input_ids"]
    words = slice(1, ids.shape[1] - 1)
    call = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "output_hidden_states": True}
    if kind in ("visual_bert", "lxmert"):
        file = np.load(regions)
        n = file["n_regions"][row]
        region, box = (torch.tensor(file[name][row : row + 1, :n]) for name in ("features", "boxes"))
    elif kind not in ("llava", "qwen2_5_vl", "blip-2"):
        call |= dict(encoder.kind.processor([picture], return_tensors="pt", input_data_format="channels_last"))
    with torch.inference_mode():
        if kind == "visual_bert":
            ones = torch.ones(1, n, dtype=torch.long)
            states = network(**call, visual_embeds=region, visual_attention_mask=ones, visual_token_type_ids=ones)
            both = [state[0] for state in states.hidden_states]
            return [one[words] for one in both], [one[ids.shape[1] :] for one in both]
        if kind == "lxmert":
            found = network(**call, visual_feats=region, visual_pos=box)
            both = found.language_hidden_states, found.vision_hidden_states
            return [one[0][words] for one in both[0]], [one[0] for one in both[1]]
        if kind == "vilt":
            both = [state[0] for state in network(**call).hidden_states]
            return [one[words] for one in both], [one[ids.shape[1] + 1 :] for one in both]
        if kind == "blip-matching":
            seen = network.vision_model(pixel_values=call.pop("pixel_values"), output_hidden_states=True)
            read = network.text_encoder(**call, encoder_hidden_states=seen.last_hidden_state)
            return [one[0][words] for one in read.hidden_states], [one[0][1:] for one in seen.hidden_states]
        if kind in ("clip", "blip"):
            found = network(**call)
            towers = found.text_model_output.hidden_states, found.vision_model_output.hidden_states
            return [one[0][words] for one in towers[0]], [one[0][1:] for one in towers[1]]
        before = {"llava": "<image>", "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>", "blip-2": ""}
        call = encoder.kind.processor(images=[picture], text=[before[kind] + text], return_tensors="pt")
        found = network(**call, output_hidden_states=True)
        found = getattr(found, "language_model_outputs", None) or found
        of_picture = call["input_ids"][0] == network.config.image_token_id
        known = torch.isin(call["input_ids"][0], ids[0, words])
        both = [state[0] for state in found.hidden_states]
        return [one[known] for one in both], [one[of_picture] for one in both]


def layers_and_states(kind, encoder, stimuli, regions):
    """Layers of an encoder of `tokens: text` or `visual`, and the library's states of each stimulus alone."""
    words = encoder.settings.tokens == "text"
    states = []
    for row in range(len(stimuli)):
        both = seen_by_the_library(kind, encoder, stimuli, regions, row)
        states.append([one.mean(0).numpy() for one in both[0 if words else 1]])
    theirs = [np.stack(each) for each in zip(*states, strict=True)]
    ours = [value for layer, value in features(encoder, stimuli).items() if "projection" not in layer]
    if kind == "lxmert":
        ours = ours[1:]  # the library does not list what goes into the first block
    if kind in NORMS:
        norm, tap, means = encoder.network.get_submodule(NORMS[kind]), encoder.taps[-1], []
        with torch.inference_mode():
            for row in range(len(stimuli)):
                given = encoder.inputs(stimuli, [row])
                state = norm(encoder.run(given, [tap])[tap.name])
                means.append(state[0, (given.text if words else given.visual)["joint"][0]].mean(0).numpy())
        ours = [*ours[:-1], np.stack(means)]
    return ours, theirs
