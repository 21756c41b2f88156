"""What a user does with a report: look, search, choose, open and close, by mouse and by keys, in light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.report.test_report import HOSTILE

from .conftest import Open

VIEWS = "Graph", "Passes", "Time", "Memory", "Plan", "Weights"


def box(page: Page, text: str) -> Any:
    return page.locator(".graph .box:not(.gone)", has_text=text).first


def chosen(page: Page) -> str:
    return page.locator("#details h2").inner_text()


def place(page: Page) -> tuple[float, float, float]:
    """Scale and shift of the graph."""
    page.wait_for_timeout(60)
    text = page.locator(".graph .world").evaluate("world => world.style.transform")
    found = re.fullmatch(r"scale\((.+)\) translate\((.+)px, (.+)px\)", text)
    assert found is not None
    return float(found[1]), float(found[2]), float(found[3])


def within(page: Page, inner: str, outer: str) -> bool:
    """Whether an element is to be seen in the one that scrolls."""
    found: bool = page.evaluate(
        """([inner, outer]) => {
            const [a, b] = [inner, outer].map((one) => document.querySelector(one).getBoundingClientRect());
            return a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
        }""", [inner, outer])  # fmt: skip
    return found


# ---------------------------------------------------------------- choosing


def test_a_click_on_a_box_shows_its_lines_and_what_is_known_of_it(open_report: Open) -> None:
    page = open_report("lenet")
    assert chosen(page) == "No node chosen"
    box(page, "fc2").click()
    assert chosen(page) == "fc2.linear"
    details = page.locator("#details").inner_text()
    assert "FusedLinear" in details
    assert "float32[2, 84]" in details
    assert re.search(r"took\s+[\d.,]+ (µs|ms), [\d.]+ % of a run", details)
    expect(page.locator(".program .chosen").first).to_contain_text("fc2")
    page.wait_for_timeout(100)
    run = page.locator(".program .chosen code", has_text="# fc2.linear: FusedLinear by").last
    assert run.inner_text().strip().startswith("# fc2.linear")
    lines = page.locator(".program .chosen").evaluate_all("all => all.map(one => Number(one.dataset.line))")
    assert within(page, f'.program [data-line="{lines[-1]}"]', ".program")
    expect(box(page, "fc2")).to_have_attribute("aria-pressed", "true")
    box(page, "fc3").click()
    assert chosen(page) == "fc3.linear"
    expect(page.locator('.graph .box[aria-pressed="true"]')).to_have_count(1)


def test_what_is_pointed_at_is_lit_both_ways(open_report: Open) -> None:
    page = open_report("lenet")
    box(page, "conv2").hover()
    expect(page.locator(".program .hovered").first).to_contain_text("conv2")
    expect(page.locator("#tip")).to_contain_text("conv2.conv2d")
    page.mouse.move(5, 5)
    expect(page.locator(".program .hovered")).to_have_count(0)
    expect(page.locator("#tip")).to_be_hidden()
    line = page.locator(".program .line[data-node]", has_text="# fc1.linear: ").last
    line.hover()
    expect(page.locator(".graph .box.hovered")).to_contain_text(["fc1"])
    line.click()
    assert chosen(page) == "fc1.linear"


def test_links_and_buttons_lead_from_node_to_node(open_report: Open) -> None:
    page = open_report("lenet")
    box(page, "fc2").click()
    page.locator("#details dd", has_text="flatten").or_(page.locator("#details button", has_text="fc1")).first.click()
    assert chosen(page).startswith("fc1")
    page.get_by_role("button", name="The next node in the program").click()
    assert not chosen(page).startswith("fc1")


# ---------------------------------------------------------------- searching


def test_search_by_keys(open_report: Open) -> None:
    page = open_report("blocks")
    page.keyboard.press("/")
    search = page.locator("#search")
    expect(search).to_be_focused()
    page.keyboard.type("1.2.two")
    options = page.locator("#found").get_by_role("option")
    expect(options.first).to_contain_text("1.2.two")
    expect(search).to_have_attribute("aria-expanded", "true")
    expect(search).to_have_attribute("aria-activedescendant", "found-0")
    page.keyboard.press("ArrowDown")
    expect(search).to_have_attribute("aria-activedescendant", "found-1")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert chosen(page) == "1.2.two.linear"
    assert page.evaluate("document.activeElement.matches('.box[aria-pressed=true]')")
    expect(options).to_have_count(0)
    page.keyboard.press("Escape")
    assert chosen(page) == "No node chosen"
    page.keyboard.press("/")
    search.fill("nothing at all")
    expect(options).to_have_text(["nothing is called that"])
    page.keyboard.press("Escape")
    expect(search).to_have_value("")


@pytest.mark.parametrize("asked", ["softmax", "Softmax 0.1", "conftest.py softmax"])
def test_search_knows_operators_modules_and_files(open_report: Open, asked: str) -> None:
    page = open_report("blocks")
    page.locator("#search").fill(asked)
    expect(page.locator("#found [data-node]").first).to_contain_text("softmax")


# ---------------------------------------------------------------- the graph by keys, and its modules


def test_the_graph_by_keys(open_report: Open) -> None:
    page = open_report("lenet")
    page.locator('.graph [tabindex="0"]').focus()
    names = []
    for _ in range(3):
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        page.keyboard.press("ArrowDown")
    assert [name.split(", ")[0] for name in names] == ["x", "conv1.conv2d", "conv2.conv2d"]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert chosen(page) == "conv2.conv2d"
    before = place(page)
    page.keyboard.press("+")
    assert place(page)[0] > before[0]
    page.keyboard.press("0")
    page.keyboard.press("Shift+ArrowLeft")
    shifted = place(page)
    page.keyboard.press("0")
    assert place(page)[1] < shifted[1]
    page.keyboard.press("End")
    assert "output" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def shapes(page: Page) -> list[list[float]]:
    """Where boxes and closed modules are."""
    found: list[list[float]] = page.evaluate(
        """() => [...document.querySelectorAll('.graph .box:not(.gone) > rect, .graph .frame.closed:not(.gone) > rect')]
            .map(rect => { const b = rect.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"""
    )
    return found


def apart(rects: list[list[float]]) -> bool:
    return not any(
        a[0] < b[2] - 0.5 and b[0] < a[2] - 0.5 and a[1] < b[3] - 0.5 and b[1] < a[3] - 0.5
        for i, a in enumerate(rects)
        for b in rects[:i]
    )


def test_modules_close_and_open(open_report: Open) -> None:
    page = open_report("blocks")
    levels = page.locator("#levels")
    whole = shapes(page)
    assert apart(whole)
    levels.select_option("all closed")
    assert 2 < len(shapes(page)) < len(whole) / 2
    assert apart(shapes(page))
    frame = page.get_by_role("button", name="module 0.1,")
    expect(frame).to_have_attribute("aria-expanded", "false")
    frame.click()
    expect(frame).to_have_attribute("aria-expanded", "true")
    assert apart(shapes(page))
    for level in range(levels.locator("option").count()):
        levels.select_option(str(level))
        assert apart(shapes(page))
        paths = page.locator(".graph path.line:not(.gone)").evaluate_all("all => all.map(one => one.getAttribute('d'))")
        assert all(re.fullmatch(r"[MCL\d. -]+", path) for path in paths)
    levels.select_option("all closed")
    page.locator("#search").fill("1.1.one.linear")
    page.keyboard.press("Enter")  # what is in a closed module is shown
    expect(page.locator('.graph .box[aria-pressed="true"]')).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator(":focus")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_have_attribute("aria-expanded", "true")


def test_pan_and_zoom(open_report: Open) -> None:
    page = open_report("lenet")
    scale, x, y = place(page)
    page.mouse.move(100, 600)
    page.mouse.down()
    page.mouse.move(160, 640, steps=4)
    page.mouse.up()
    moved = place(page)
    assert moved == pytest.approx((scale, x + 60 / scale, y + 40 / scale), abs=0.5)
    assert chosen(page) == "No node chosen"
    target = box(page, "conv1").bounding_box()
    assert target is not None
    page.mouse.move(target["x"], target["y"])
    page.mouse.wheel(0, -100)
    page.wait_for_timeout(100)
    after = box(page, "conv1").bounding_box()
    assert after is not None
    assert after["width"] > target["width"]
    assert (after["x"], after["y"]) == pytest.approx((target["x"], target["y"]), abs=2)  # what is pointed at stays
    page.get_by_role("button", name="Fit the graph").click()
    assert place(page)[0] == pytest.approx(scale)


def test_time_as_heat(open_report: Open) -> None:
    page = open_report("lenet")
    fill = "one => getComputedStyle(one.querySelector('rect')).fill"
    plain = box(page, "fc3").evaluate(fill)
    page.locator("#colour").select_option("time")
    page.wait_for_timeout(300)
    assert box(page, "fc3").evaluate(fill) != plain
    assert box(page, "conv1").evaluate(fill) != box(page, "fc3").evaluate(fill)
    expect(page.locator(".legend")).to_be_visible()


# ---------------------------------------------------------------- the other views


def test_views_by_keys(open_report: Open) -> None:
    page = open_report("lenet")
    for number, name in enumerate(VIEWS, 1):
        page.keyboard.press(str(number))
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        panel = page.get_by_role("tabpanel")
        expect(panel).to_have_count(1)
        assert len(panel.inner_text()) > 40
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Graph")).to_be_focused()


def test_tables_are_sorted_and_choose(open_report: Open) -> None:
    page = open_report("lenet")
    page.keyboard.press("3")
    panel = page.get_by_role("tabpanel")
    cells = panel.locator("tbody tr td:first-child")
    first = cells.all_inner_texts()
    expect(panel.locator('[aria-sort="descending"]')).to_have_text("time")
    panel.locator("thead").get_by_role("button", name="node").click()
    assert cells.all_inner_texts() == sorted(first)
    panel.locator("thead").get_by_role("button", name="node").click()
    assert cells.all_inner_texts() == sorted(first, reverse=True)
    panel.locator("tbody").get_by_role("button", name="conv2.conv2d").click()
    assert chosen(page) == "conv2.conv2d"
    expect(panel.locator(".dot.chosen")).to_have_count(1)
    page.keyboard.press("1")
    expect(page.locator('.graph .box[aria-pressed="true"]')).to_contain_text("conv2")


def test_memory_over_a_run(open_report: Open) -> None:
    page = open_report("lenet")
    page.keyboard.press("4")
    blocks = page.locator(".memory .block")
    assert blocks.count() == page.locator(".panel.memory tbody tr").count() > 3
    blocks.first.click()
    assert chosen(page) != "No node chosen"
    page.keyboard.press("3")
    expect(page.locator(".panel.times tr.chosen")).to_have_count(1)  # which was not there when it was chosen
    expect(page.locator(".roofline .dot.chosen")).to_have_count(1)
    page.keyboard.press("4")
    blocks.first.hover()
    assert page.locator(".memory .block.chosen").count() > 0
    expect(page.locator("#tip")).to_contain_text("steps")


def test_a_pass_before_and_after(open_report: Open) -> None:
    page = open_report("lenet")
    page.keyboard.press("2")
    page.get_by_role("button", name="fuse_conv_pool").click()
    shown = page.locator(".pass")
    expect(shown.locator("h2")).to_have_text("fuse_conv_pool")
    expect(shown).to_contain_text("+2 ConvPool2d")
    expect(shown.locator(".frame.section .label")).to_have_text(["before", "after"])
    assert shown.locator(".box.m-gone").count() >= 2
    page.get_by_role("button", name="eliminate_dead").click()
    expect(shown).to_contain_text("nothing to change")


# ---------------------------------------------------------------- for everybody


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_accessible(open_report: Open, dark: bool) -> None:
    """Names, roles, contrast and landmarks, by the rules of axe."""
    page = open_report("blocks", dark=dark)
    assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    axe = Axe()
    page.locator("#levels").select_option("1")
    box(page, "Linear").click()
    for name in VIEWS:
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(50)
        found = axe.run(page, context="body" if name == "Graph" else "#panels")
        assert found.violations_count == 0, found.generate_report()


def test_the_button_changes_light_and_dark(open_report: Open) -> None:
    page = open_report("lenet", dark=True)
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.get_by_role("button", name="Change to light colours").click()
    assert page.evaluate(colour) != before
    expect(page.get_by_role("button", name="Change to dark colours")).to_be_visible()
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != before  # what was asked for stays


def test_the_focus_is_seen(open_report: Open) -> None:
    page = open_report("lenet")
    seen = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className.baseVal || ''"))
        width = page.evaluate(
            """() => {
                const one = document.activeElement, rect = one.querySelector(':scope > rect') ?? one;
                const widths = [getComputedStyle(one).outlineWidth, getComputedStyle(rect).strokeWidth];
                return Math.max(...widths.map(parseFloat));
            }"""
        )
        assert width >= 2
    assert {"search", "theme", "help", "tab-graph", "divider"} <= seen
    assert any(str(one).startswith("box") for one in seen)


def test_movement_only_for_those_who_like_it(open_report: Open) -> None:
    for still in (True, False):
        page = open_report("lenet", still=still)
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_timeout(30)
        moving = page.locator(".graph .world").evaluate(
            "world => parseFloat(getComputedStyle(world).transitionDuration)"
        )
        assert (moving == 0) == still


def test_narrow_screens(open_report: Open) -> None:
    page = open_report("blocks", size=(390, 844))
    for name in VIEWS:
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("tab", name="Graph").click()
    stage = page.locator(".graph .stage").bounding_box()
    assert stage is not None
    assert stage["height"] > 300
    box(page, "Linear").click()
    assert chosen(page) != "No node chosen"
    page.locator(".program").scroll_into_view_if_needed()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_side_can_be_made_wider(open_report: Open) -> None:
    page = open_report("lenet")
    bar = page.get_by_role("separator")
    before = page.locator("aside").bounding_box()
    bar.focus()
    page.keyboard.press("ArrowLeft")
    after = page.locator("aside").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > before["width"]
    page.mouse.move(after["x"] + 2, 400)
    page.mouse.down()
    page.mouse.move(700, 400, steps=3)
    page.mouse.up()
    last = page.locator("aside").bounding_box()
    assert last is not None
    assert last["x"] == pytest.approx(700, abs=8)


# ---------------------------------------------------------------- names are text, and the page is shut


def test_hostile_names(open_report: Open) -> None:
    page = open_report("hostile")
    assert page.title() == HOSTILE[0]
    assert page.locator("h1").inner_text() == HOSTILE[0]
    for name in HOSTILE:
        if "." in name:
            continue
        page.locator("#search").fill(name.split()[0])
        expect(page.locator("#found [data-node]").first).to_contain_text(name.split()[0])
        page.keyboard.press("Enter")
        assert name in chosen(page)
    for view in VIEWS:
        page.get_by_role("tab", name=view).click()
    assert page.locator("img, iframe, object, embed, link[rel=stylesheet]").count() == 0
    assert page.locator("script").count() == 3
    assert page.title() == HOSTILE[0]


def test_the_policy_holds(browser: Browser, report: Callable[[str], Path]) -> None:
    """What somehow got into the page could neither run nor send anything."""
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(report("lenet").as_uri())
    page.evaluate("""async () => {
        const script = document.createElement('script');
        script.textContent = 'window.ran = 1';
        document.body.append(script);
        const image = document.createElement('img');
        image.setAttribute('onerror', 'window.ran = 2');
        image.src = 'http://127.0.0.1:9/x.png';
        document.body.append(image);
        await fetch('http://127.0.0.1:9/').catch(() => {});
    }""")
    page.wait_for_timeout(50)
    assert page.evaluate("window.ran") is None
    assert sum("Content Security Policy" in one for one in said) >= 3, said
    page.close()


# ---------------------------------------------------------------- size


def busy(page: Page, client: CDPSession) -> float:
    """Seconds of a processor that the page has taken so far, however much else runs on the machine."""
    page.wait_for_timeout(100)
    found = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
    return float(found["TaskDuration"])


def test_a_thousand_nodes(browser: Browser, report: Callable[[str], Path]) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})
    start = busy(page, client)
    page.goto(report("thousand").as_uri())
    expect(page.locator(".graph .frame.closed").first).to_be_visible()
    opened = busy(page, client)
    page.locator("#search").fill("200.1")
    expect(page.locator("#found [data-node]").first).to_contain_text("200.1")
    page.keyboard.press("Enter")
    assert chosen(page).startswith("200.1")
    expect(page.locator('.graph .box[aria-pressed="true"]')).to_be_visible()
    found = busy(page, client)
    page.locator("#levels").select_option("all open")
    assert page.locator(".graph .box:not(.gone)").count() > 1000
    unfolded = busy(page, client)
    times = {"open": opened - start, "find": found - opened, "unfold": unfolded - found}
    assert 0 < max(times.values()) < 2, times
    page.close()
