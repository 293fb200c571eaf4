"""What others send harms the page in no way: markup, odd names, long labels, many records."""

import pytest

from tests.page.browsing import assert_no_complaint, choose, open_page, texts, until, write_page
from tests.records import make_document, make_record
from tests.summaries import A100, seeds

pytestmark = [pytest.mark.network, pytest.mark.slow]
# everything a browser could be made to run, and the ways out of every place a text stands in
EVIL = (
    "</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>"
    "\"'><svg onload=window.hurt=1>${window.hurt=1}{{constructor}}%{x}&lt;b&gt;"
    "<a href='javascript:1'>%{customdata}<b onclick=window.hurt=1>"
)


def test_long_labels_push_nothing_off_the_screen(browser, tmp_path):
    label = "W" * 300
    records = [*seeds(3), *seeds(3, platform="lab", epoch_s=8.0, platform__label="lab")]
    records[-3].platform.__dict__["label"] = label
    open_page(browser, write_page(tmp_path, records))
    [shown] = [text for text in texts(browser, "Platform") if text.startswith("WWW")]
    assert len(shown.splitlines()[0]) <= 60
    needed, there, cell, outside = browser.execute_script("""
        const { scrollWidth, clientWidth } = document.documentElement;
        const box = element => element.getBoundingClientRect();
        return [scrollWidth, clientWidth, box(document.querySelector('#rows td.wide')).width,
          [...document.querySelectorAll('.chart text')].filter(text =>
            box(text).left < box(text.ownerSVGElement).left - 1).map(text => text.textContent)]
    """)
    assert needed <= there
    assert cell <= (there if browser.size == "phone" else 330)
    assert outside == []
    assert_no_complaint(browser)


@pytest.mark.parametrize("most", [80, 0])
def test_an_id_that_every_object_knows_stops_no_chart(browser, tmp_path, monkeypatch, most):
    # what the page does not carry is looked for in vain, under whatever name
    monkeypatch.setattr("mnist_gpu.report.page.MOST_DETAILS", most)
    records = [make_record(run_id="constructor"), make_record(seed=1), make_record(seed=2)]
    open_page(browser, write_page(tmp_path, records))
    charts = "return document.querySelectorAll('.chart svg').length"
    assert browser.execute_script(charts) == (5 if most else 4)
    assert len(browser.find_elements("css selector", "#chart-time .mark")) == 1 + len(records)
    browser.find_element("css selector", "#rows .ref").click()
    for summary in browser.find_elements("css selector", "#dialog summary"):
        summary.click()
    told = "weights_sha256" if most else "its record is not on this page"
    until(browser, lambda driver: driver.find_element("id", "dialog").text.count(told) == 3)
    assert_no_complaint(browser)


def test_a_record_full_of_markup_and_script_runs_nothing(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    records = []
    for seed in range(2):
        document = make_document(seed=seed, **A100)
        poison(document)
        records.append(unchecked(document))
    open_page(browser, write_page(tmp_path, records))
    choose(browser, "category", "")
    until(browser, lambda driver: len(texts(driver, "Row")) >= 1)
    browser.execute_script(
        "document.querySelectorAll('.mark').forEach("
        "mark => mark.dispatchEvent(new PointerEvent('pointermove', {bubbles: true})))"
    )
    browser.find_element("css selector", "#rows .ref").send_keys(Keys.ENTER)
    summary = browser.find_elements("css selector", "#dialog summary")[0]
    summary.send_keys(Keys.ENTER)
    until(browser, lambda driver: "weights_sha256" in driver.find_element("id", "dialog").text)
    assert "</script><script>" in browser.find_element("id", "dialog").text
    assert browser.execute_script("return window.hurt") is None
    made = "return document.querySelectorAll('img, iframe, object, [onclick], [onerror]').length"
    assert browser.execute_script(made) == 0
    links = "return [...document.links].filter(a => !/^(https:|file:)/.test(a.href)).length"
    assert browser.execute_script(links) == 0
    assert_no_complaint(browser)


def test_ten_thousand_records_still_make_a_page_that_answers(browser, tmp_path):
    records = [
        make_record(seed=n % 5, platform=f"p{n // 5}", epochs=2, epoch_s=9 + n / 9999)
        for n in range(10_000)
    ]
    index = write_page(tmp_path, records)
    assert index.stat().st_size < 4_000_000
    open_page(browser, index)
    choose(browser, "category", "")
    until(browser, lambda driver: len(texts(driver, "Row")) == 50)
    browser.find_element("id", "more").click()
    assert len(texts(browser, "Row")) == 100
    browser.find_element("id", "filter-text").send_keys("p1999")
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    assert_no_complaint(browser)


def poison(value):
    """Put the evil text into every string, and every free key, of a record."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        if isinstance(inner, str):
            value[key] = EVIL
        elif isinstance(inner, (dict, list)):
            poison(inner)
    if isinstance(value, dict) and "numpy" in value:
        value[EVIL] = EVIL


def unchecked(document):
    """A record whose texts no schema has seen."""
    from mnist_gpu.records.schema import EpochRecord, Record

    clean = Record.model_validate(make_document())
    kept = {"created_at": "2026-11-20T10:00:00Z", "status": "completed"}
    parts = {
        name: getattr(clean, name).__class__.model_construct(**document[name])
        for name in type(clean).model_fields
        if isinstance(document.get(name), dict)
    }
    loose = {name: value for name, value in document.items() if not isinstance(value, dict)}
    rows = [EpochRecord.model_construct(**row) for row in document["epochs"]]
    return Record.model_construct(**(loose | parts | kept | {"epochs": rows}))
