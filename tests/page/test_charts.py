"""The charts of the page: what they draw, in which colours, on which scale."""

from itertools import pairwise

import pytest

from tests.page.browsing import assert_no_complaint, choose, open_page, seen, texts, write_page
from tests.summaries import A100, SU, on_devices, seeds

pytestmark = [pytest.mark.network, pytest.mark.slow]
TUNED = {"engine__division": "tuned", "engine__switches": {"channels_last": True}}


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


def test_efficiency_is_drawn_where_there_are_rows_on_several_devices(browser, field_page, tmp_path):
    section = "return document.getElementById('scaling').hidden"
    open_page(browser, field_page)
    assert browser.execute_script(section) is True
    records = [*on_devices(1, 8.0), *on_devices(2, 5.0), *on_devices(4, 4.0)]
    open_page(browser, write_page(tmp_path, records))
    assert browser.execute_script(section) is False
    drawn = "return [...document.querySelectorAll('#chart-scaling .mark')].map(m => m.dataset.tip)"
    tips = browser.execute_script(drawn)
    expected = ["1 device: 100 %", "2 devices: 80 %", "4 devices: 50 %"]
    assert all(text in tip for text, tip in zip(expected, tips, strict=True))
    assert_no_complaint(browser)


@pytest.mark.parametrize(
    ("records", "told_apart"),
    [
        (
            [*seeds(1), *seeds(1, engine="torch"), *seeds(1, platform="lab")],
            ("CPU on bare metal", "lab machine"),
        ),
        ([*seeds(1), *seeds(1, engine="torch")], ("lightning on", "torch on")),
        ([*seeds(1), *seeds(1, **TUNED)], ("lightning on", "tuned (")),
    ],
    ids=["platforms", "engines", "divisions"],
)
def test_colour_tells_what_is_compared(browser, tmp_path, records, told_apart):
    open_page(browser, write_page(tmp_path, records))
    bars = fills(browser)
    assert len(bars) == len(records)
    colours = [{fill for tip, fill in bars if name in tip} for name in told_apart]
    assert [len(of_one) for of_one in colours] == [1, 1]
    assert colours[0] != colours[1]


def test_two_platforms_in_sight_never_share_a_colour_however_many_there_are(browser, tmp_path):
    engines = {0: "torch", 8: "torch"}
    records = [
        make
        for n in range(10)
        for make in seeds(1, platform=f"p{n}", engine=engines.get(n, "lightning"))
    ]
    open_page(browser, write_page(tmp_path, records))
    choose(browser, "engine", "torch")
    assert len({fill for _, fill in fills(browser)}) == 2


def test_a_cost_chart_without_costs_takes_no_room(browser, tmp_path, field_page):
    boxes = (
        "return ['chart-accuracy-time', 'fronts'].map("
        "id => document.getElementById(id).getBoundingClientRect().width)"
    )
    open_page(browser, write_page(tmp_path, seeds()))
    assert not seen(browser, "#chart-accuracy-cost")
    width, whole = browser.execute_script(boxes)
    assert width == whole
    open_page(browser, field_page)
    beside = browser.execute_script(boxes)
    assert seen(browser, "#chart-accuracy-cost")
    assert (beside[0] < whole / 2) is (browser.size != "phone")
    choose(browser, "engine", "torch")
    assert not seen(browser, "#chart-accuracy-cost")
    assert browser.execute_script(boxes) == [whole, whole]
    choose(browser, "engine", "")
    assert seen(browser, "#chart-accuracy-cost")
    assert browser.execute_script(boxes) == beside


def test_tiny_costs_stay_on_an_axis_that_can_be_read(browser, tmp_path):
    prices = [{**SU, "unit": "USD", "amount_per_hour": amount} for amount in (1e-9, 1e-4, 10.0)]
    records = [
        record
        for n, price in enumerate(prices)
        for record in seeds(platform=f"p{n}", price=price, **A100)
    ]
    for count, shown in ((1, records[:5]), (3, records)):
        open_page(browser, write_page(tmp_path, shown))
        marks, (left, right), labels = browser.execute_script("""
            const chart = document.getElementById('chart-accuracy-cost');
            const box = element => element.getBoundingClientRect();
            const across = line => line.x1.baseVal.value !== line.x2.baseVal.value;
            const grid = box([...chart.querySelectorAll('.grid')].find(across));
            return [
              [...chart.querySelectorAll('.mark')].map(m => (box(m).left + box(m).right) / 2),
              [grid.left, grid.right],
              [...chart.querySelectorAll("text[text-anchor='middle']:not(.title)")]
                .map(text => [box(text).left, box(text).right, text.textContent]),
            ]
        """)
        assert len(marks) == count
        assert marks == sorted(marks)
        assert all(left <= mark <= right for mark in marks)
        assert len(labels) >= 2
        assert all(after[0] > before[1] for before, after in pairwise(labels))


def test_a_dollar_is_drawn_as_a_dollar_and_never_as_mathematics(browser, tmp_path):
    label = "rig $1$ x"
    records = seeds(1, platform="rig", platform__label=label)
    open_page(browser, write_page(tmp_path, records))
    choose(browser, "category", "")
    assert texts(browser, "Platform")[0].startswith(label)
    drawn = "return [...document.querySelectorAll('#chart-time text')].map(t => t.textContent)"
    assert any(text.startswith(label) for text in browser.execute_script(drawn))
    formulas = "return document.querySelectorAll('math, foreignObject, [class*=math]').length"
    assert browser.execute_script(formulas) == 0
    # what the font lacks is drawn as a box
    looks = browser.execute_script("""
        const canvas = document.createElement("canvas");
        const paper = canvas.getContext("2d", { willReadFrequently: true });
        const family = getComputedStyle(document.querySelector('.chart text')).fontFamily;
        const look = letter => {
          paper.clearRect(0, 0, 300, 150);
          paper.font = `40px ${family}`;
          paper.fillText(letter, 20, 90);
          return paper.getImageData(0, 0, 300, 150).data.join();
        };
        return ['$', '\\u{10fffd}', ' '].map(look);
    """)
    assert len(set(looks)) == 3


def fills(browser):
    """The tip and the colour of each bar of one chart."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#chart-used .mark')].map("
        "mark => [mark.dataset.tip, getComputedStyle(mark).fill])"
    )
