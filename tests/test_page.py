"""The page in a real browser: at a desk and on a phone, by mouse and by keyboard, unharmed by lies.

Needs Debian's chromium and chromium-driver: tests/system_packages.sh installs them where it can.
"""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from mnist_gpu.records.run import Run
from mnist_gpu.report.__main__ import main
from mnist_gpu.report.page import page
from mnist_gpu.report.summary import summarise
from tests.records import make_document, make_record, write_records
from tests.test_report import A100, CU, FREE, SU, on_devices, seeds

pytestmark = [pytest.mark.network, pytest.mark.slow]
SIZES = {"desk": (1280, 900), "tablet": (820, 1180), "phone": (390, 844)}
# everything a browser could be made to run, and the ways out of every place a text stands in
EVIL = (
    "</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>"
    "\"'><svg onload=window.hurt=1>${window.hurt=1}{{constructor}}%{x}&lt;b&gt;"
    "<a href='javascript:1'>%{customdata}<b onclick=window.hurt=1>"
)


@pytest.fixture(scope="session")
def chromium():
    """Skip with the reason where there is no browser to be had."""
    pytest.importorskip("selenium", reason="pip install selenium drives the browser")
    script = Path(__file__).parent / "system_packages.sh"
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no browser: {done.stderr.strip()}")


@pytest.fixture(scope="session")
def axe(request, tmp_path_factory):
    """The source of axe-core, from npm; kept in pytest's cache."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("axe-core") if cache else tmp_path_factory.mktemp("axe-core")
    kept = folder / "axe.min.js"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm to fetch axe-core with")
        command = [npm, "pack", "axe-core@4", "--pack-destination", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no axe-core: {done.stderr.strip()[-200:]}")
        [packed] = folder.glob("axe-core-*.tgz")
        with tarfile.open(packed) as archive:
            source = archive.extractfile("package/axe.min.js")
            assert source is not None
            kept.write_bytes(source.read())
    return kept.read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=sorted(SIZES))
def browser(chromium, request):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    width, height = SIZES[request.param]
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(prefix="mnist-gpu-browser") as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--force-prefers-reduced-motion",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(argument)
        if request.param != "desk":
            metrics = {"width": width, "height": height, "pixelRatio": 2.0}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
        try:
            yield driver
        finally:
            driver.quit()


@pytest.fixture(scope="module")
def field_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    records = [
        *seeds(),
        *seeds(engine="torch", epoch_s=8.8),
        *seeds(platform="jetstream", kind="hpc", epoch_s=1.9, price=SU, **A100),
        *seeds(platform="colab", kind="cloud", engine="tensorflow", epoch_s=20.0, price=CU),
        *seeds(count=1, platform="kaggle", kind="cloud", epoch_s=7.0, price=FREE),
        *seeds(count=2, epochs=3),
    ]
    write_records(folder / "results", records)
    assert main([str(folder / "results"), "--out", str(folder / "out")]) == 0
    return folder / "out" / "index.html"


def open_page(browser, path):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(path.as_uri())
    WebDriverWait(browser, 60).until(
        lambda driver: driver.execute_script(
            "return document.querySelectorAll('.chart svg').length >= 4"
        )
    )


def texts(browser, column):
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tr')].map("
        "row => row.querySelector(`td[data-heading='${arguments[0]}']`).innerText.trim())",
        column,
    )


def column_head(browser, title):
    return browser.find_element("css selector", f"th[data-title='{title}'] button")


def promised(browser):
    return browser.find_element("id", "promised").text


def until(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(condition)


def assert_no_complaint(browser):
    assert browser.get_log("browser") == []


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
        "Gate",
        "To 99 %",
        "n",
        "Row",
    ):
        column_head(browser, title).click()
        assert sorted(texts(browser, "Row")) == sorted(ascending), title
    column_head(browser, "Cost of a run").click()
    # only one row has a cost in dollars: it leads, whatever the direction
    assert "kaggle" in texts(browser, "Row")[-1] or "USD" in texts(browser, "Cost of a run")[0]
    assert_no_complaint(browser)


def test_the_table_filters_and_the_plots_follow(browser, field_page):
    from selenium.webdriver.support.ui import Select

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
    Select(browser.find_element("id", "filter-category")).select_by_value("deviating")
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    Select(browser.find_element("id", "filter-category")).select_by_value("")
    Select(browser.find_element("id", "filter-engine")).select_by_value("torch")
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    assert_no_complaint(browser)


def test_pointing_at_a_run_tells_about_it(browser, field_page):
    open_page(browser, field_page)
    said = {
        "chart-time": "seed",
        "chart-accuracy-time": "n = 5",
        "chart-curves": "seed 4, epoch 26: 99.1",
        "chart-phases": "training: 95.5 s",
        "chart-used": "380 (median, n = 5)",
    }
    point = (
        "const found = [...document.querySelectorAll(`#${arguments[0]} .mark`)]"
        ".find(mark => mark.dataset.tip.includes(arguments[1]));"
        "found.dispatchEvent(new PointerEvent('pointermove', {bubbles: true}));"
        "return document.getElementById('tip').textContent"
    )
    for chart, text in said.items():
        assert text in browser.execute_script(point, chart, text), chart
    assert browser.find_element("id", "tip").is_displayed()
    assert_no_complaint(browser)


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
    from selenium.webdriver.support.ui import Select

    open_page(browser, field_page)
    Select(browser.find_element("id", "filter-category")).select_by_value("deviating")
    browser.find_element("css selector", "#finding-list a").click()
    found = browser.find_elements("css selector", "#rows tr.found")
    assert len(found) == 1
    assert f"row={found[0].get_attribute('id')}" in browser.current_url
    assert_no_complaint(browser)


def test_efficiency_is_drawn_where_there_are_rows_on_several_devices(browser, field_page, tmp_path):
    section = "return document.getElementById('scaling').hidden"
    open_page(browser, field_page)
    assert browser.execute_script(section) is True
    index = tmp_path / "index.html"
    records = [*on_devices(1, 8.0), *on_devices(2, 5.0), *on_devices(4, 4.0)]
    runs = [Run.of(Path("record.json"), record) for record in records]
    index.write_text(page(summarise(runs)), encoding="utf-8")
    open_page(browser, index)
    assert browser.execute_script(section) is False
    drawn = "return [...document.querySelectorAll('#chart-scaling .mark')].map(m => m.dataset.tip)"
    tips = browser.execute_script(drawn)
    expected = ["1 device: 100 %", "2 devices: 80 %", "4 devices: 50 %"]
    assert all(text in tip for text, tip in zip(expected, tips, strict=True))
    assert_no_complaint(browser)


def test_two_rows_ticked_by_keyboard_are_compared_as_on_the_command_line(browser, tmp_path, capsys):
    from selenium.webdriver.common.keys import Keys

    # counts odd and even, for which medians are drawn in two ways; one measure that is not known
    records = [
        *seeds(
            4,
            resources__energy_j=31_234.5,
            resources__energy_source="RAPL package counters (the whole processor)",
        ),
        *seeds(engine="torch", epoch_s=8.8),
        *seeds(platform="lab", epoch_s=9.5),
        *seeds(2, engine="keras", epoch_s=12.0),
    ]
    results = write_records(tmp_path / "results", records)
    assert main([str(results), "--out", str(tmp_path / "out")]) == 0
    open_page(browser, tmp_path / "out" / "index.html")
    refs = texts(browser, "Row")
    for names in ([refs[0], refs[1]], [refs[0], refs[2]], [refs[2], refs[3]]):
        browser.execute_script("location.hash = ''")
        until(browser, lambda _: browser.find_element("id", "pick").text == "")
        for name in [row.split()[0] for row in names]:
            browser.find_element("css selector", f"[id='{name}'] input").send_keys(Keys.SPACE)
        browser.find_element("css selector", "#pick button").send_keys(Keys.ENTER)
        dialog = browser.find_element("id", "dialog")
        shown = dialog.find_elements("css selector", "dl")[1].find_elements("css selector", "*")
        said = [entry.text for entry in shown]
        lines = [f"- {a}: {b}" for a, b in zip(said[::2], said[1::2], strict=True)]
        capsys.readouterr()
        assert main([str(results), "--compare", *[row.split()[0] for row in names]]) == 0
        told = capsys.readouterr().out.split("ratios of medians:\n")[1].split("\n\n")[0]
        if "keras" in " ".join(names):
            assert "without an interval: it takes 3 runs on both sides" in lines[2]
            # over epochs the command line knows more than the page carries
            told, lines = told.splitlines()[2:], lines[2:]
            assert lines == told
        else:
            assert "95 % interval" in lines[0]
            assert lines == told.splitlines()
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert_no_complaint(browser)


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


def test_tuned_rows_are_folded_under_their_stock_row_and_shown_by_keyboard(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    switched = {"engine__division": "tuned", "engine__switches": {"channels_last": True}}
    records = [*seeds(3), *seeds(3, epoch_s=7.0, **switched)]
    runs = [Run.of(Path("record.json"), record) for record in records]
    index = tmp_path / "index.html"
    index.write_text(page(summarise(runs)), encoding="utf-8")
    open_page(browser, index)
    assert len(texts(browser, "Row")) == 1
    for expanded, count in (("false", 1), ("true", 2), ("false", 1)):
        fold = browser.find_element("css selector", ".fold")
        assert fold.get_attribute("aria-expanded") == expanded
        assert len(texts(browser, "Row")) == count
        fold.send_keys(Keys.ENTER)
        assert browser.switch_to.active_element.get_attribute("class") == "fold"
    assert "channels_last" in " ".join(texts(browser, "Trained by"))
    assert_no_complaint(browser)


def test_filters_stand_in_the_address_and_are_kept_by_reload(browser, field_page):
    from selenium.webdriver.support.ui import Select

    open_page(browser, field_page)
    Select(browser.find_element("id", "filter-engine")).select_by_value("torch")
    assert "engine=torch" in browser.current_url
    browser.refresh()
    until(browser, lambda driver: len(texts(driver, "Row")) == 1)
    browser.execute_script("location.hash = 'text=nothing+like+this'")
    until(browser, lambda driver: driver.find_element("id", "nothing").is_displayed())
    browser.find_element("id", "nothing-clear").click()
    until(browser, lambda driver: len(texts(driver, "Row")) == 5)


def test_odd_ids_labels_and_costs_harm_neither_table_nor_charts(browser, tmp_path):
    price = {**SU, "unit": "USD", "amount_per_hour": 1e-9}
    records = [make_record(run_id="constructor"), *seeds(platform="tiny", price=price, **A100)]
    runs = [Run.of(Path("record.json"), record) for record in records]
    runs[0].record.platform.__dict__["label"] = "W" * 300
    index = tmp_path / "index.html"
    index.write_text(page(summarise(runs)), encoding="utf-8")
    open_page(browser, index)
    needed, there = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert needed <= there
    inside = browser.execute_script(
        "return [...document.querySelectorAll('#chart-accuracy-cost .mark')].map(m => {"
        "const [a, b] = [m.getBoundingClientRect(), m.ownerSVGElement.getBoundingClientRect()];"
        "return a.left >= b.left && a.right <= b.right})"
    )
    assert inside
    assert all(inside)
    assert_no_complaint(browser)


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(browser, field_page, axe, dark):
    open_page(browser, field_page)
    if dark:
        browser.find_element("id", "theme").click()
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run().then(({violations}) => done(violations.map(v => [v.impact, v.id])))"
    )
    assert [entry for entry in found if entry[0] in ("serious", "critical")] == []


def test_nothing_is_cut_off_at_the_side_and_everything_has_a_name(browser, field_page):
    open_page(browser, field_page)
    widths = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    needed, there = browser.execute_script(widths)
    assert needed <= there
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


def test_a_record_full_of_markup_and_script_runs_nothing(browser, tmp_path):
    records = []
    for seed in range(2):
        document = make_document(seed=seed, **A100)
        poison(document)
        records.append(document)
    runs = [Run.of(Path("record.json"), unchecked(document)) for document in records]
    index = tmp_path / "index.html"
    index.write_text(page(summarise(runs)), encoding="utf-8")
    open_page(browser, index)
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", "filter-category")).select_by_value("")
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
    runs = [Run.of(Path("record.json"), record) for record in records]
    index = tmp_path / "index.html"
    index.write_text(page(summarise(runs)), encoding="utf-8")
    assert index.stat().st_size < 4_000_000
    open_page(browser, index)
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", "filter-category")).select_by_value("")
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
