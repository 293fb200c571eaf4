"""How the page looks: contrast in both themes, nothing cut off, all named, what comes first."""

from pathlib import Path

import pytest

from tests.page.browsing import (
    assert_no_complaint,
    go_dark,
    open_page,
    refs,
    seen,
    until,
    write_page,
)
from tests.summaries import seeds

pytestmark = [pytest.mark.network, pytest.mark.slow]
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
STATES = ("at first", "a row opened", "two rows compared", "nothing found")
by_theme = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


def show(browser, path, state, dark):
    """Open the page, and make of it what a reader would."""
    from selenium.webdriver.common.keys import Keys

    address = {"nothing found": "#text=nothing+like+this"}.get(state, "")
    open_page(browser, path, address)
    if state == "two rows compared":
        browser.execute_script(
            "location.hash = arguments[0]", f"compare={','.join(refs(browser)[:2])}"
        )
        until(browser, lambda driver: seen(driver, "#pick button"))
    if dark:
        go_dark(browser)
    button = {"a row opened": "#rows .ref", "two rows compared": "#pick button"}.get(state)
    if button:
        browser.find_element("css selector", button).send_keys(Keys.ENTER)
    if state == "a row opened":
        browser.find_element("css selector", "#dialog summary").send_keys(Keys.ENTER)


def test_the_theme_switches_page_and_plots(browser, field_page):
    open_page(browser, field_page)
    look = (
        "return [getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('.chart text')).fill,"
        " document.getElementById('theme').getAttribute('aria-pressed')]"
    )
    light = browser.execute_script(look)
    browser.find_element("id", "theme").click()
    dark = browser.execute_script(look)
    assert light == ["rgb(255, 255, 255)", "rgb(27, 31, 36)", "false"]
    assert dark == ["rgb(20, 23, 27)", "rgb(230, 233, 237)", "true"]
    assert_no_complaint(browser)


@by_theme
def test_texts_stand_out_by_four_and_a_half_wherever_they_are(browser, field_page, dark):
    for state in STATES:
        show(browser, field_page, state, dark)
        count, faint = browser.execute_script(f"{CONTRAST}; return faintTexts(4.5)")
        assert count > 30
        assert faint == [], state


@by_theme
def test_marks_lines_and_bars_stand_out_by_three_in_every_colour(browser, tmp_path, dark):
    records = [*seeds(3), *seeds(3, platform="lab", epoch_s=1.0, accuracy=0.981)]
    reference = {record.run_id: record.result.test_accuracy for record in records[:3]}
    open_page(browser, write_page(tmp_path, records, reference=reference))
    if dark:
        go_dark(browser)
    count, faint = browser.execute_script(f"{CONTRAST}; return faintMarks(3)")
    assert count > 30
    assert faint == []


@by_theme
def test_axe_finds_nothing_serious(browser, field_page, axe, dark):
    for state in STATES:
        show(browser, field_page, state, dark)
        browser.execute_script(axe)
        found = browser.execute_async_script(
            "const done = arguments[0];"
            "axe.run().then(({violations}) => done(violations.map(v => [v.impact, v.id])))"
        )
        assert [entry for entry in found if entry[0] in ("serious", "critical")] == [], state


def test_results_come_within_the_first_screen_and_before_the_findings(browser, field_page):
    open_page(browser, field_page)
    browser.execute_script("scrollTo(0, 0)")
    row, findings, screen = browser.execute_script(
        "return [...['#rows td', '#findings'].map("
        "place => document.querySelector(place).getBoundingClientRect().bottom), innerHeight]"
    )
    assert row < screen
    assert row < findings


def test_nothing_is_cut_off_at_the_side_and_everything_has_a_name(browser, field_page):
    widths = (
        "return [document.documentElement, byId('dialog'), byId('pick')].map("
        "place => place.scrollWidth - place.clientWidth)"
    )
    for state in STATES:
        show(browser, field_page, state, dark=False)
        assert max(browser.execute_script(widths)) <= 0, state
    open_page(browser, field_page)
    cut = browser.execute_script(
        "return [...document.querySelectorAll('.chart text')].filter(text => {"
        "const [a, b] = [text, text.ownerSVGElement].map(e => e.getBoundingClientRect());"
        "return a.left < b.left - 1 || a.right > b.right + 1}).map(text => text.textContent)"
    )
    assert cut == []
    nameless = browser.execute_script(
        "return [...document.querySelectorAll('button, select, input, [role=img], section')]"
        ".filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')"
        " || e.innerText || e.closest('label'))).map(e => e.outerHTML.slice(0, 80))"
    )
    assert nameless == []
