"""Words of a story: whose tokens are whose, sentences, and the story in one pass."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbench.core.errors import UserError
from brainbench.encoders.language.begin import tokens_before
from brainbench.encoders.language.words import owners, windows
from brainbench.encoders.network import in_order
from tests.encoders.test_text import hidden_states
from tests.encoders.tiny import WORDS, features, make, stimuli_of

STORY = [*WORDS, *reversed(WORDS), *WORDS[3:9], "words", "quickly", "n't", *WORDS]
HARD = [
    "Café",
    "don't",
    "do",
    "n't",
    "Alice's",
    "naïve",
    "e\u0301te\u0301",
    "🐇",
    "rabbit-hole",
    "New York",
    "“Oh,”",
    "1,865",
]


# Which tokens are whose --------------------------------------------------------------------------------------------


def whole(encoder, words):
    encoded = encoder.tokenizer(" ".join(words), add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], np.array(encoded["offset_mapping"])


def test_every_character_of_a_word_lies_in_its_own_byte_level_tokens(gpt2):
    encoder = make("text", model=str(gpt2))
    ids, offsets = whole(encoder, HARD)
    own = owners(HARD, offsets)
    for k, word in enumerate(HARD):
        decoded = encoder.tokenizer.decode([i for i, o in zip(ids, own, strict=True) if o == k])
        assert decoded.replace(" ", "") == word.replace(" ", "")
    assert (np.diff(own[own >= 0]) >= 0).all()


def test_every_character_of_a_word_lies_in_its_own_word_pieces(bert):
    encoder = make("text", model=str(bert))
    words = ["Café", "the", "naïve", "jumps", "quick", "e\u0301te\u0301", "fox"]
    ids, offsets = whole(encoder, words)
    own = owners(words, offsets)
    pieces = [
        "".join(encoder.tokenizer.convert_ids_to_tokens([i for i, o in zip(ids, own, strict=True) if o == k]))
        for k in range(len(words))
    ]
    plain = ["cafe", "the", "naive", "jumps", "quick", "ete", "fox"]  # this BERT strips accents
    assert [piece.replace("##", "") for piece in pieces] == plain


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab é'", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=6), st.data())
def test_owners_are_those_of_brute_force(words, data):
    text = " ".join(words)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
    offsets = list(pairwise(cuts))
    word_of = [k for k, word in enumerate(words) for _ in range(len(word) + 1)]
    sets = [{word_of[i] for i in range(a, b) if not text[i].isspace()} for a, b in offsets]
    if any(len(one) > 1 for one in sets):
        with pytest.raises(UserError, match="belongs to several words"):
            owners(words, np.array(offsets))
    else:
        assert owners(words, np.array(offsets)).tolist() == [one.pop() if one else -1 for one in sets]


def test_a_token_of_two_words_is_named():
    with pytest.raises(UserError, match=r"the token 'of the' belongs to several words \(1: 'of', 2: 'the'\)"):
        owners(["of", "the", "fox"], np.array([[0, 6], [6, 10]]))


# Windows -----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=60), st.integers(24, 60))
def test_every_word_is_read_once_and_sees_all_before_it_or_half_a_window(words, size):
    gaps = np.array([gap for _, gap in words])
    count = np.array([n for n, _ in words])
    end = np.cumsum(count + gaps)
    first = end - count
    read = []
    for window in windows(first, end, size):
        assert window.tokens.stop - window.tokens.start <= size
        for word in range(window.words.start, window.words.stop):
            read.append(word)
            assert window.tokens.start <= first[word] and end[word] <= window.tokens.stop
            assert window.tokens.start == 0 or first[word] - window.tokens.start >= size // 2
    assert read == list(range(len(words)))
    half = len(words) // 2 + 1
    place = {word: one.tokens.start for one in windows(first, end, size) for word in range(*one.words.indices(10**6))}
    for one in windows(first[:half], end[:half], size):
        assert all(place[word] == one.tokens.start for word in range(one.words.start, one.words.stop))


def test_rows_come_in_the_order_of_their_numbers():
    order = np.array([2, 0, 1, 3, 5, 4, 6])
    batches = [{"x": order[a:b, None]} for a, b in ((0, 2), (2, 4), (4, 5), (5, 6), (6, 7))]
    got = [batch["x"].ravel().tolist() for batch in in_order(order, iter(batches))]
    assert got == [[0, 1, 2, 3], [4, 5], [6]]


# One pass ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", ["mean", "last"])
@pytest.mark.parametrize("size", [20, 48])
def test_a_streamed_word_is_read_after_all_before_it_or_half_a_window(gpt2, size, tokens):
    encoder = make("text", model=str(gpt2), context="stream", window=size, tokens=tokens)
    found = features(encoder, stimuli_of(STORY, "word"))
    ids, offsets = whole(encoder, STORY)
    own = owners(STORY, offsets)
    first = np.array([np.flatnonzero(own == k)[0] for k in range(len(STORY))])
    end = np.array([np.flatnonzero(own == k)[-1] + 1 for k in range(len(STORY))])
    parts = windows(first, end, size)
    assert len(parts) > 2
    for part in parts:
        states = hidden_states(encoder, ids[part.tokens])
        for word in range(part.words.start, part.words.stop):
            at = np.arange(first[word], end[word]) - part.tokens.start
            for layer, state in zip(encoder.layers(), states, strict=True):
                expected = state[at].mean(0) if tokens == "mean" else state[at[-1]]
                np.testing.assert_allclose(found[layer.name][word], expected, atol=1e-5)


@pytest.mark.parametrize("k", [0, 20, len(STORY) - 2])
def test_no_streamed_word_sees_a_later_one(gpt2, k):
    changed = list(STORY)
    changed[k + 1 :] = ["dog"] * (len(STORY) - k - 1)  # of other lengths too
    encoder = make("text", model=str(gpt2), context="stream", window=24)
    before, after = (features(encoder, stimuli_of(words, "word")) for words in (STORY, changed))
    for layer in encoder.layers():
        np.testing.assert_allclose(before[layer.name][: k + 1], after[layer.name][: k + 1], atol=1e-5)
        assert not np.allclose(before[layer.name][k + 1], after[layer.name][k + 1], atol=1e-3)


def test_a_token_before_every_text_stands_before_every_window(gpt2, tmp_path):
    import shutil

    from tokenizers import Tokenizer, processors

    folder = tmp_path / "with"
    shutil.copytree(gpt2, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 48, "bos_token": "<|endoftext|>", '
        '"eos_token": "<|endoftext|>"}'
    )
    encoder = make("text", model=str(folder), context="stream")
    assert tokens_before(encoder.tokenizer) == [0]
    found = features(encoder, stimuli_of(WORDS[:5], "word"))["h.2"]
    ids, offsets = whole(encoder, WORDS[:5])
    state = hidden_states(encoder, [0, *ids])[-1][1:]
    own = owners(WORDS[:5], offsets)
    np.testing.assert_allclose(found, [state[own == k].mean(0) for k in range(5)], atol=1e-5)


def test_a_network_that_looks_both_ways_is_not_streamed(bert):
    with pytest.raises(UserError, match=r"'mine': `context: stream` needs a network .* BertModel looks both ways"):
        make("text", model=str(bert), context="stream")


def test_words_without_tokens_are_named_before_anything_is_read(gpt2, monkeypatch):
    encoder = make("text", model=str(gpt2), context="stream")
    from tokenizers import normalizers

    encoder.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("~", "")
    monkeypatch.setattr(encoder, "run", None)
    with pytest.raises(UserError, match=r"2 of 4 words have no token of their own: word 2 \('~'\), 4 \('~~'\)"):
        features(encoder, stimuli_of(["the", "~", "fox", "~~"], "word"))


def test_a_word_that_fills_half_a_window_is_named(gpt2):
    words = ["the", "fox", "x" * 40, "dog"]
    with pytest.raises(UserError, match=r"word 3 has \d+ tokens, too many for windows of 16"):
        features(make("text", model=str(gpt2), context="stream", window=16), stimuli_of(words, "word"))


def test_what_the_report_says_of_windows(gpt2):
    note = make("text", model=str(gpt2), context="stream").note
    assert "windows of 48 tokens: a word sees all words before it or 24 tokens, whichever is less" in note


def test_digest_follows_window_and_tokens(gpt2):
    def digest(**values):
        return make("text", model=str(gpt2), **values).digest()

    plain = digest()
    assert plain == digest(window=20)  # no windows without `stream`
    found = {plain, digest(tokens="last"), digest(context="stream"), digest(context="stream", window=20)}
    assert len(found) == 4
    assert digest(context="stream", window=48) == digest(context="stream", window=500)


# Sentences ---------------------------------------------------------------------------------------------------------


def test_words_are_read_with_those_of_their_sentence(bert):
    words = ["the", "fox", "said.", "the", "dog", "was", "there.”", "words"]
    by_mark = make("text", model=str(bert), context="sentence")
    found = features(by_mark, stimuli_of(words, "word"))["encoder.layer.2"]
    for start, stop in ((0, 3), (3, 7), (7, 8)):
        alone = features(make("text", model=str(bert), context=30), stimuli_of(words[start:stop], "word"))
        np.testing.assert_allclose(found[start:stop], alone["encoder.layer.2"], atol=1e-5)


def test_a_column_says_where_sentences_end(bert):
    from dataclasses import replace

    words = ["the", "fox", "the", "dog"]
    plain = stimuli_of(words, "word")
    encoder = make("text", model=str(bert), context="sentence")
    with pytest.raises(UserError, match=r"no word ends with \. ! or .*, and there is no column 'sentence'"):
        features(encoder, plain)
    found = features(encoder, replace(plain, labels={"sentence": np.array(["a", "a", "b", "b"])}))["encoder.layer.2"]
    alone = features(
        encoder, replace(plain, labels={"sentence": np.array(["a", "a", "b", "b"])}).take(np.array([2, 3]))
    )
    np.testing.assert_allclose(found[2:], alone["encoder.layer.2"], atol=1e-5)


def test_the_last_token_of_a_sentence(gpt2, bert):
    texts = ["the quick brown fox", "words", "she said nothing"]
    for model, special in ((gpt2, 0), (bert, 1)):
        encoder = make("text", model=str(model), tokens="last")
        found = features(encoder, stimuli_of(texts, "text"))
        for row, text in enumerate(texts):
            ids = encoder.tokenizer(text)["input_ids"]
            states = hidden_states(encoder, ids)
            for layer, state in zip(encoder.layers(), states, strict=True):
                np.testing.assert_allclose(found[layer.name][row], state[len(ids) - 1 - special], atol=1e-5)


def test_less_is_padding_when_texts_of_like_length_share_a_batch(bert):
    """As many tokens, not as many letters: a long word may be one."""
    words = ["ω" * 50, "fox " * 9, "fox", "fox " * 9] * 2
    encoder = make("text", model=str(bert), batch_size=4)
    lengths = []
    encoder.network.register_forward_pre_hook(
        lambda _m, _a, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    found = features(encoder, stimuli_of(words, "text"))["encoder.layer.2"]
    assert sorted(lengths) == [3, 11]
    alone = features(make("text", model=str(bert), batch_size=1), stimuli_of(words, "text"))["encoder.layer.2"]
    np.testing.assert_allclose(found, alone, atol=1e-5)


@pytest.mark.parametrize(("modality", "context"), [("word", 4), ("word", "stream"), ("text", 4)])
def test_what_a_killed_process_has_read_is_not_read_again(gpt2, modality, context, tmp_path, monkeypatch):
    from brainbench.features import growing
    from brainbench.features.store import FeatureStore

    monkeypatch.setattr(growing, "EVERY_S", 0.0)
    stimuli = stimuli_of([*STORY, *STORY, *STORY], modality)
    passes = []

    def opened(stop):
        encoder = make("text", model=str(gpt2), context=context, window=24, batch_size=2)
        passes.clear()

        def count(_module, _args):
            passes.append(1)
            if len(passes) > stop:
                raise KeyboardInterrupt

        encoder.network.register_forward_pre_hook(count)
        return encoder

    whole = FeatureStore(tmp_path / "whole").features(opened(10**6), stimuli, ["h.2"], "mean")["h.2"]
    all_passes = len(passes)
    with pytest.raises(KeyboardInterrupt):
        FeatureStore(tmp_path / "cut").features(opened(all_passes * 3 // 4), stimuli, ["h.2"], "mean")
    rest = FeatureStore(tmp_path / "cut").features(opened(10**6), stimuli, ["h.2"], "mean")["h.2"]
    assert len(passes) < all_passes * 0.75
    assert np.array_equal(whole, rest), "bytes differ"
