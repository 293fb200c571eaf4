"""Two rows ticked and compared, as on the command line."""

import pytest

from mnist_gpu.report.__main__ import main
from tests.page.browsing import assert_no_complaint, choose, open_page, refs, tick, until
from tests.records import write_records
from tests.summaries import seeds

pytestmark = [pytest.mark.network, pytest.mark.slow]


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
    rows = refs(browser)
    for names in ([rows[0], rows[1]], [rows[0], rows[2]], [rows[2], rows[3]]):
        browser.execute_script("location.hash = ''")
        until(browser, lambda _: browser.find_element("id", "pick").text == "")
        for name in names:
            tick(browser, name)
        browser.find_element("css selector", "#pick button").send_keys(Keys.ENTER)
        dialog = browser.find_element("id", "dialog")
        shown = dialog.find_elements("css selector", "dl")[1].find_elements("css selector", "*")
        said = [entry.text for entry in shown]
        [_, limits] = dialog.find_elements("css selector", "ul")
        lines = [f"- {a}: {b}" for a, b in zip(said[::2], said[1::2], strict=True)]
        capsys.readouterr()
        assert main([str(results), "--compare", *names]) == 0
        out = capsys.readouterr().out
        told = out.split("ratios of medians:\n")[1].split("\n\n")[0]
        told_limits = out.split("cannot be concluded:\n")[1].splitlines()
        if "keras" in " ".join(names):
            assert "without an interval: it takes 3 runs on both sides" in lines[2]
            # over epochs the command line knows more than the page carries
            told, lines = told.splitlines()[2:], lines[2:]
            assert lines == told
        else:
            assert "95 % interval" in lines[0]
            assert lines == told.splitlines()
            # which differences there are, records know better than the page
            both = ([f"- {line}" for line in limits.text.splitlines()], told_limits)
            ours, theirs = ([line for line in of if "differ" not in line] for of in both)
            assert ours == theirs
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert_no_complaint(browser)


def test_one_tick_asks_for_another_and_a_third_takes_the_place_of_the_first(browser, field_page):
    open_page(browser, field_page)
    first, second, third, *_ = refs(browser)
    pick = browser.find_element("id", "pick")
    assert pick.text == ""
    tick(browser, first)
    assert pick.text == f"{first} ticked: tick another row to compare them."
    tick(browser, second)
    assert pick.text == f"Compare {first} with {second}"
    tick(browser, third)
    assert pick.text == f"Compare {second} with {third}"
    ticked = browser.find_elements("css selector", "#rows input:checked")
    assert len(ticked) == 2
    tick(browser, second)
    assert pick.text == f"{third} ticked: tick another row to compare them."


def test_rows_of_other_epochs_are_told_to_be_compared_by_the_epoch(browser, field_page, capsys):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, field_page)
    choose(browser, "category", "")
    long = next(ref for ref in refs(browser) if ref.startswith("cpu-torch"))
    choose(browser, "category", "deviating")
    [short] = refs(browser)
    tick(browser, short)
    choose(browser, "category", "")
    tick(browser, long)
    browser.find_element("css selector", "#pick button").send_keys(Keys.ENTER)
    said = "the numbers of epochs differ: compare the time of an epoch"
    assert said in browser.find_element("id", "dialog").text
    results = field_page.parents[1] / "results"
    assert main([str(results), "--compare", short, long]) == 0
    assert said in capsys.readouterr().out
