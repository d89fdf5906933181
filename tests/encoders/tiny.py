"""Small models and stimuli, made offline."""

import hashlib
import json

import numpy as np

from brainbench.data.base import Stimuli
from brainbench.encoders import open_encoder
from brainbench.recipes.encoders import encoder_settings

SENTENCES = [
    "the quick brown fox jumps over the lazy dog",
    "she said that he was there",
    "words",
    "a story about words and their context",
    "the lazy dog said nothing",
]
WORDS = "the quick brown fox jumps over the lazy dog and she said that he was there".split()


def make(family, *, seed=0, batch_size=None, **settings):
    values = encoder_settings({"name": "mine", "family": family, **settings})
    return open_encoder(values, seed=seed, device="cpu", batch_size=batch_size)


def stimuli_of(items, modality):
    """Stimuli from arrays or texts."""
    raw = [item.encode() if isinstance(item, str) else np.asarray(item).tobytes() for item in items]
    return Stimuli(
        ids=[f"s{i}" for i in range(len(items))],
        modality=modality,
        load=list(items).__getitem__,
        content_digests=[hashlib.sha256(one).hexdigest() for one in raw],
    )


def photographs(n=5, height=48, width=40, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 6, 5, 3))
    return np.repeat(np.repeat(small, height // 6, axis=1), width // 5, axis=2).astype(np.uint8)


def images(n=5, **options):
    return stimuli_of(list(photographs(n, **options)), "image")


def features(encoder, stimuli, layers=("*",), pool="mean"):
    names = [layer.name for layer in encoder.select(list(layers))]
    batches = list(encoder.encode(stimuli, names, pool))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def write_bert(folder):
    """Save a BERT of three blocks with a WordPiece tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = sorted({word for text in SENTENCES for word in text.split()} - {"jumps", "quick"})
    letters = [chr(c) for c in range(97, 123)]
    names = [*special, *pieces, "jump", "##s", "qui", "##ck", *letters, *(f"##{c}" for c in letters if c != "s")]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=32, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)  # fmt: skip
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32,
    )  # fmt: skip
    _seeded(BertModel, config).save_pretrained(folder)
    return folder


def write_gpt2(folder):
    """Save a GPT-2 of three blocks with a byte-level tokenizer that puts no space before a text, as GPT-2's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2Model

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    end = "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[end], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 5, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    settings = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 48, "add_prefix_space": False}
    settings |= {name: end for name in ("bos_token", "eos_token", "unk_token")}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_positions=48, n_embd=16, n_layer=3, n_head=2, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    _seeded(GPT2Model, config).save_pretrained(folder)
    return folder


def write_vision(kind, folder, **sizes):
    """Save a network of transformers that sees pictures of 32 pixels as 16 patches, with its processor."""
    from transformers import AutoConfig, AutoModel, ViTImageProcessor

    small = {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 32,
        "patch_size": 8, **sizes,
    }  # fmt: skip
    if kind == "dinov3_vit":
        small["num_register_tokens"] = 3
    words = {**small, "vocab_size": 99, "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2}
    both = kind in ("clip", "siglip")
    config = AutoConfig.for_model(kind, **({"vision_config": small, "text_config": words} if both else small))
    _seeded(AutoModel.from_config, config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def write_audio(kind, folder):
    """Save a network of sound of three blocks with its feature extractor."""
    import transformers
    from transformers import AutoConfig, AutoModel

    blocks = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "vocab_size": 32,
    }
    waves = {**blocks, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    listens = {
        "d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_layers": 1,
        "decoder_attention_heads": 2, "decoder_ffn_dim": 24, "vocab_size": 32, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2, "decoder_start_token_id": 1, "max_source_positions": 100,
    }  # fmt: skip
    thinned = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    sizes = {
        "whisper": listens, "wav2vec2-bert": blocks, "speech_to_text": listens | {"conv_channels": 8},
        "parakeet_encoder": thinned | {"subsampling_conv_channels": 8, "num_mel_bins": 80},
    }.get(kind, waves)  # fmt: skip
    _seeded(AutoModel.from_config, AutoConfig.for_model(kind, **sizes)).save_pretrained(folder)
    names = {
        "whisper": "WhisperFeatureExtractor", "wav2vec2-bert": "SeamlessM4TFeatureExtractor",
        "speech_to_text": "Speech2TextFeatureExtractor", "parakeet_encoder": "ParakeetFeatureExtractor",
    }  # fmt: skip
    extractor = getattr(transformers, names.get(kind, "Wav2Vec2FeatureExtractor"))
    extractor(**({"chunk_length": 2} if kind == "whisper" else {})).save_pretrained(folder)
    return folder


def noise(seconds, sfreq=16000, seed=0):
    """A sound whose loudness changes, so that every moment of it is another."""
    from brainbench.data.sound.recording import Recording

    rng = np.random.default_rng(seed)
    n = round(seconds * sfreq)
    knots = np.arange(0, seconds + 1, 0.25)
    loud = np.interp(np.arange(n) / sfreq, knots, rng.uniform(0.01, 0.3, len(knots)))
    return Recording.of((loud * rng.standard_normal(n)).astype(np.float32), sfreq, f"noise-{seed}")


def pieces(recording, cuts):
    """Pieces of one sound as stimuli, from a list of (start, end) in seconds."""
    from brainbench.data.sound.recording import Heard

    start, end = np.array(cuts, dtype=float).T
    heard = Heard([recording], np.zeros(len(cuts), int), start, end)
    return Stimuli(
        ids=[f"p{i}" for i in range(len(cuts))], modality="sound", load=heard.piece,
        content_digests=[heard.take([i]).digest() for i in range(len(cuts))], onset=start, heard=heard,
    )  # fmt: skip


def write_vectors(path):
    """Save vectors of four numbers of most words, as GloVe's files are."""
    names = [*sorted({word for text in SENTENCES for word in text.split()} - {"jumps"}), "do", "n't", "'s", "rabbit"]
    values = np.random.default_rng(3).standard_normal((len(names), 4))
    lines = [" ".join([name, *(f"{value:.6f}" for value in row)]) for name, row in zip(names, values, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _seeded(model, config):
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return model(config)


def write_video(kind, folder):
    """Save a network of clips of three blocks that sees four frames of 32 pixels, with its processor."""
    import transformers
    from transformers import AutoConfig, AutoModel

    small = {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 32,
        "patch_size": 8,
    }  # fmt: skip
    more = {
        "videomae": {"num_frames": 4, "tubelet_size": 2},
        "timesformer": {"num_frames": 4},
        "vjepa2": {
            "frames_per_clip": 4, "tubelet_size": 2, "crop_size": 32, "mlp_ratio": 1.5, "pred_hidden_size": 16,
            "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1, "num_pooler_layers": 1,
        },
    }[kind]  # fmt: skip
    _seeded(AutoModel.from_config, AutoConfig.for_model(kind, **small, **more)).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    if kind == "vjepa2":
        transformers.VJEPA2VideoProcessor(**sizes).save_pretrained(folder)
    else:
        transformers.VideoMAEImageProcessor(**sizes).save_pretrained(folder)
    return folder


def clips(n=5, n_frames=8, fps=8.0, seed=0):
    """Clips whose frames differ, as stimuli."""
    from brainbench.data.vision.clip import Clip

    rng = np.random.default_rng(seed)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (n, n_frames, 6, 5, 3)), 8, axis=2), 8, axis=3).astype(np.uint8)
    made = [Clip.of(one, fps, f"c{i}") for i, one in enumerate(frames)]
    return Stimuli(
        ids=[f"c{i}" for i in range(n)], modality="clip", load=made.__getitem__,
        content_digests=[one.digest for one in made],
    )  # fmt: skip
