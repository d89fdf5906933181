"""Every word of a TextGrid is read, whatever it says and in both formats."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbench.core.errors import UserError
from brainbench.data.textgrid import Interval, read_intervals

WORDS = st.one_of(
    # What the format itself says is ordinary English.
    st.sampled_from(
        ["name", "size", "number", "points", "text", "class", "mark", "item", "intervals", "xmin", "item [2]:"]
    ),
    st.sampled_from(['say "name = 3"', "", "tiers? <exists>", "7", "[12]", "size = 2", '"', "naïve"]),
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=12),
)


def long_format(tiers):
    lines = ["xmin = 0", "xmax = 9", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for place, (name, words) in enumerate(tiers, start=1):
        lines += [f"    item [{place}]:", '        class = "IntervalTier"', f"        name = {quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {len(words)}", f"        intervals: size = {len(words)}"]
        for k, word in enumerate(words):
            lines += [f"        intervals [{k + 1}]:", f"            xmin = {k}", f"            xmax = {k + 1}"]
            lines += [f"            text = {quoted(word)}"]
    return lines


def short_format(tiers):
    lines = ["0", "9", "<exists>", str(len(tiers))]
    for name, words in tiers:
        lines += ['"IntervalTier"', quoted(name), "0", str(len(words)), str(len(words))]
        for k, word in enumerate(words):
            lines += [str(k), str(k + 1), quoted(word)]
    return lines


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=3))
def test_words_are_read_as_they_stand(words, others):
    tiers = [("name", others), ("words", words)]
    for write in (long_format, short_format):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.TextGrid"
            header = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
            path.write_text("\n".join([*header, *write(tiers)]), encoding="utf-8", newline="\n")
            assert read_intervals(path, "words") == [Interval(k, k + 1, word) for k, word in enumerate(words)]
            assert [one.text for one in read_intervals(path)] == others


def test_letters_of_another_encoding_are_refused(tmp_path):
    header = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    path = tmp_path / "a.TextGrid"
    path.write_bytes((header + "\n".join(long_format([("words", ["café"])]))).encode("latin-1"))
    with pytest.raises(UserError, match=r"a.TextGrid:18  byte 0xe9 is neither UTF-8 nor UTF-16"):
        read_intervals(path)
    path.write_text(header + "\n".join(long_format([("words", ["café"])])), encoding="utf-16")
    assert [one.text for one in read_intervals(path)] == ["café"]
