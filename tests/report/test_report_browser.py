"""The pages in a real browser: silent, offline, sortable, interactive, printable, accessible."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_browser_fixture import AXE, browser, requests
from report_comparison_fixture import build_comparison
from report_fixture import Drawn, build_run

from haplobench.compare.exchange import render_comparison
from haplobench.report.figures import draw_boards, draw_figures
from haplobench.report.html import render_html
from haplobench.report.leaderboard import leaderboards
from haplobench.report.model import Summary
from haplobench.report.summary import summarise
from haplobench.report.write import write_site
from haplobench.results.table import load_run

pytestmark = pytest.mark.xdist_group("browser")
PACKED_TABLE = re.compile(r'class="scroll"[^>]* data-packed="')
KINDS = ("run", "packed", "hostile", "comparison", "hostile-comparison", "site")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def pages(demo: Summary, drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    hostile = summarise(load_run(build_run(folder / "hostile-run", hostile=True)))
    boards = leaderboards(demo)
    figures = [*draw_boards(demo.run, boards), *drawn[0]]
    whole = render_html(demo, figures, drawn[1], boards)
    limits = range(len(whole.encode()) - 60_000, 60_000, -10_000)
    smaller = (render_html(demo, figures, drawn[1], boards, limit=limit) for limit in limits)
    texts = {
        "run": whole,
        "packed": next(text for text in smaller if PACKED_TABLE.search(text)),
        "hostile": render_html(hostile, *draw_figures(hostile.run)),
        "comparison": render_comparison(build_comparison(copies=5)),
        "hostile-comparison": render_comparison(build_comparison(hostile=True)),
    }
    page = folder / "site" / "runs" / "20261121-100000-abc" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text(whole, encoding="utf-8")
    texts["site"] = write_site([folder / "hostile-run"], folder / "site", "Runs")[0].read_text()
    assert tuple(texts) == KINDS
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


def visit(driver: Any, path: Path) -> None:
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(path.as_uri())


def open_all(driver: Any) -> None:
    driver.execute_script(
        "for (const part of document.querySelectorAll('details')) part.open = true"
    )


def keys(driver: Any, *names: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    chain = ActionChains(driver)
    for name in names:
        chain.send_keys(getattr(Keys, name, name))
    chain.perform()


@pytest.mark.parametrize("kind", KINDS)
def test_is_silent_and_offline(kind: str, driver: Any, pages: dict[str, Path]) -> None:
    visit(driver, pages[kind])
    driver.execute_script("scrollTo(0, document.body.scrollHeight)")
    driver.execute_async_script("requestIdleCallback(() => setTimeout(arguments[0], 50))")
    assert driver.get_log("browser") == []
    assert requests(driver) == [pages[kind].as_uri()]
    assert driver.title
    assert not driver.find_elements("css selector", "img")


def test_the_test_sees_requests_and_complaints(driver: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'><script>nothing()</script>")
    visit(driver, path)
    assert "http://127.0.0.1:9/x.png" in requests(driver)
    assert any("nothing is not defined" in entry["message"] for entry in driver.get_log("browser"))


def test_policy_would_stop_what_escaping_missed(
    driver: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    page = pages["run"].read_text()
    path.write_text(page.replace("</main>", "<script>document.title = 'owned'</script></main>"))
    visit(driver, path)
    assert driver.title != "owned"
    assert any("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))


NAMES = (
    "return [...arguments[0].querySelectorAll('tbody.rows tr')].map(r => r.cells[0].dataset.sort)"
)


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_tables_sort(how: str, driver: Any, pages: dict[str, Path]) -> None:
    visit(driver, pages["run"])
    open_all(driver)
    table = driver.find_element("css selector", "table.sortable:not(.board)")
    button = table.find_elements("css selector", "th button")[2]  # AF RMSE, lower is better

    def choose() -> None:
        if how == "mouse":
            button.click()
        else:
            driver.execute_script("arguments[0].focus()", button)
            keys(driver, "ENTER")

    choose()
    up = driver.execute_script(NAMES, table)
    head = button.find_element("xpath", "..")
    assert head.get_attribute("aria-sort") == "ascending"
    choose()
    down = driver.execute_script(NAMES, table)
    assert head.get_attribute("aria-sort") == "descending"
    assert up[:3] == ["replayed", "patchwork", "slowpoke"]
    assert down[:3] == ["shuffled", "chain", "network"]
    # What has no value stays last whichever way.
    assert up[-1] == down[-1] == "theory"


def test_leaderboard_and_comparison_sort(driver: Any, pages: dict[str, Path]) -> None:
    visit(driver, pages["run"])
    board = driver.find_element("css selector", "table.board")
    assert driver.execute_script(NAMES, board)[:2] == ["floor (real people)", "replayed"]
    board.find_elements("css selector", "th button")[0].click()
    names = driver.execute_script(NAMES, board)
    assert names == sorted(names)
    visit(driver, pages["comparison"])
    table = driver.find_element("css selector", "table.compared")
    table.find_elements("css selector", "th button")[5].click()
    found = driver.execute_script(
        "return [...arguments[0].querySelectorAll('tbody.rows tr')]"
        ".map(r => r.cells[5].dataset.sort).filter(x => x !== undefined).map(Number)",
        table,
    )
    assert found == sorted(found)
    assert len(found) >= 3


def ground(driver: Any) -> str:
    colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return "dark" if max(map(int, re.findall(r"\d+", colour)[:3])) < 100 else "light"


def emulate(driver: Any, **more: Any) -> None:
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", more)


def test_light_and_dark_by_system_and_by_choice(driver: Any, pages: dict[str, Path]) -> None:
    for scheme, other in (("light", "dark"), ("dark", "light")):
        emulate(driver, features=[{"name": "prefers-color-scheme", "value": scheme}])
        visit(driver, pages["run"])
        driver.execute_script("try { localStorage.clear() } catch {}")
        visit(driver, pages["run"])
        assert ground(driver) == scheme
        driver.find_element("id", "theme").click()
        assert ground(driver) == other
        driver.find_element("id", "theme").click()
        assert ground(driver) == scheme
    driver.execute_script("try { localStorage.clear() } catch {}")
    emulate(driver, features=[])


def chart(driver: Any, title: str, kind: str = "path") -> Any:
    figure = next(
        item
        for item in driver.find_elements("css selector", "figure")
        if title in item.get_attribute("textContent")
    )
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
    driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 60))")
    return figure


def tip(driver: Any) -> str:
    found: str = driver.execute_script(
        "const t = document.getElementById('tip'); return t.hidden ? '' : t.textContent"
    )
    return found


def test_pointer_and_arrow_keys_read_a_lines_points(driver: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    visit(driver, pages["run"])
    figure = chart(driver, "Decay of LD with distance")
    line = figure.find_element("css selector", "path[data-v][data-s]")
    assert tip(driver) == ""
    # The middle point of the line, on the screen.
    x, y, value = driver.execute_script(
        """const line = arguments[0], at = 15;
        const n = line.getAttribute('d').match(/-?[\\d.]+(?:e-?\\d+)?/g).map(Number);
        const p = new DOMPoint(n[2 * at], n[2 * at + 1]).matrixTransform(line.getScreenCTM());
        return [p.x, p.y, line.dataset.v.split(';')[at]]""",
        line,
    )
    ActionChains(driver).w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions = ActionChains(driver)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.perform()
    distance, _ = value.split("|")
    shown = tip(driver)
    assert f"Distance (bp): {distance}" in shown
    assert "Mean r²: " in shown
    assert "Generator: " in shown
    assert driver.find_elements("css selector", "circle.ring")
    actions = ActionChains(driver)
    actions.w3c_actions.pointer_action.move_to_location(3, 3)
    actions.perform()
    assert tip(driver) == ""
    driver.execute_script("arguments[0].focus()", figure.find_element("css selector", ".chart"))
    keys(driver, "ARROW_RIGHT")
    first = tip(driver)
    keys(driver, "ARROW_RIGHT")
    second = tip(driver)
    assert first != second
    assert "Distance (bp): 100" in first
    said = driver.find_element("css selector", "[role=status]").get_attribute("textContent")
    assert said == second.replace("\n", ", ")
    keys(driver, "ARROW_DOWN")
    assert tip(driver) not in ("", second)
    keys(driver, "ESCAPE")
    assert tip(driver) == ""


def toolbox(driver: Any) -> Any:
    driver.find_element("id", "toolbox").click()
    panel = driver.find_element("id", "tools")
    assert panel.is_displayed()
    return panel


def entry(panel: Any, name: str) -> Any:
    return next(
        item
        for item in panel.find_elements("css selector", "li")
        if item.find_element("css selector", "[type=text]").get_attribute("value") == name
    )


OFF = (
    "return [...document.querySelectorAll(arguments[0])]"
    ".map(m => getComputedStyle(m).display === 'none')"
)


@pytest.mark.parametrize("kind", ["run", "packed"])
def test_generators_can_be_hidden_lit_and_called_otherwise(
    kind: str, driver: Any, pages: dict[str, Path]
) -> None:
    visit(driver, pages[kind])
    chart(driver, "Decay of LD with distance")
    panel = toolbox(driver)
    item = entry(panel, "patchwork")
    series = item.get_attribute("data-series")
    marks, head = f"figure svg [data-s='{series}']", f"thead th[data-s='{series}']"
    row = f"tbody tr:has(> th[data-s='{series}'])"
    for selector in (marks, head, row):
        hidden = driver.execute_script(OFF, selector)
        assert hidden
        assert not any(hidden)
    item.find_element("css selector", "[data-show]").click()
    for selector in (marks, head, row):
        assert all(driver.execute_script(OFF, selector))
    assert not all(driver.execute_script(OFF, "figure svg [data-s]"))
    panel.find_element("css selector", "[data-do=reset]").click()
    assert not any(driver.execute_script(OFF, marks))
    item.find_element("css selector", "[data-light]").click()
    lit = driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(m => m.classList.contains('lit'))",
        marks,
    )
    assert all(lit)
    assert "dim" in driver.find_element("tag name", "body").get_attribute("class")
    name = item.find_element("css selector", "[type=text]")
    name.send_keys(" (ours)")
    shown = driver.execute_script(
        "return [arguments[0], arguments[1]].map(s => document.querySelector(s).textContent)",
        head,
        "#summary .lead",
    )
    assert shown[0].startswith("patchwork (ours)")
    assert "patchwork (ours)" in shown[1]
    panel.find_element("css selector", "[data-do=reset]").click()
    assert "(ours)" not in driver.execute_script("return document.body.textContent")


def test_toolbox_finds_by_pattern_and_filters_numbers(driver: Any, pages: dict[str, Path]) -> None:
    visit(driver, pages["run"])
    panel = toolbox(driver)
    driver.find_element("id", "like").send_keys("^(chain|network)$")
    panel.find_element("css selector", "[data-do=only]").click()
    checked = driver.execute_script(
        "return [...document.querySelectorAll('#tools li')].filter(l => l.querySelector("
        "'[data-show]').checked).map(l => l.querySelector('[type=text]').value)"
    )
    assert sorted(checked) == ["chain", "network"]
    driver.find_element("id", "filter").send_keys("ld decay")
    rows = "return [...document.querySelectorAll('.dense tbody tr:not(.group):not(.missed) th')]"
    titles = driver.execute_script(f"{rows}.map(t => t.textContent.split('\\u00a0')[0])")
    assert set(titles) == {"LD decay RMSE"}


SAVED = """
const done = arguments[1], made = URL.createObjectURL;
URL.createObjectURL = (blob) => {
  URL.createObjectURL = made;
  const reader = new FileReader();
  reader.onload = () => done([blob.type, reader.result]);
  reader.readAsDataURL(blob);
  return made(blob);
};
HTMLAnchorElement.prototype.click = () => {};
arguments[0].click();
"""


def saved(driver: Any, title: str, kind: str) -> bytes:
    driver.set_script_timeout(20)
    button = driver.find_element("css selector", f"button[aria-label='Save as {kind}: {title}']")
    media, data = driver.execute_async_script(SAVED, button)
    assert media == {"CSV": "text/csv", "SVG": "image/svg+xml", "PNG": "image/png"}[kind]
    return base64.b64decode(data.partition(",")[2])


@pytest.mark.parametrize("kind", ["run", "packed"])
def test_figures_and_tables_are_saved(
    kind: str, driver: Any, pages: dict[str, Path], demo: Summary
) -> None:
    import csv
    from xml.etree import ElementTree

    from PIL import Image

    visit(driver, pages[kind])
    title = "Decay of LD with distance"
    chart(driver, title)
    rows = list(csv.DictReader(io.StringIO(saved(driver, title, "CSV").decode())))
    mine = [row for row in rows if row["Generator"] == "patchwork"]
    assert len(mine) >= 30
    assert float(mine[0]["Distance (bp)"]) == 100
    assert 0 <= float(mine[0]["Mean r²"]) <= 1
    drawing = ElementTree.fromstring(saved(driver, title, "SVG"))
    assert drawing.get("width")
    assert not [key for item in drawing.iter() for key in item.attrib if key.startswith("data-")]
    picture = Image.open(io.BytesIO(saved(driver, title, "PNG")))
    assert picture.width == 3 * round(float(drawing.get("width", "0")))
    assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 10
    # A table has its numbers whole, and what stands beside them in columns of their own.
    label = next(iter(demo.datasets))
    open_all(driver)
    table = list(csv.reader(io.StringIO(saved(driver, f"{label}: fidelity", "CSV").decode())))
    at = next(i for i, name in enumerate(table[0]) if name.startswith("AF r"))
    found = {line[0].split(" ")[0]: line[at] for line in table[1:]}
    column = next(c for c in demo.datasets[label].headline() if c.title == "AF r")
    value = demo.datasets[label].cell("network", column).value
    assert float(found["network"]) == pytest.approx(value, rel=1e-8)
    assert table[0][at + 1] == "spread"
    drawing = ElementTree.fromstring(saved(driver, f"Scorecard of {label}", "SVG"))
    words = "".join(drawing.itertext())
    assert "AF r" in words
    assert "●" in words
    assert driver.get_log("browser") == []


def test_a_figure_is_enlarged_zoomed_and_put_back(driver: Any, pages: dict[str, Path]) -> None:
    visit(driver, pages["run"])
    figure = chart(driver, "Decay of LD with distance")
    whole = figure.find_element("css selector", "svg").get_dom_attribute("viewBox")
    driver.execute_script(
        "arguments[0].focus()", figure.find_element("css selector", "button.enlarge")
    )
    keys(driver, "ENTER")
    dialog = driver.find_element("id", "large")
    svg = dialog.find_element("css selector", "svg")
    assert dialog.is_displayed()
    before = svg.size["width"]
    keys(driver, "+")
    zoomed = [float(x) for x in svg.get_dom_attribute("viewBox").split()]
    assert zoomed[2] == pytest.approx(float(whole.split()[2]) * 0.8)
    assert before > 700
    keys(driver, "0")
    assert svg.get_dom_attribute("viewBox").replace(",", " ") == whole
    keys(driver, "ESCAPE")
    assert not dialog.is_displayed()
    assert figure.find_elements("css selector", ".chart svg")


def test_prints_everything(driver: Any, pages: dict[str, Path]) -> None:
    for kind in ("run", "comparison"):
        visit(driver, pages[kind])
        pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
        assert pdf.startswith(b"%PDF")
        assert len(pdf) > 30_000
    emulate(driver, media="print")
    visit(driver, pages["run"])
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert not driver.find_elements("css selector", "details:not([open])")
    assert ground(driver) == "light"
    assert not driver.find_element("css selector", "nav").is_displayed()
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert driver.find_elements("css selector", "details:not([open])")
    emulate(driver, media="")


def test_without_script_figures_and_tables_are_there(driver: Any, pages: dict[str, Path]) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(driver, pages["run"])
        assert driver.find_elements("css selector", "figure svg path")
        for hidden in ("#tools", "#toolbox", "#theme"):
            assert not driver.find_element("css selector", hidden).is_displayed()
        visit(driver, pages["packed"])
        assert "Packed to keep this page small" in driver.find_element("css selector", "main").text
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("kind", ["run", "comparison", "site"])
def test_fits_a_narrow_screen(kind: str, driver: Any, pages: dict[str, Path]) -> None:
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        visit(driver, pages[kind])
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
        open_all(driver)
        wide = "[...document.querySelectorAll('pre')].filter(e => e.scrollWidth > e.clientWidth)"
        assert driver.execute_script(f"return {wide}.length") == 0
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["run", "comparison", "site"])
def test_axe_finds_nothing_serious(
    kind: str, scheme: str, driver: Any, pages: dict[str, Path]
) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not in the cache (make oracles)")
    emulate(driver, features=[{"name": "prefers-color-scheme", "value": scheme}])
    visit(driver, pages[kind])
    open_all(driver)
    driver.execute_script(
        "const tools = document.getElementById('toolbox'); if (!tools.hidden) tools.click()"
    )
    # From the driver, not from the page, whose policy would refuse it.
    driver.execute_script(AXE.read_text(encoding="utf-8"))
    driver.set_script_timeout(60)
    found = driver.execute_async_script(
        "const done = arguments[1]; axe.run(document, Object.assign({resultTypes: ['violations']},"
        " arguments[0] ? {runOnly: ['color-contrast']} : {}))"
        ".then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes.length, v.nodes[0].html])),"
        " e => done([['critical', String(e), 0, '']]))",
        scheme == "dark",  # of colours alone, since nothing else differs
    )
    emulate(driver, features=[])
    assert found == []


def test_a_packed_page_shows_what_the_whole_one_does(driver: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    told = []
    for kind in ("run", "packed"):
        visit(driver, pages[kind])
        WebDriverWait(driver, 30).until(
            lambda browser: (
                not browser.execute_script(
                    "return document.querySelectorAll('[data-packed]').length"
                )
            )
        )
        told.append(
            driver.execute_script(
                "return [[...document.querySelectorAll('table')].map(t => t.textContent.trim()),"
                " document.querySelectorAll('figure svg').length]"
            )
        )
    assert told[0] == told[1]
