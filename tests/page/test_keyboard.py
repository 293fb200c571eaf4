"""The charts by keyboard alone: every point can be reached and says what it is."""

import pytest

from tests.page.browsing import assert_no_complaint, open_page

pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_every_point_of_a_chart_is_reached_by_keyboard_and_says_what_it_is(browser, field_page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, field_page)
    charts = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].filter(c => c.querySelector('.mark'))"
    )
    assert len(charts) >= 5
    for chart in charts:
        marks = chart.find_elements("css selector", ".mark")
        stops = chart.find_elements("css selector", ".mark[tabindex='0']")
        assert stops == marks[:1]
        assert all(mark.accessible_name for mark in marks[:3])
        browser.execute_script("arguments[0].focus()", marks[0])
        for wanted, key in ((1, Keys.ARROW_RIGHT), (0, Keys.ARROW_UP), (-1, Keys.END)):
            browser.switch_to.active_element.send_keys(key)
            focused = browser.switch_to.active_element
            assert focused == marks[min(wanted, len(marks) - 1)]
            tip = browser.find_element("id", "tip")
            assert tip.text == focused.get_attribute("data-tip")
            assert tip.text.replace("\n", "; ") == focused.accessible_name
        focused.send_keys(Keys.ESCAPE)
        assert not tip.is_displayed()
        assert chart.find_elements("css selector", ".mark[tabindex='0']") == [marks[-1]]
    assert_no_complaint(browser)


def test_tab_goes_from_the_table_through_the_charts(browser, field_page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, field_page)
    browser.execute_script("document.querySelector('#finding-list li:last-child a').focus()")
    reached = []
    for _ in range(12):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(
            browser.execute_script("return document.activeElement.closest('.chart')?.id ?? ''")
        )
    assert {"chart-time", "chart-accuracy-time", "chart-curves", "chart-phases"} <= set(reached)
