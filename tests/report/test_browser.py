"""Every kind of page is opened in a browser: no script error, no network, readable in light, in dark and on a phone."""

import json
import shutil
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from brainbench.data.surfaces import FSAVERAGE5, Surface, SurfaceMasker
from brainbench.report import write_report
from brainbench.report.figures.drawing import BARE_CELL, CELL, DARK, INK, MAX_CELLS_WITH_TEXT, PHONE, SOFT, WARN
from brainbench.report.figures.layers import heat_map
from brainbench.report.figures.surface import Painted, best_layers, hemispheres, scene
from brainbench.report.sections.responses.maps import _why
from brainbench.report.tables import Matrix, RowName
from tests.report.browser import Browser

FROZEN = Path(__file__).parent / "frozen"
PAGES = sorted(folder.name for folder in FROZEN.iterdir() if folder.is_dir())
MAX_SECONDS = 2.0

LOOK = """
(async () => {
  await Promise.all([...document.images].map((image) => image.decode()));
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const of = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * of(r) + 0.7152 * of(g) + 0.0722 * of(b);
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const [a, b] = [parse(getComputedStyle(element).color), behind(element)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.add(`${element.tagName} ${element.className} ${ratio.toFixed(1)}`);
  }
  const anchors = new Set([...document.querySelectorAll("[id]")].map((one) => one.id));
  return {
    faint: [...faint],
    images: document.images.length,
    broken: [...document.images].filter((one) => !one.naturalWidth).length,
    silent: [...document.images].filter((one) => one.alt.length < 30).map((one) => one.alt),
    lost: [...document.querySelectorAll("a[href^='#']")].map((one) => one.hash.slice(1))
      .filter((id) => !anchors.has(id)),
    titles: document.querySelectorAll("h1").length,
    wide: document.documentElement.scrollWidth - innerWidth,
    hidden: [...document.body.querySelectorAll("*")].filter((one) => one.offsetParent
      && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible")
      .map((one) => (one.textContent || one.outerHTML).slice(0, 80)),
    paper: parse(getComputedStyle(document.body).backgroundColor),
  };
})()
"""
SORT = """
(() => {
  const table = [...document.querySelectorAll("table")].find((one) => one.querySelector("th.n button")
    && one.tBodies[0].rows.length > 3);
  if (!table) return null;
  const column = [...table.tHead.rows[0].cells].findIndex((one) => one.classList.contains("n"));
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  const read = () => [...table.tBodies[0].rows].map((row) =>
    parseFloat(row.cells[column].textContent.replace("\\u2212", "-"))).filter((value) => !Number.isNaN(value));
  const sorted = [];
  for (let click = 0; click < 2; click += 1) { button.click(); sorted.push(read()); }
  const more = document.querySelector("button.more");
  const folded = document.querySelectorAll("tr[hidden]").length;
  more?.click();
  return { sorted, more: Boolean(more), folded, unfolded: document.querySelectorAll("tr[hidden]").length };
})()
"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.fixture(scope="module", params=PAGES)
def page(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / f"a {request.param}"
    shutil.copytree(FROZEN / request.param, folder)
    with pytest.MonkeyPatch.context() as patch:  # what lies beside the page is not looked at
        patch.setattr("matplotlib.backends.backend_pdf.FigureCanvasPdf.print_pdf", lambda *_, **__: None)
        return write_report(folder)


def look(browser, page, width, scheme):
    """Return what a page looks like, after it drew itself quickly, without an error and without network."""
    before = browser.seconds()
    browser.open(page, width, scheme)
    found = browser.run(LOOK)
    assert browser.seconds() - before < MAX_SECONDS
    assert browser.happened("Runtime.exceptionThrown") == []
    assert [
        one["entry"]["text"] for one in browser.happened("Log.entryAdded") if one["entry"]["level"] == "error"
    ] == []
    asked = [one["request"]["url"] for one in browser.happened("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page.resolve().as_uri()]
    return found


def test_it_opens_in_light_and_dark_on_a_desk_and_on_a_phone(browser, page):
    assert page.stat().st_size < 5e6
    papers = {}
    for width, scheme in ((1300, "light"), (1300, "dark"), (400, "light"), (400, "dark")):
        found = look(browser, page, width, scheme)
        assert found["images"] and not found["broken"] and found["silent"] == []
        assert found["faint"] == [] and found["lost"] == [] and found["titles"] == 1
        assert found["wide"] <= 0, f"{found['wide']} pixels too wide at {width}"
        assert width > 400 or found["hidden"] == [], "on a phone what is wide is stacked, and nothing scrolls"
        papers[scheme] = found["paper"]
    assert sum(papers["light"]) > 600 > 150 > sum(papers["dark"])
    acted = browser.run(SORT)
    if acted is not None:
        up, down = acted["sorted"]
        assert up == sorted(up) and down == sorted(up, reverse=True)
        assert not acted["more"] or acted["folded"] > acted["unfolded"]


def contrast(one, other):
    def light(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ink", [INK, SOFT, WARN])
def test_text_of_figures_is_read_on_both_papers(ink):
    assert contrast(ink, "#ffffff") > 4.5 and contrast(DARK[ink], DARK["#ffffff"]) > 4.5


SURFACE = """
(() => {
  const root = document.querySelector(".surface"), canvas = root.querySelector("canvas");
  const picture = () => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [drawn, red, sum] = [0, 0, 0];
    for (let at = 0; at < data.length; at += 4) {
      drawn += data[at + 3] > 0;
      red += data[at] > data[at + 2] + 40;
      sum = (sum * 31 + data[at] + 7 * data[at + 1] + 13 * data[at + 2]) % 1000003;
    }
    return { drawn, red, sum };
  };
  const next = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const press = async (key) => {
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    await next();
    return picture();
  };
  const click = async (name) => {
    [...root.querySelectorAll("button")].find((one) => one.textContent === name).click();
    await next();
    return picture();
  };
  return (async () => {
    const slider = root.querySelector("input"), choice = root.querySelector("select");
    const said = () => root.querySelector(".said").textContent;
    const found = { first: picture(), said: [said()], label: canvas.getAttribute("aria-label"), tab: canvas.tabIndex };
    found.turned = await press("ArrowRight");
    found.back = await press("ArrowLeft");
    found.flat = await click("Flat");
    found.laid = canvas.getAttribute("aria-label");
    found.inside = await click("Inside");
    await click("Highest vertex");
    found.said.push(said());
    slider.value = slider.max;
    slider.dispatchEvent(new Event("input"));
    await next();
    found.none = picture();
    found.said.push(said());
    choice.value = "1";
    choice.dispatchEvent(new Event("change"));
    await next();
    found.said.push(said());
    found.key = root.querySelector(".key").textContent;
    return { ...found, high: canvas.height, wide: canvas.width };
  })();
})()
"""
PEAK = 7000
"""Of the right hemisphere: where the made map is highest."""


@pytest.fixture(scope="module")
def surface(tmp_path_factory):
    """Return the page of a run whose targets are the vertices of fsaverage5; still figures are drawn elsewhere."""
    folder = tmp_path_factory.mktemp("pages") / "a surface"
    shutil.copytree(FROZEN / "encode", folder)
    facts = json.loads((folder / "facts.json").read_text())
    centre = np.abs(np.arange(2 * FSAVERAGE5) - FSAVERAGE5 - PEAK)
    values = {"scale.0": np.maximum(0.8 - centre / 2000, -0.01), "scale.3": np.maximum(0.5 - centre / 8000, -0.01)}
    (folder / "maps").mkdir()
    for entry in facts["maps"]:
        entry |= {"space": "fsaverage5", "background": None, "file": f"maps/{entry['layer']}.gii"}
        if entry["layer"] in values:
            masker = SurfaceMasker(FSAVERAGE5)
            masker.inverse_transform(values[entry["layer"]]).to_filename(str(folder / entry["file"]))
    (folder / "facts.json").write_text(json.dumps(facts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brainbench.report.sections.responses.maps.surface_map", lambda *_, **__: None)
        patch.setattr("matplotlib.backends.backend_pdf.FigureCanvasPdf.print_pdf", lambda *_, **__: None)
        return write_report(folder), values


def test_a_surface_turns_by_keys_and_is_read_without_a_library(browser, surface):
    page, values = surface
    assert page.stat().st_size < 2e6
    tall = {}
    for width, scheme in ((1300, "light"), (400, "dark")):
        found = look(browser, page, width, scheme)
        assert found["faint"] == [] and found["wide"] <= 0
        acted = browser.run(SURFACE)
        tall[width] = acted["high"] / acted["wide"]
        first, turned = acted["first"], acted["turned"]
        assert first["drawn"] > 0.2 * acted["wide"] * acted["high"] and first["red"] > 100
        assert turned["sum"] != first["sum"] == acted["back"]["sum"] != acted["inside"]["sum"]
        flat = acted["flat"]
        assert flat["sum"] not in (first["sum"], acted["inside"]["sum"]) and flat["red"] > 100
        assert 0.2 < flat["drawn"] / (acted["wide"] * acted["high"]) < 0.9
        assert "on a flat map of the cortex. " in acted["laid"] and "on a flat" not in acted["label"]
        coloured = int(np.sum(values["scale.0"].astype("f4") > np.float32(0.01)))
        assert acted["said"][0] == f"{coloured} of {2 * FSAVERAGE5} vertices are coloured."
        assert acted["said"][1].startswith(f"right hemisphere, vertex {PEAK}: 0.800.")
        assert acted["said"][2].endswith(f"0 of {2 * FSAVERAGE5} vertices are coloured.") and acted["none"]["red"] == 0
        assert acted["said"][3].startswith(f"right hemisphere, vertex {PEAK}: scale.0.")
        assert acted["key"] == "scale.0scale.3" and acted["tab"] == 0
        assert acted["label"].startswith("sim-01: Pearson r of gabor scale.0, on a brain that turns. ")
    assert tall[400] > 2 * tall[1300], "hemispheres are stacked on a phone"


@pytest.mark.parametrize(
    ("n", "drawn"), [(FSAVERAGE5, True), (40962, True), (163842, True), (32492, False), (20, False)]
)
def test_finer_meshes_are_drawn_at_the_vertices_of_fsaverage5_and_others_are_named(tmp_path, n, drawn):
    values = np.arange(2 * n, dtype=np.float32)
    SurfaceMasker(n).inverse_transform(values).to_filename(str(tmp_path / "a.gii"))
    found = hemispheres(tmp_path / "a.gii")
    assert (found is not None) is drawn and ("drawn" in Surface(values[None], n).note) is (n != FSAVERAGE5)
    if found is not None:
        np.testing.assert_array_equal(found, np.r_[0:FSAVERAGE5, n : n + FSAVERAGE5])
    said = _why({"space": "surface", "file": "maps/a.gii"}, found)
    assert drawn or said.startswith("its mesh does not come with nilearn")


def test_the_vertices_of_a_coarser_mesh_of_the_family_come_first():
    """Of an icosahedron that was divided once more, every new vertex lies on an edge of the old ones."""
    nibabel, datasets = pytest.importorskip("nibabel"), pytest.importorskip("nilearn.datasets")
    triangles = nibabel.load(datasets.fetch_surf_fsaverage("fsaverage5")["sphere_left"]).darrays[1].data
    pairs = np.unique(np.concatenate([triangles[:, [i, j]] for i in range(3) for j in range(3) if i != j]), axis=0)
    coarse = 2562
    old = np.bincount(pairs[pairs[:, 1] < coarse, 0], minlength=FSAVERAGE5)
    assert (old[:coarse] == 0).all() and (old[coarse:] == 2).all()


def test_the_flat_map_has_the_vertices_of_the_surface_but_for_the_medial_wall():
    nibabel = pytest.importorskip("nibabel")
    datasets = pytest.importorskip("nilearn.datasets")
    drawn = json.loads(scene([Painted("a map", np.zeros(2 * FSAVERAGE5))], 1.0, 0.1))
    triangles = np.frombuffer(b64decode(drawn["triangles"]), "<u2").reshape(-1, 3).astype(int)
    sides = datasets.fetch_surf_fsaverage("fsaverage5")
    for place, side in enumerate(("left", "right")):
        points, corners = (array.data for array in nibabel.load(sides[f"flat_{side}"]).darrays[:2])
        kept = triangles[np.frombuffer(b64decode(drawn["kept"][place]), "u1") > 0]
        flat = np.frombuffer(b64decode(drawn["flat"][place]), "<i2").reshape(-1, 2).astype(float)
        assert {tuple(sorted(one)) for one in kept.tolist()} == {tuple(sorted(one)) for one in corners.tolist()}
        used = np.unique(corners)
        np.testing.assert_allclose(flat[used] / 32767, points[used, :2] / 161.20007, atol=1e-4)
        (ax, ay), (bx, by), (cx, cy) = flat[kept].transpose(1, 2, 0)
        assert ((bx - ax) * (cy - ay) >= (by - ay) * (cx - ax)).all(), "all triangles are seen from one side"


@pytest.mark.parametrize("script", [True, False])
def test_without_a_script_the_still_figures_are_there(browser, surface, script):
    browser.send("Emulation.setScriptExecutionDisabled", value=not script)
    browser.open(surface[0], 1300, "light")
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    seen = browser.run("[document.querySelector('.surface').hidden, document.querySelector('details.still').open]")
    assert seen == [not script, not script]


@pytest.mark.parametrize("edges", [(0.0, 1.0), (-0.5, 0.5)])
def test_best_layers_are_those_of_the_highest_score_above_a_threshold(edges):
    scores = np.random.default_rng(0).uniform(*edges, size=(4, 300))
    scores[:, 7] = np.nan
    scores[2, 8] = np.nan
    found = best_layers(scores, 0.3)
    for vertex in range(300):
        known = {layer: value for layer, value in enumerate(scores[:, vertex], start=1) if value > 0.3}
        assert found[vertex] == (max(known, key=known.get) if known else 0)


CARDS = """
(() => {
  const table = document.querySelector("table.cards");
  const heads = [...table.tHead.rows[0].cells].map((one) => one.textContent.trim());
  return [heads, [...table.tBodies[0].rows[0].cells].map((one) => [one.dataset.label ?? "",
    getComputedStyle(one, "::before").content]), getComputedStyle(table.tHead).display];
})()
"""


def test_a_table_that_is_wider_than_a_phone_becomes_cards_with_its_headings(browser, tmp_path):
    shutil.copytree(FROZEN / "decode", tmp_path / "run")
    page = write_report(tmp_path / "run")
    browser.open(page, 400, "light")
    heads, cells, head = browser.run(CARDS)
    assert [label for label, _ in cells] == heads and len(heads) > 5 and head == "block"
    assert cells[0][1] == "none", "the first one heads the card"
    assert [shown for _, shown in cells[1:]] == [f'"{name} "' for name in heads[1:]]
    browser.open(page, 1300, "light")
    assert browser.run("document.querySelectorAll('.cards').length") == 0


@pytest.mark.parametrize("shape", [(3, 2), (4, 30), (60, 8), (40, 45)])
def test_a_heat_map_of_any_size_fits_a_phone(shape):
    n_rows, n_columns = shape
    rows = [RowName("a network", f"encoder.layers.{i}.output", "model") for i in range(n_rows)]
    numbers = np.random.default_rng(0).normal(size=(6, *shape))
    table = Matrix(rows, [f"region {j}" for j in range(n_columns)], *numbers[:5], numbers[5, :, 0])
    figure = heat_map(table, "Pearson r", room=PHONE)
    panels = [axes for axes in figure.axes if axes.get_images() and axes.get_label() != "<colorbar>"]
    drawn = np.concatenate([axes.get_images()[0].get_array() for axes in panels], axis=1)
    np.testing.assert_array_equal(drawn, table.value)
    assert figure.get_figwidth() <= PHONE and len({axes.get_xlim() for axes in panels}) == 1
    assert [text.get_text() for axes in panels for text in axes.get_xticklabels()][::n_columns][0].startswith(
        "region 0"
    )
    longest = max(len(line) for text in panels[0].get_yticklabels() for line in text.get_text().split("\n"))
    narrowest = CELL if n_rows * n_columns <= MAX_CELLS_WITH_TEXT else BARE_CELL
    assert (PHONE - 0.4 - 0.075 * longest) / (panels[0].get_xlim()[1] + 0.5) >= narrowest - 1e-9
