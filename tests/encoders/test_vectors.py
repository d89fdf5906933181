import numpy as np
import pytest

from brainbench.core.errors import UserError
from tests.encoders.tiny import features, make, stimuli_of


def table(path):
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return {row[0]: np.array(row[1:], dtype=np.float32) for row in rows}


def of(path, items, modality="word"):
    return features(make("vectors", file=str(path)), stimuli_of(items, modality))["vector"]


def test_words_are_looked_up_as_written_lower_bare_and_by_their_parts(vectors):
    known = table(vectors)
    words = ["fox", "Fox", "“Fox!”", "don't", "don’t", "rabbit-dog", "Alice's", "jumps"]
    found = of(vectors, words)
    fox, none = known["fox"], np.zeros(4)
    do_not = (known["do"] + known["n't"]) / 2
    expected = [fox, fox, fox, do_not, do_not, (known["rabbit"] + known["dog"]) / 2, known["'s"], none]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_has_no_vector_is_counted_by_name(vectors):
    encoder = make("vectors", file=str(vectors))
    words = stimuli_of(["the", "jumps", "fox", "jumps", "Gryphon", "don't"], "word")
    zero, parts = encoder.remarks(words)
    assert "3 of 6 words (2 different) have no vector in made.4d.txt and are zero: 'jumps', 'Gryphon'" in zero
    assert "1 of 6 words have the mean of their parts' vectors (\"don't\")" in parts
    assert encoder.remarks(stimuli_of(["the", "fox"], "word")) == []


def test_a_text_is_the_mean_over_the_words_that_have_vectors(vectors):
    known = table(vectors)
    found = of(vectors, ["The lazy fox jumps .", "jumps"], "text")
    np.testing.assert_allclose(found[0], (known["the"] + known["lazy"] + known["fox"]) / 3, atol=1e-6)
    assert not found[1].any()


def test_fasttext_has_a_first_line_and_glove_words_with_spaces(vectors, tmp_path):
    path = tmp_path / "made.vec"
    lines = vectors.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([f"{len(lines) + 1} 4", "fox cub 1 2 3 4", *lines]), encoding="utf-8")
    np.testing.assert_array_equal(of(path, ["fox", "the"]), of(vectors, ["fox", "the"]))
    assert make("vectors", file=str(path)).digest() != make("vectors", file=str(vectors)).digest()


def test_files_that_are_no_word_vectors_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"file: .*none.txt does not exist"):
        make("vectors", file=str(tmp_path / "none.txt"))
    path = tmp_path / "x.txt"
    for text in ("", "word\n", "a,0.1,0.2\n", "the nan nan\n", "\x00\x01\x02"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"x.txt:1: not a word and its numbers"):
            make("vectors", file=str(path))
    path.write_text("the 0.1 0.2\nfox 0.1\n")
    with pytest.raises(UserError, match=r"x.txt:2: 'fox' has not 2 finite numbers after it"):
        of(path, ["fox"])


def test_the_file_is_watched(vectors):
    assert make("vectors", file=str(vectors)).weight_files() == [vectors]
