"""What the tests of the page do in a browser, in a word each."""

from pathlib import Path

from mnist_gpu.records.run import Run
from mnist_gpu.report.page import page
from mnist_gpu.report.summary import summarise


def write_page(folder, records, **more):
    """The page of these records, as they are; `more` is told to `summarise`."""
    index = folder / "index.html"
    runs = [Run.of(Path("record.json"), record) for record in records]
    index.write_text(page(summarise(runs, **more)), encoding="utf-8")
    return index


def open_page(browser, path, address=""):
    """Open the page anew, drawn to the end; `address` goes behind its `#`."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get("about:blank")
    browser.get_log("browser")  # what was said of another page
    browser.get(path.as_uri() + address)
    WebDriverWait(browser, 60).until(
        lambda driver: driver.execute_script(
            "return document.querySelectorAll('.chart svg, .chart .note').length >= 4"
        )
    )


def until(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(condition)


def texts(browser, column):
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tr')].map("
        "row => row.querySelector(`td[data-heading='${arguments[0]}']`).innerText.trim())",
        column,
    )


def refs(browser):
    """The names of the rows shown, from top to bottom."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tr')].map(r => r.id)"
    )


def choose(browser, name, value):
    """Set one of the filters that one chooses from."""
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", f"filter-{name}")).select_by_value(value)


def tick(browser, ref):
    from selenium.webdriver.common.keys import Keys

    browser.find_element("css selector", f"[id='{ref}'] input").send_keys(Keys.SPACE)


def go_dark(browser):
    browser.find_element("id", "theme").click()


def seen(browser, selector):
    """Whether there is such an element and it takes room."""
    found = browser.find_elements("css selector", selector)
    return bool(found) and found[0].is_displayed()


def assert_no_complaint(browser):
    said = browser.get_log("browser")
    assert said == [], said
