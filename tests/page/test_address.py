"""What the page shows stands in its address: for links, reloads and the browser's own buttons."""

import pytest

from tests.page.browsing import (
    assert_no_complaint,
    choose,
    open_page,
    refs,
    seen,
    texts,
    tick,
    until,
)

pytestmark = [pytest.mark.network, pytest.mark.slow]
STATE = """
    return {
      filters: [...document.querySelectorAll('#filters [id^=filter]')].map(field => field.value),
      order: [...document.querySelectorAll('th')].map(head => head.getAttribute('aria-sort')),
      rows: [...byId("rows").children].map(row => row.id),
      ticked: [...byId("rows").children]
        .filter(row => row.querySelector("input").checked).map(row => row.id),
    }
"""


def test_filters_stand_in_the_address_and_are_kept_by_reload(browser, field_page):
    open_page(browser, field_page)
    choose(browser, "engine", "torch")
    assert "engine=torch" in browser.current_url
    browser.refresh()
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    browser.execute_script("location.hash = 'text=nothing+like+this'")
    until(browser, lambda driver: driver.find_element("id", "nothing").is_displayed())
    browser.find_element("id", "nothing-clear").click()
    until(browser, lambda driver: len(texts(driver, "Row")) == 5)


def test_all_that_was_chosen_is_kept_by_reload(browser, field_page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, field_page)
    choose(browser, "category", "")
    choose(browser, "engine", "lightning")
    choose(browser, "platform", "cpu")
    browser.find_element("id", "filter-text").send_keys("metal")
    until(browser, lambda driver: "text=metal" in driver.current_url)
    head = browser.find_element("css selector", "th[data-title='Whole run'] button")
    for _ in range(2):
        head.send_keys(Keys.ENTER)
    first, second = refs(browser)
    tick(browser, first)
    tick(browser, second)
    browser.find_element("css selector", f"[id='{second}'] .ref").send_keys(Keys.ENTER)
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    before = browser.execute_script(STATE)
    assert before["filters"] == ["metal", "", "lightning", "cpu"]
    assert before["order"][5] == "descending"
    assert before["ticked"] == [first, second]
    address = browser.current_url
    browser.refresh()
    until(browser, lambda driver: seen(driver, "tr.found"))
    assert browser.execute_script(STATE) == before
    assert browser.find_element("css selector", "tr.found").get_attribute("id") == second
    assert browser.current_url == address
    assert_no_complaint(browser)


def test_an_address_that_changes_is_followed_where_one_is(browser, field_page):
    open_page(browser, field_page)
    every = refs(browser)
    browser.execute_script("window.stayed = true")
    for address, shown in (
        ("platform=colab", [ref for ref in every if ref.startswith("colab")]),
        ("sort=-Training+time", every[::-1]),
        ("text=jetstream", [ref for ref in every if ref.startswith("jetstream")]),
        ("", every),
        ("engine=nobody&platform=&sort=no+such&row=none&compare=none,either&category=x", None),
        (every[-1], every),
        (f"row={every[0]}", every),
    ):
        browser.execute_script("location.hash = arguments[0]", address)
        if shown is None:
            until(browser, lambda driver: len(refs(driver)) == len(every) + 1)
        else:
            until(browser, lambda driver, shown=shown: refs(driver) == shown)
    until(browser, lambda driver: seen(driver, f"tr.found[id='{every[0]}']"))
    assert browser.execute_script("return window.stayed") is True
    assert_no_complaint(browser)
