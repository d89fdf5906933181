"""Every kind of page is opened in a browser: no script error, no network, readable in light, in dark and on a phone."""

import shutil
from pathlib import Path

import pytest

from brainbench.report import write_report
from brainbench.report.figures.drawing import DARK, INK, SOFT, WARN
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
