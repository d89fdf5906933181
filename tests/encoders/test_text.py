import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from tests.encoders.tiny import SENTENCES, WORDS, features, make, stimuli_of

TEXTS = stimuli_of(SENTENCES, "text")


def hidden_states(encoder, ids):
    """Every block's input and output of one sequence, by plain hooks."""
    network = encoder.network
    blocks = network.encoder.layer if hasattr(network, "encoder") else network.h
    found, handles = {}, []

    def tensor(value):
        return value[0] if isinstance(value, tuple) else value

    handles.append(
        blocks[0].register_forward_pre_hook(
            lambda m, args, kwargs: found.update({0: (args[0] if args else kwargs["hidden_states"]).clone()}),
            with_kwargs=True,
        )
    )
    for k, block in enumerate(blocks):
        handles.append(block.register_forward_hook(lambda m, a, out, k=k: found.update({k + 1: tensor(out).clone()})))
    with torch.inference_mode():
        network(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return [found[k][0].numpy() for k in range(len(found))]


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("model", ["bert", "gpt2", "minilm"])
def test_sentences_equal_plain_forward_hooks(model, batch_size, request):
    where = "minilm" if model == "minilm" else str(request.getfixturevalue(model))
    encoder = make("text", model=where, batch_size=batch_size)
    mean, first = (features(encoder, TEXTS, pool=pool) if pool in encoder.pools else None for pool in ("mean", "cls"))
    assert (first is None) == (model == "gpt2")
    for row, text in enumerate(SENTENCES):
        states = hidden_states(encoder, encoder.tokenizer(text)["input_ids"])
        for layer, state in zip(encoder.layers(), states, strict=True):
            np.testing.assert_allclose(mean[layer.name][row], state.mean(axis=0), atol=1e-5)
            if first is not None:
                np.testing.assert_allclose(first[layer.name][row], state[0], atol=1e-5)


@pytest.mark.parametrize("begins", [False, True])
def test_a_first_token_that_is_a_sink_is_in_no_mean(gpt2, tmp_path, begins):
    """Means over texts of SmolLM2 followed 1 / length (r .95); a story's first word was 150 times the others."""
    import json
    import shutil

    from transformers import GPT2Model

    folder = tmp_path / "sink"
    shutil.copytree(gpt2, folder)
    network = GPT2Model.from_pretrained(folder)
    network.wpe.weight.data[0] *= 1000
    network.save_pretrained(folder)
    if begins:  # as Llama's tokenizers do
        from transformers import AutoTokenizer

        from brainbench.encoders.language.begin import put_before

        tokenizer = AutoTokenizer.from_pretrained(folder)
        put_before(tokenizer, tokenizer.bos_token)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    encoder = make("text", model=str(folder), batch_size=5)
    assert "times as large as others" in encoder.note
    found = features(encoder, TEXTS)
    for row, text in enumerate(SENTENCES):
        ids = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        states = hidden_states(encoder, [encoder.tokenizer.bos_token_id, *ids])
        for layer, state in zip(encoder.layers(), states, strict=True):
            np.testing.assert_allclose(found[layer.name][row], state[1:].mean(axis=0), rtol=1e-4, atol=1e-4)
    for context in (3, "stream"):
        words = features(make("text", model=str(folder), context=context), stimuli_of(WORDS, "word"))
        sizes = np.linalg.norm(words["h.2"], axis=1)
        assert sizes[0] < 3 * np.median(sizes)
    assert "first token" not in make("text", model=str(gpt2)).opened()


def test_features_do_not_depend_on_the_company_of_a_batch(gpt2, tmp_path):
    """Many tokenizers of causal models pad on the left, which would move words to other positions."""
    import json
    import shutil

    left = tmp_path / "left"
    shutil.copytree(gpt2, left)
    settings = json.loads((left / "tokenizer_config.json").read_text())
    (left / "tokenizer_config.json").write_text(json.dumps({**settings, "padding_side": "left"}))
    one, many = (features(make("text", model=str(left), batch_size=n), TEXTS) for n in (1, 5))
    for name in one:
        np.testing.assert_allclose(one[name], many[name], atol=1e-5)


def test_the_last_token_of_a_text_may_be_an_unknown_word(bert):
    """It was passed over, and of a text of unknown words alone there was no last token: its features were NaN."""
    texts = ["the dog said 𓂀", "𓂀", "the lazy dog", "𓂀 𓂀 words"]
    encoder = make("text", model=str(bert), batch_size=4, tokens="last")
    found = features(encoder, stimuli_of(texts, "text"))
    for row, text in enumerate(texts):
        states = hidden_states(encoder, encoder.tokenizer(text)["input_ids"])
        for layer, state in zip(encoder.layers(), states, strict=True):
            np.testing.assert_allclose(found[layer.name][row], state[-2], atol=1e-5)


@pytest.mark.parametrize("tokens", ["mean", "last"])
def test_a_text_that_the_tokenizer_drops_is_refused(bert, tokens):
    encoder = make("text", model=str(bert), batch_size=2, tokens=tokens)
    with pytest.raises(UserError, match=r"the text '\\x07' has no token: its tokenizer drops all of it"):
        features(encoder, stimuli_of(["the dog", "\x07"], "text"))


def test_taps(bert, gpt2):
    layers = make("text", model=str(bert)).layers()
    assert [layer.name for layer in layers] == ["embeddings", *(f"encoder.layer.{k}" for k in range(3))]
    assert [layer.depth for layer in layers] == [0, 1 / 3, 2 / 3, 1]
    assert [layer.name for layer in make("text", model=str(gpt2)).layers()] == ["embeddings", "h.0", "h.1", "h.2"]
    assert {layer.width for layer in layers} == {16}


def test_the_installed_minilm_knows_what_sentences_mean():
    encoder = make("text", model="minilm")
    assert [len(encoder.layers()), encoder.layers()[-1].width] == [7, 384]
    texts = ["A dog runs in the park.", "A puppy is running outside.", "The central bank raised interest rates."]
    vectors = features(encoder, stimuli_of(texts, "text"))["encoder.layer.5"]
    r = np.corrcoef(vectors)
    assert r[0, 1] > 0.4 and r[0, 1] > r[0, 2] + 0.3 and r[0, 1] > r[1, 2] + 0.3


# Words of a story --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [0, 3, 50])
@pytest.mark.parametrize("model", ["bert", "gpt2"])
def test_a_word_is_the_mean_of_its_own_tokens_after_its_context(model, context, request):
    encoder = make("text", model=str(request.getfixturevalue(model)), context=context)
    found = features(encoder, stimuli_of(WORDS, "word"))
    several = 0
    for row in range(len(WORDS)):
        window = WORDS[max(0, row - context) : row + 1]
        ids = encoder.tokenizer(" ".join(window))["input_ids"]
        before = encoder.tokenizer(" ".join(window[:-1]))["input_ids"] if len(window) > 1 else []
        if model == "bert":
            start = len(before) - 1 if before else 1
            own = list(range(start, len(ids) - 1))  # between [CLS] and [SEP]
        else:
            own = list(range(len(before), len(ids)))
            tokens = encoder.tokenizer.convert_ids_to_tokens([ids[k] for k in own])
            own = own[tokens[0] == "Ġ" :]  # a space that is no part of the word
        several += len(own) > 1
        states = hidden_states(encoder, ids)
        for layer, state in zip(encoder.layers(), states, strict=True):
            np.testing.assert_allclose(found[layer.name][row], state[own].mean(axis=0), atol=1e-5)
    assert several >= 2


def test_words_of_a_byte_level_model_are_separated_by_spaces(gpt2):
    encoder = make("text", model=str(gpt2), context=5)
    tokens, own = encoder._tokenize([WORDS[:4], WORDS[:1]])
    text = encoder.tokenizer.decode(tokens["input_ids"][0])
    assert text == "the quick brown fox"
    assert encoder.tokenizer.decode(tokens["input_ids"][0][own[0]]).strip() == "fox"
    assert encoder.tokenizer.decode(tokens["input_ids"][1][own[1]]) == "the"


@pytest.mark.parametrize("model", ["minilm", "gpt2"])
def test_no_word_sees_the_future_or_what_lies_before_its_context(model, gpt2):
    where = "minilm" if model == "minilm" else str(gpt2)
    encoder = make("text", model=where, context=3, batch_size=1)
    changed = list(WORDS)
    changed[8] = "dog" if WORDS[8] != "dog" else "fox"
    before, after = (features(encoder, stimuli_of(words, "word")) for words in (WORDS, changed))
    for layer in ("embeddings", encoder.layers()[-1].name):
        same = (before[layer] == after[layer]).all(axis=1)
        assert same[:8].all(), "a word changed with one that comes after it"
        assert same[12:].all(), "a word changed with one that its context does not reach"
        assert not same[8]
    assert not (before[layer] == after[layer]).all(axis=1)[8:12].any()  # the last block mixes the context in


def test_the_same_word_differs_in_another_context_and_not_without_one(bert):
    where = [i for i, word in enumerate(WORDS) if word == "the"]
    assert len(where) == 2
    with_context = features(make("text", model=str(bert), context=3), stimuli_of(WORDS, "word"))["encoder.layer.2"]
    alone = features(make("text", model=str(bert), context=0), stimuli_of(WORDS, "word"))["encoder.layer.2"]
    assert np.abs(with_context[where[0]] - with_context[where[1]]).max() > 1e-3
    np.testing.assert_allclose(alone[where[0]], alone[where[1]], atol=1e-6)


def test_a_window_that_is_too_long_loses_its_beginning(bert):
    words = ["fox"] * 20 + ["dog", "quick"] * 20
    encoder = make("text", model=str(bert), context=60)
    assert encoder.max_tokens == 32
    tokens, own = encoder._tokenize([words])
    assert tokens["input_ids"].shape == (1, 32)
    assert encoder.tokenizer.convert_ids_to_tokens(tokens["input_ids"][0][own[0]].tolist()) == ["qui", "##ck"]
    found = features(encoder, stimuli_of(words, "word"))["encoder.layer.2"]
    assert np.isfinite(found).all() and found.shape == (60, 16)


def test_a_word_without_a_token_is_named(bert):
    with pytest.raises(UserError, match=r"word 3 \('\\xad'\) has no token of its own"):
        features(make("text", model=str(bert)), stimuli_of(["the", "fox", "\u00ad", "dog"], "word"))


@pytest.mark.parametrize("text", ["", "  ", None])
def test_empty_texts_are_refused_by_name(bert, text):
    stimuli = stimuli_of(["a", "b"], "text")
    object.__setattr__(stimuli, "load", ["fox", text].__getitem__)
    with pytest.raises(UserError, match="stimulus 's1': a text must not be empty"):
        features(make("text", model=str(bert)), stimuli)


# Settings ----------------------------------------------------------------------------------------------------------


def test_digest_follows_weights_context_and_tokenizer_and_not_its_use(bert, gpt2, tmp_path):
    def digest(**settings):
        return make("text", **{"model": str(bert), **settings}).digest()

    plain = digest()
    found = {plain, digest(context=3), digest(weights="random"), digest(model=str(gpt2)), digest(model="minilm")}
    assert len(found) == 5
    assert plain == digest(pool="cls")
    used = make("text", model=str(bert))
    features(used, TEXTS)
    assert used.digest() == plain


def test_another_configuration_of_the_same_weights_is_another_network(bert, tmp_path):
    """Its features, and what was found out when it was opened, would otherwise be served for the other."""
    import json
    import shutil

    other = tmp_path / "other"
    shutil.copytree(bert, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    one, two = (make("text", model=str(where)) for where in (bert, other))
    assert one.parameters()["weights"] == two.parameters()["weights"] and one.digest() != two.digest()
    assert not np.allclose(features(one, TEXTS)["encoder.layer.2"], features(two, TEXTS)["encoder.layer.2"])


def test_untrained_weights_follow_the_seed(bert):
    one, same, other = (make("text", model=str(bert), weights="random", seed=seed) for seed in (1, 1, 2))
    assert one.untrained and one.digest() == same.digest() != other.digest()
    assert not make("text", model=str(bert)).untrained


def test_files_of_a_local_model(bert):
    assert [path.name for path in make("text", model=str(bert)).weight_files()] == ["model.safetensors"]


def test_images_are_refused(bert):
    with pytest.raises(UserError, match="reads text or word stimuli, the data set has image stimuli"):
        features(make("text", model=str(bert)), stimuli_of([np.zeros((4, 4, 3), np.uint8)], "image"))
    with pytest.raises(UserError, match="cannot pool by 'flatten'; allowed: cls, mean"):
        features(make("text", model=str(bert)), TEXTS, pool="flatten")
