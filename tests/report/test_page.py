"""The report is one file that needs nothing, and says what a reader must know."""

import html
import json
import re
import shutil
from html.parser import HTMLParser
from importlib.metadata import EntryPoint
from pathlib import Path
from urllib.parse import unquote

import pytest

import brainbench as bb
from brainbench.core.errors import UserError
from brainbench.report import write_report
from brainbench.report.figures.drawing import new_figure
from brainbench.report.frame import prose
from brainbench.report.methods import _data as methods_data
from brainbench.report.page import _Found, _OneFigure
from brainbench.report.section import sections
from tests.studies.recipes import SMALL, write_recipe


class Page(HTMLParser):
    """Collects links, sources and whether every element is closed."""

    VOID = {"meta", "img", "br", "hr", "link", "input", "col", "source", "wbr", "path", "rect", "line", "circle"}

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.texts, self.alts, self.scripts = [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href") if values.get(name)]
        if tag == "img":
            self.alts.append(values.get("alt", ""))
        self.scripts += tag == "script"

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    recipe = write_recipe(folder, SMALL.replace("A small simulation", "<script>alert('x')</script> & co"))
    return bb.run(recipe, out=folder / "run [v1]", cache=folder / "cache [v1]")  # brackets are no pattern to anybody


@pytest.fixture(scope="module")
def page(run):
    return Page(run.report.read_text())


def test_it_is_one_small_file_without_network(run, page):
    assert run.report.stat().st_size < 5e6
    assert page.open == []
    files = [unquote(one) for one in page.addresses if not one.startswith(("data:", "#"))]
    assert files and all((run.path / one).is_file() and one.startswith("figures/") for one in files)
    assert {Path(one).suffix for one in files} == {".svg", ".pdf"} and len(files) % 2 == 0
    assert not re.search(r"url\((?!['\"]?data:)", run.report.read_text())


def test_what_a_user_writes_is_escaped(run, page):
    assert "<script>alert" not in run.report.read_text()
    assert any("<script>alert('x')</script> & co" in text for text in page.texts)


def test_settings_in_sentences_are_code_and_all_else_is_escaped():
    assert prose("`run: <i>` <b>, a ` alone") == "<code>run: &lt;i&gt;</code> &lt;b&gt;, a ` alone"


def test_it_can_be_read_on_a_phone_and_by_a_screen_reader(run, page):
    assert 'name="viewport"' in run.report.read_text()
    assert page.alts and all(re.search(r"\d", alt) and len(alt) > 30 for alt in page.alts)  # the result, not a title


def test_it_says_what_was_asked_found_and_done(run, page):
    text = " ".join(" ".join(page.texts).split())
    assert "Which layer of gabor explains which region in 2 simulated participants" in text
    assert "simulated" in text.lower()
    for part in ("ceiling", "control", "permut", "seed", "peak memory", "stimuli", "repeats"):
        assert part in text.lower(), part
    for layer in ("scale.0", "scale.3"):
        assert layer in text
    for roi in ("fine", "coarse", "silent"):
        assert roi in text
    assert run.manifest["digest"][:8] in text


def test_the_leading_numbers_are_those_of_scores_csv(run, page):
    scores = run.scores
    mean = scores.query("subject == 'mean' and metric == 'pearson_r' and roi == 'fine' and layer == 'scale.0'")
    assert f"{mean['value'].iloc[0]:.2f}" in " ".join(page.texts)


def test_it_is_rebuilt_from_the_folder_alone_with_names_as_they_are_written(run, tmp_path):
    """Two dollar signs begin a formula in matplotlib, and a broken one ends in a traceback."""
    name, copy = "$V1 \\frac{$", shutil.copytree(run.path, tmp_path / "run")
    for file, written in (("facts.json", json.dumps(name)[1:-1]), ("scores.csv", name)):
        text = (copy / file).read_text()
        assert "silent" in text
        (copy / file).write_text(text.replace("silent", written))
    facts = json.loads((copy / "facts.json").read_text())
    facts["dataset"]["made"] = "words were spoken by a program"
    (copy / "facts.json").write_text(json.dumps(facts))
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "units")
    before = (copy / "figures" / "layer_by_roi.svg").read_bytes()
    write_report(copy)
    assert (copy / "report.html").stat().st_size > 0.5 * run.report.stat().st_size
    text = (copy / "report.html").read_text()
    assert html.escape(name) in text
    assert "Synthetic stimuli: words were spoken by a program. Nothing is claimed." in text
    assert (copy / "figures" / "layer_by_roi.svg").read_bytes() != before


def test_every_heading_stands_in_the_contents_once(run, page):
    text = run.report.read_text()
    anchors = re.findall(r'<h2 id="([^"]+)"', text)
    assert len(anchors) == len(set(anchors)) == text.count("<h2 id") > 5
    nav = text[text.index("<nav") : text.index("</nav>")]
    assert re.findall(r'href="#([^"]+)"', nav) == anchors
    assert {one.removeprefix("#") for one in page.addresses if one.startswith("#")} == set(anchors)


def test_methods_count_runs_not_reasons():
    def row(subject, run, why):
        return {"subject": subject, "session": "", "run": run, "used": "", "left_out": "1 trial", "why": why}

    rows = [row("s1", "1", "late"), row("s1", "1", "bad"), row("s1", "1", "early"), row("s2", "1", "late")]
    facts = {"subjects": [], "dataset": {"title": "Made"}, "findings": {}, "data": rows}
    facts["subjects"] = [{"subject": name, "n_rows": 4, "n_targets": 2} for name in ("s1", "s2", "s3")]
    assert "; parts of 2 runs were left out" in methods_data(facts)
    facts["data"].append(row("s3", "", "flat"))
    assert "; parts of 2 runs and of all runs of 1 participant were left out" in methods_data(facts)


def test_a_figure_whose_name_is_asked_for_comes_before_one_that_begins_so():
    page = object.__new__(_OneFigure)
    page.wanted, page.names, page.like = "lens_minilm", [], None
    first, second = object(), object()
    page.save(first, "lens_minilm_map", "")
    with pytest.raises(_Found) as found:
        page.save(second, "lens_minilm", "")
    assert page.like is first and found.value.figure is second


def test_no_two_sections_stand_in_one_place():
    places = [section.place for section in sections()]
    assert len(places) > 25 and places == sorted(set(places))
    folder = Path(write_report.__code__.co_filename).parent / "sections"
    assert {section.template for section in sections() if folder in section.template.parents} == set(
        folder.rglob("*.html")
    )


def test_a_section_that_is_none_is_named(monkeypatch, tmp_path):
    (tmp_path / "bare.py").write_text("PLACE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "bare", "brainbench.sections")
    monkeypatch.setattr("brainbench.report.section.installed", lambda group: (point,))
    for missing in ("bare.html is missing", "has no attribute 'applies'"):
        with pytest.raises(UserError, match=f"'mine' of brainbench.sections leads to bare.*{missing}"):
            sections.__wrapped__()
        (tmp_path / "bare.html").write_text("nothing")


@pytest.mark.parametrize("width", [1.8, 2.7, 6.0])
def test_a_mark_is_never_cut(width):
    mark = "simulated: no brain was measured; untrained weights: a_network, another, a_third_with_a_long_name"
    figure = new_figure(width, 3.0, mark)
    figure.subplots()
    figure.draw_without_rendering()
    box, whole = figure._supxlabel.get_window_extent(), figure.bbox
    assert box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0
    assert figure._supxlabel.get_text().replace("\n", " ") == mark
