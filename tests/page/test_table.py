"""The table of the page: its columns, filters, order, folds, and the runs behind a row."""

import re
from pathlib import Path

import pytest

from mnist_gpu.report.published import find_published
from tests.page.browsing import (
    assert_no_complaint,
    choose,
    open_page,
    refs,
    seen,
    texts,
    until,
    write_page,
)
from tests.summaries import seeds

pytestmark = [pytest.mark.network, pytest.mark.slow]


def column_head(browser, title):
    return browser.find_element("css selector", f"th[data-title='{title}'] button")


def promised(browser):
    return browser.find_element("id", "promised").text


def test_the_table_sorts_by_every_column_in_both_directions(browser, field_page):
    open_page(browser, field_page)
    assert len(texts(browser, "Row")) == 5
    head = column_head(browser, "Training time")
    ascending = texts(browser, "Row")
    times = [float(text.split()[0].replace(",", "")) for text in texts(browser, "Training time")]
    assert times == sorted(times)
    head.click()
    assert texts(browser, "Row") == ascending[::-1]
    heading = head.find_element("xpath", "..")
    assert heading.get_attribute("aria-sort") == "descending"
    for title in (
        "Platform",
        "Trained by",
        "On",
        "Whole run",
        "Accuracy",
        "To 99 %",
        "n",
        "Row",
    ):
        orders = []
        for _ in range(2):
            column_head(browser, title).click()
            orders.append([text.splitlines()[0] for text in texts(browser, title)])
        assert orders[0] == orders[1][::-1], title
    column_head(browser, "Cost of a run").click()
    # only one row has a cost in dollars: it leads, whatever the direction
    assert "kaggle" in texts(browser, "Row")[-1] or "USD" in texts(browser, "Cost of a run")[0]
    assert_no_complaint(browser)


def test_the_table_filters_and_the_plots_follow(browser, field_page):
    open_page(browser, field_page)
    bars = "return document.querySelectorAll('#chart-phases text[text-anchor=end]').length"
    every = browser.execute_script(bars)
    browser.find_element("id", "filter-text").send_keys("jetstream a100")
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    assert browser.execute_script(bars) == every / 5
    browser.find_element("id", "filter-text").clear()
    browser.find_element("id", "filter-text").send_keys("nothing like this")
    until(browser, lambda driver: len(texts(driver, "Row")) == 0)
    assert "TBD, no standard run yet: Keras on JupyterHub" in promised(browser)
    assert "0 of 6 rows" in browser.find_element("id", "shown").text
    browser.execute_script("const f = document.getElementById('filter-text'); f.value = '';")
    choose(browser, "category", "deviating")
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    choose(browser, "category", "")
    choose(browser, "engine", "torch")
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    assert_no_complaint(browser)


def test_what_is_not_found_is_said_beside_a_button_that_clears_the_filters(browser, field_page):
    open_page(browser, field_page)
    every = refs(browser)
    assert not seen(browser, "#nothing")
    choose(browser, "platform", "colab")
    choose(browser, "engine", "torch")
    browser.find_element("id", "filter-text").send_keys("cpu")
    until(browser, lambda driver: seen(driver, "#nothing"))
    assert browser.find_element("id", "nothing").text.startswith("Nothing found.")
    assert not seen(browser, "#table")
    browser.find_element("id", "nothing-clear").click()
    assert refs(browser) == every
    assert not seen(browser, "#nothing")
    values = "return [...document.querySelectorAll('#filters [id^=filter]')].map(f => f.value)"
    assert browser.execute_script(values) == ["", "standard", "", ""]
    assert_no_complaint(browser)


def test_a_row_says_its_gates_outcome_its_version_commit_and_dates(browser, tmp_path):
    records = [*seeds(), *seeds(engine="torch", accuracy=0.981), *seeds(2, platform="lab")]
    reference = {record.run_id: record.result.test_accuracy for record in records[:5]}
    open_page(browser, write_page(tmp_path, records, reference=reference))
    outcomes = dict(zip(texts(browser, "Trained by"), texts(browser, "Gate"), strict=True))
    assert outcomes["torch"] == "not shown equivalent"
    assert sorted(texts(browser, "Gate")) == ["not judged", "not shown equivalent", "passes"]
    for origin in texts(browser, "Version, commit, date"):
        assert re.fullmatch(r"0\.1\.0, 0000000, [-\d]{10}( to [-\d]{10})?", origin)


def test_a_table_wider_than_the_screen_says_that_it_goes_on(browser, field_page):
    open_page(browser, field_page, "#text=nothing+like+this")
    assert not seen(browser, "#hint")
    browser.find_element("id", "nothing-clear").click()
    wider = "const s = document.getElementById('scroll'); return s.scrollWidth > s.clientWidth + 1"
    wide = browser.execute_script(wider)
    # on a phone a row is a card
    assert {"tablet": True, "phone": False}.get(browser.size, wide) is wide
    assert seen(browser, "#hint") is wide
    assert seen(browser, ".scroll.cut") is wide
    browser.execute_script("document.getElementById('scroll').scrollLeft = 9999")
    until(browser, lambda driver: not seen(driver, "#scroll.cut"))
    browser.find_element("id", "filter-text").send_keys("nothing like this")
    until(browser, lambda driver: seen(driver, "#nothing"))
    assert not seen(browser, "#hint")


def test_a_row_opens_its_runs_and_their_records_by_keyboard_alone(browser, field_page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, field_page)
    button = browser.find_element("css selector", "tr[id^=jetstream] .ref")
    button.send_keys(Keys.ENTER)
    dialog = browser.find_element("id", "dialog")
    assert dialog.is_displayed()
    assert "Jetstream2" in browser.find_element("id", "dialog-title").text
    assert "64 SU/h" in dialog.text
    summary = dialog.find_elements("css selector", "summary")[0]
    summary.send_keys(Keys.ENTER)
    until(browser, lambda _: "weights_sha256" in dialog.text)
    assert "results/" not in dialog.text
    summary.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    assert browser.switch_to.active_element == button
    assert_no_complaint(browser)


def test_a_finding_leads_to_its_rows(browser, field_page):
    open_page(browser, field_page)
    choose(browser, "category", "deviating")
    browser.find_element("css selector", "#finding-list a").click()
    found = browser.find_elements("css selector", "#rows tr.found")
    assert len(found) == 1
    assert f"row={found[0].get_attribute('id')}" in browser.current_url
    assert_no_complaint(browser)


def test_tuned_rows_are_folded_under_their_stock_row_and_shown_by_keyboard(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    switched = {"engine__division": "tuned", "engine__switches": {"channels_last": True}}
    records = [*seeds(3), *seeds(3, epoch_s=7.0, **switched)]
    open_page(browser, write_page(tmp_path, records))
    assert len(texts(browser, "Row")) == 1
    for expanded, count in (("false", 1), ("true", 2), ("false", 1)):
        fold = browser.find_element("css selector", ".fold")
        assert fold.get_attribute("aria-expanded") == expanded
        assert len(texts(browser, "Row")) == count
        fold.send_keys(Keys.ENTER)
        assert browser.switch_to.active_element.get_attribute("class") == "fold"
    assert "channels_last" in " ".join(texts(browser, "Trained by"))
    assert_no_complaint(browser)


def test_the_training_time_is_in_sight_before_anybody_scrolls_the_table(browser, field_page):
    open_page(browser, field_page)
    edges = browser.execute_script(
        "return [document.querySelector(`#rows td[data-heading='Training time']`), byId('scroll')]"
        ".map(place => place.getBoundingClientRect().right)"
    )
    assert edges[0] <= edges[1]


def test_what_others_publish_stands_folded_under_its_own_heading(browser, tmp_path, field_page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, field_page)
    assert not seen(browser, "#published")
    published = find_published([Path(__file__).parents[2] / "results"])
    open_page(browser, write_page(tmp_path, seeds(), published=published))
    section = browser.find_element("id", "published")
    assert "none of it run by this project" in section.text
    assert not seen(browser, "#published-table")
    section.find_element("css selector", "summary").send_keys(Keys.ENTER)
    rows = browser.find_elements("css selector", "#published-table tbody tr")
    assert len(rows) == len(published.entries)
    assert published.entries[0].hardware in rows[0].text
    assert len(refs(browser)) == 1
    needed, there = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert needed <= there
    assert_no_complaint(browser)
