"""Names become file names one to one, and only listed files are ever removed."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbench.core.errors import UserError
from brainbench.core.made import LISTING, MadeFiles, escaped, refuse_foreign

names = st.one_of(
    st.text(st.characters(), max_size=12),  # every code point, lone surrogates too
    st.text("aA1._-+% /\\~é", max_size=6),
)


@given(names, names)
def test_two_names_are_never_written_alike(a, b):
    assert (escaped(a) == escaped(b)) == (a == b)
    assert (escaped(a, keep="_") == escaped(b, keep="_")) == (a == b)


@given(st.lists(names, min_size=4, max_size=4), st.lists(names, min_size=4, max_size=4))
def test_labels_joined_to_a_stem_stay_apart(a, b):
    stems = ["_".join(f"{key}-{escaped(part)}" for key, part in zip("abcd", parts, strict=True)) for parts in (a, b)]
    assert (stems[0] == stems[1]) == (a == b)


@given(names)
def test_a_name_is_a_file_name_on_every_system(name):
    text = escaped(name)
    assert re.fullmatch(r"[A-Za-z0-9.+\-%]+", text)
    assert text[0] != "." and text[-1] != "."


@pytest.mark.parametrize("name", ["s01", "S001", "CSI1", "blocks.10", "stimulus+run", "leave-one-run-out", "V1"])
def test_plain_names_stay(name):
    assert escaped(name) == name


@given(st.lists(st.text("aAéß_-/.", max_size=300), max_size=8))
def test_no_two_claims_share_a_file_also_where_case_says_nothing(tmp_path_factory, wanted):
    made = MadeFiles(tmp_path_factory.mktemp("made"))
    paths = [made.claim("maps", escaped(name), ".npy") for name in wanted]
    assert len({path.casefold() for path in paths}) == len(paths)
    assert all(len(os.path.basename(path)) < 200 for path in paths)
    assert list(MadeFiles(made.root).listed()) == paths


def test_a_second_writer_claims_the_same_files_again(tmp_path):
    first = [MadeFiles(tmp_path).claim("figures", "a", ".png"), MadeFiles(tmp_path).claim("figures", "a", ".png")]
    assert first == ["figures/a.png"] * 2 and list(MadeFiles(tmp_path).listed()) == ["figures/a.png"]


def test_only_listed_files_are_removed(tmp_path):
    made = MadeFiles(tmp_path)
    mine = tmp_path / made.claim("images", "a", ".npz")
    theirs = tmp_path / "images" / "b.npz"
    mine.parent.mkdir()
    mine.write_text("made")
    theirs.write_text("not made")
    MadeFiles(tmp_path).clear()
    assert not mine.exists() and theirs.read_text() == "not made" and not (tmp_path / LISTING).exists()


def test_a_listing_that_leaves_the_folder_removes_nothing_there(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("x")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / LISTING).write_text(f"../outside.txt\n{outside}\nmaps/../../outside.txt\nhalf writ")
    made = MadeFiles(folder)
    assert list(made.listed()) == []
    made.clear()
    assert outside.read_text() == "x"


def test_a_half_written_line_is_cut_before_the_next(tmp_path):
    (tmp_path / LISTING).write_text("maps/a.npy\nmaps/b")
    made = MadeFiles(tmp_path)
    made.add("maps/c.npy")
    assert (tmp_path / LISTING).read_text() == "maps/a.npy\nmaps/c.npy\n"


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    refuse_foreign(tmp_path, "--out", "a run")
    (tmp_path / ".DS_Store").write_text("")
    refuse_foreign(tmp_path, "--out", "a run")
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"holds other files \(images\): a run needs a folder of its own"):
        refuse_foreign(Path(tmp_path), "--out", "a run")
