"""Downloads: verified against the card's hashes, never half done, never outside of their folder."""

import functools
import http.server
import threading
import zipfile

import pytest
import yaml

from brainbench.core import share
from brainbench.core.digests import digest_file
from brainbench.core.errors import UserError
from brainbench.data import cards, fetch
from brainbench.data.roots import resolve_root
from brainbench.recipes.datasets import DATASETS


@pytest.fixture
def server(tmp_path):
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=served)) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield served, f"http://127.0.0.1:{one.server_port}"
        one.shutdown()


def write_card(folder, url, sha256, path="data.zip"):
    folder.mkdir(exist_ok=True)
    card = {
        "name": "folder", "title": "A test", "source": "here", "licence": "CC0", "citation": "No one (2026)",
        "fetch": "nothing", "files": [{"path": path, "what": "all", "url": url, "sha256": sha256}],
    }  # fmt: skip
    (folder / "folder.yaml").write_text(yaml.safe_dump(card))


@pytest.fixture
def cards_folder(tmp_path, monkeypatch):
    for module in (cards, share):
        monkeypatch.setattr(module, "share_folder", lambda name: tmp_path / "cards")
    return tmp_path / "cards"


def test_a_download_that_matches_its_hash_is_unpacked(server, cards_folder, tmp_path):
    served, url = server
    with zipfile.ZipFile(served / "data.zip", "w") as archive:
        archive.writestr("stimuli.csv", "id,text\na,hello\n")
        archive.writestr("sub-01/design.csv", "stimulus,run\na,1\n")
    write_card(cards_folder, f"{url}/data.zip", digest_file(served / "data.zip"))
    said = fetch.fetch("folder", str(tmp_path / "new"))
    assert "CC0" in said and "No one (2026)" in said
    assert (tmp_path / "new" / "sub-01" / "design.csv").read_text() == "stimulus,run\na,1\n"
    assert not (tmp_path / "new" / "data.zip").exists()
    with pytest.raises(UserError, match="is not empty"):
        fetch.fetch("folder", str(tmp_path / "new"))


@pytest.mark.parametrize("member", ["../escaped.txt", "/tmp/escaped-brainbench.txt", "a/../../escaped.txt"])
def test_an_archive_that_leaves_its_folder_writes_nothing(server, cards_folder, tmp_path, member):
    served, url = server
    with zipfile.ZipFile(served / "data.zip", "w") as archive:
        archive.writestr("stimuli.csv", "id\n")
        archive.writestr(member, "outside")
    write_card(cards_folder, f"{url}/data.zip", digest_file(served / "data.zip"))
    with pytest.raises(UserError, match="lies outside"):
        fetch.fetch("folder", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists() and not list(tmp_path.rglob("escaped*"))


def test_a_link_in_an_archive_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0xA1FF << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        fetch.unpack(tmp_path / "x.zip", tmp_path / "out")


def test_other_bytes_and_missing_files_leave_nothing_behind(server, cards_folder, tmp_path):
    served, url = server
    (served / "data.csv").write_text("changed on the way")
    write_card(cards_folder, f"{url}/data.csv", "0" * 64, "data.csv")
    with pytest.raises(UserError, match="hash"):
        fetch.fetch("folder", str(tmp_path / "new"))
    write_card(cards_folder, f"{url}/gone.csv", "0" * 64, "gone.csv")
    with pytest.raises(UserError, match="404"):
        fetch.fetch("folder", str(tmp_path / "new"))
    write_card(cards_folder, f"{url}/data.csv", None, "data.csv")
    with pytest.raises(UserError, match="no sha256"):
        fetch.fetch("folder", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_every_data_set_has_a_card():
    for name in DATASETS:
        card = cards.load_card(name)
        assert card.licence and card.citation and card.fetch
        assert card.title in fetch.describe(name)
    with pytest.raises(UserError, match="did you mean 'alice'"):
        cards.load_card("alise")


def test_check_reads_every_subject(real_data):
    said = fetch.check("haxby2001", str(real_data))
    assert "72 rows x 530 targets" in said and said.endswith("no problems")
    with pytest.raises(UserError, match=r"dataset.task: field required"):
        fetch.check("bids", str(real_data))
    assert resolve_root("haxby2001", str(real_data))[0].name == "haxby2001"
