"""Tiny random models, saved in the layout of the real ones, so that the loading code is the real one."""

import json

import numpy as np
import torch

from brainbench.data.base import Stimuli

WORDS = ["a", "red", "cat", "dog", "on", "the", "grass", "house", "photo", "of"]
CAPTIONS = [("a red cat", ""), ("the dog on the grass", "a photo of a dog"), ("a house",), (), ("the red house", " ")]
HIDDEN = 32


def stimuli(n=5, captions=True):
    rng = np.random.default_rng(0)
    shown = Stimuli.of([rng.integers(0, 256, (20, 20, 3)).astype(np.uint8) for _ in range(n)])
    from dataclasses import replace

    return replace(shown, captions=CAPTIONS[:n]) if captions else shown


def pictures(n, size, seed=0):
    return np.random.default_rng(seed).random((n, size, size, 3)).astype(np.float32)


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def write_autoencoder(folder, blocks=(16, 16), **options):
    from diffusers import AutoencoderKL

    seeded(
        lambda: AutoencoderKL(
            block_out_channels=blocks, down_block_types=["DownEncoderBlock2D"] * len(blocks),
            up_block_types=["UpDecoderBlock2D"] * len(blocks), latent_channels=4, norm_num_groups=8, **options,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_tiny_autoencoder(folder):
    from diffusers import AutoencoderTiny

    seeded(
        lambda: AutoencoderTiny(
            encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_tokenizer(folder):
    """A CLIP tokenizer that knows a few words."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(set("".join(WORDS)))
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merge = (parts[0], parts[1])
            if merge not in merges:
                merges.append(merge)
                pieces.append("".join(merge))
            parts = ["".join(merge), *parts[2:]]
    names = ["<|startoftext|>", "<|endoftext|>", *dict.fromkeys(pieces)]
    (folder / "vocab.json").write_text(json.dumps({name: index for index, name in enumerate(names)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)]) + "\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"}
    settings |= {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(names)


def write_text_encoder(folder, n_words, *, projection=None, hidden=HIDDEN, seed=1):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=n_words, hidden_size=hidden, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1, projection_dim=projection or 8,
    )  # fmt: skip
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    seeded(lambda: kind(config), seed).save_pretrained(folder)


def write_image_encoder(folder, *, projection=24, hidden=64, seed=2):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=hidden, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2, image_size=16,
        patch_size=8, projection_dim=projection,
    )  # fmt: skip
    seeded(lambda: CLIPVisionModelWithProjection(config), seed).save_pretrained(folder)


def unet(**options):
    from diffusers import UNet2DConditionModel

    settings = {
        "sample_size": 8, "block_out_channels": (16, 16), "layers_per_block": 1, "norm_num_groups": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "cross_attention_dim": HIDDEN,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "attention_head_dim": 4,
    }  # fmt: skip
    return seeded(lambda: UNet2DConditionModel(**settings | options), 3)


def write_stable_diffusion(folder, **options):
    """UNet, autoencoder, text encoder, tokenizer and scheduler of a Stable Diffusion 1.x."""
    from diffusers import PNDMScheduler

    network = unet(**options)
    network.save_pretrained(folder / "unet")
    write_autoencoder(folder / "vae")
    n_words = write_tokenizer(folder / "tokenizer")
    write_text_encoder(folder / "text_encoder", n_words)
    # The real repository names PNDM; DDIM takes its noise schedule over.
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    return network


def write_adapter(folder, network, *, plus=False, projection=24):
    """An IP-Adapter for a UNet, with its image encoder."""
    from safetensors.torch import save_file

    write_image_encoder(folder / "models" / "image_encoder", projection=projection)
    generator = torch.Generator().manual_seed(4)

    def random(*shape):
        return torch.randn(*shape, generator=generator) * 0.3

    state = {}
    if plus:
        inner = 64
        state |= {"latents": random(1, 4, inner), "proj_in.weight": random(inner, 64), "proj_in.bias": random(inner)}
        state |= {"proj_out.weight": random(HIDDEN, inner), "proj_out.bias": random(HIDDEN)}
        state |= {"norm_out.weight": torch.ones(HIDDEN), "norm_out.bias": torch.zeros(HIDDEN)}
        for layer in range(4):
            for norm in ("norm1", "norm2"):
                state[f"layers.{layer}.0.{norm}.weight"] = torch.ones(inner)
                state[f"layers.{layer}.0.{norm}.bias"] = torch.zeros(inner)
            state[f"layers.{layer}.0.to_q.weight"] = random(inner, inner)
            state[f"layers.{layer}.0.to_kv.weight"] = random(2 * inner, inner)
            state[f"layers.{layer}.0.to_out.weight"] = random(inner, inner)
            state[f"layers.{layer}.1.0.weight"] = torch.ones(inner)
            state[f"layers.{layer}.1.0.bias"] = torch.zeros(inner)
            state[f"layers.{layer}.1.1.weight"] = random(4 * inner, inner)
            state[f"layers.{layer}.1.3.weight"] = random(inner, 4 * inner)
    else:
        state |= {"proj.weight": random(4 * HIDDEN, projection), "proj.bias": random(4 * HIDDEN)}
        state |= {"norm.weight": torch.ones(HIDDEN), "norm.bias": torch.zeros(HIDDEN)}
    tensors = {f"image_proj.{name}": value for name, value in state.items()}
    number = 1
    for name, processor in network.attn_processors.items():
        if name.endswith("attn2.processor"):
            width = network.get_submodule(name.removesuffix(".processor")).to_q.out_features
            for kind in ("k", "v"):
                tensors[f"ip_adapter.{number}.to_{kind}_ip.weight"] = random(width, HIDDEN)
            number += 2
        assert processor is not None
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "models" / "ip.safetensors")


def write_processor(folder):
    from transformers import CLIPImageProcessor

    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)


def write_versatile_diffusion(folder, *, projection=HIDDEN):
    from diffusers import DDIMScheduler
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel

    unet().save_pretrained(folder / "image_unet")
    flat = {
        "sample_size": 8, "block_out_channels": (16, 16), "layers_per_block": 1, "norm_num_groups": 8,
        "down_block_types": ("CrossAttnDownBlockFlat", "DownBlockFlat"), "cross_attention_dim": HIDDEN,
        "up_block_types": ("UpBlockFlat", "CrossAttnUpBlockFlat"), "attention_head_dim": 4,
    }  # fmt: skip
    seeded(lambda: UNetFlatConditionModel(**flat), 5).save_pretrained(folder / "text_unet")
    write_autoencoder(folder / "vae")
    write_image_encoder(folder / "image_encoder", projection=projection)
    write_processor(folder / "image_feature_extractor")
    write_text_encoder(folder / "text_encoder", write_tokenizer(folder / "tokenizer"), projection=projection, hidden=24)
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    return folder


def write_kandinsky(folder, *, projection=24):
    from diffusers import DDPMScheduler, UNet2DConditionModel, VQModel

    settings = {
        "sample_size": 8, "in_channels": 4, "out_channels": 8, "block_out_channels": (16, 16), "layers_per_block": 1,
        "norm_num_groups": 8, "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), "cross_attention_dim": 16,
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "addition_embed_type": "image", "encoder_hid_dim": 24,
        "encoder_hid_dim_type": "image_proj", "resnet_time_scale_shift": "scale_shift", "attention_head_dim": 4,
    }  # fmt: skip
    seeded(lambda: UNet2DConditionModel(**settings), 6).save_pretrained(folder / "decoder" / "unet")
    blocks = {
        "block_out_channels": (32, 32), "layers_per_block": 1, "norm_num_groups": 8, "norm_type": "spatial",
        "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], "num_vq_embeddings": 12,
        "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"], "latent_channels": 4, "vq_embed_dim": 4,
    }  # fmt: skip
    seeded(lambda: VQModel(**blocks), 7).save_pretrained(folder / "decoder" / "movq")
    DDPMScheduler(
        beta_schedule="linear", beta_start=0.00085, beta_end=0.012, clip_sample=False, variance_type="learned_range",
    ).save_pretrained(folder / "decoder" / "scheduler")  # fmt: skip
    write_image_encoder(folder / "prior" / "image_encoder", projection=projection)
    write_processor(folder / "prior" / "image_processor")
    return folder


def write_cascade(folder, *, projection=24):
    from diffusers import DDPMWuerstchenScheduler
    from diffusers.models import StableCascadeUNet
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    blocks = ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock")
    common = {
        "conditioning_dim": 16, "block_out_channels": (16, 16), "num_attention_heads": (2, 2), "clip_seq": 2,
        "down_num_layers_per_block": (1, 1), "up_num_layers_per_block": (1, 1), "down_blocks_repeat_mappers": (1, 1),
        "up_blocks_repeat_mappers": (1, 1), "block_types_per_layer": (blocks, blocks),
        "clip_text_pooled_in_channels": 20, "timestep_ratio_embedding_dim": 8,
    }  # fmt: skip
    small = {
        "in_channels": 4, "out_channels": 4, "clip_text_in_channels": HIDDEN, "clip_image_in_channels": 24,
        "switch_level": (False,),
    }  # fmt: skip
    seeded(lambda: StableCascadeUNet(**common | small), 8).save_pretrained(folder / "prior" / "prior")
    large = {
        "in_channels": 4, "out_channels": 4, "patch_size": 2, "effnet_in_channels": 4,
        "timestep_conditioning_type": ("sca",),
    }  # fmt: skip
    seeded(lambda: StableCascadeUNet(**common | large), 9).save_pretrained(folder / "decoder" / "decoder")
    vqgan = {"levels": 2, "bottleneck_blocks": 1, "embed_dim": 16, "num_vq_embeddings": 8}
    seeded(lambda: PaellaVQModel(**vqgan), 10).save_pretrained(folder / "decoder" / "vqgan")
    for part in ("prior", "decoder"):
        DDPMWuerstchenScheduler().save_pretrained(folder / part / "scheduler")
    write_image_encoder(folder / "prior" / "image_encoder", projection=projection)
    write_processor(folder / "prior" / "feature_extractor")
    write_text_encoder(
        folder / "prior" / "text_encoder", write_tokenizer(folder / "prior" / "tokenizer"), projection=20
    )
    return folder
