"""The page of a real study in a real browser: it works, it is accessible, it stays at home."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wheresight.stimuli.benchmarks import open_benchmark

expect = pytest.importorskip("playwright.sync_api").expect  # waits, where an event comes late

Open = Callable[..., Any]


@pytest.fixture
def address(page_file: Path) -> str:
    return page_file.as_uri()


@pytest.fixture(scope="session")
def data(page_file: Path) -> dict[str, Any]:
    """What the browser of samples reads."""
    text = page_file.read_text("utf-8")
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


def control(page: Any, name: str) -> Any:
    return page.locator(f".filters [name={name}]")


def shown(page: Any) -> int:
    return int(page.locator(".count").text_content().split()[0].replace(",", ""))


def test_it_is_one_file_that_says_what_it_holds(opened: Open, address: str, page_file: Path):
    page = opened(address)
    assert page.title() == "Wheresight study: pocket"
    assert page.locator("article.part").count() == 4
    for link in page.locator("nav a").all():
        assert page.locator(f"[id='{link.get_attribute('href')[1:]}']").count() == 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    assert page_file.stat().st_size < 5_000_000


def test_filters_count_what_the_answers_say(opened: Open, address: str, data: dict[str, Any]):
    page = opened(address)
    samples = data["samples"]
    assert shown(page) == len(samples) == 24
    control(page, "show").select_option("alarms")
    alarms = [s for s in samples if not s["e"] and any("y" in a for a in s["a"])]
    assert shown(page) == len(alarms)
    control(page, "show").select_option("flips")
    control(page, "spec").select_option("bapa")
    flips = [s for s in samples if s["e"] and len(set(s["a"][1])) > 1]
    assert shown(page) == len(flips)
    control(page, "show").select_option("all samples")
    control(page, "kind").select_option("sibling")
    assert shown(page) == 8
    control(page, "kind").select_option("any question")
    control(page, "text").fill(samples[0]["c"].upper())
    assert shown(page) == sum(samples[0]["c"] in s["c"] for s in samples)
    control(page, "text").fill("no caption has this")
    assert shown(page) == 0


def test_a_sample_shows_its_composites_margins_and_attention(
    opened: Open, address: str, data: dict[str, Any]
):
    page = opened(address)
    mapped = next(iter(data["maps"][0]["of"]))
    item = mapped.split()[0]
    control(page, "text").fill(item)
    control(page, "kind").select_option("positive")
    page.locator(".sample-list summary").first.click()
    composites = page.locator(".sample-list .composites > li")
    expect(composites).to_have_count(9)
    expect(page.locator(".sample-list .tile")).to_have_count(81)
    page.wait_for_function(
        "[...document.querySelectorAll('.sample-list .tile')].every((one) => one.naturalWidth > 0)"
    )
    sample = next(s for s in data["samples"] if s["i"] == item and s["q"] == 0)
    said = composites.nth(4).locator(".margin").all_text_contents()
    assert [float(text.replace("−", "-")) for text in said] == [row[4] for row in sample["m"]]
    # The key's own tile stands in the frame.
    key = sample["t"][data["plans"][sample["p"]][0][1].index("0")]
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('.sample-list .thumb')].map((thumb) => {
            const key = thumb.querySelector('.key').getBoundingClientRect();
            return [...thumb.querySelectorAll('.tile')].findIndex((tile) => {
                const box = tile.getBoundingClientRect();
                return Math.abs(box.left - key.left) + Math.abs(box.top - key.top) < 2;
            });
        })"""
    )
    assert boxes == list(range(9))
    pictures = [
        composites.nth(cell).locator(".tile").nth(cell).get_attribute("src") for cell in range(9)
    ]
    assert set(pictures) == {data["tiles"][key]}
    control(page, "map").select_option("0")
    expect(page.locator(".sample-list .overlay")).to_have_count(9)
    darkness = page.evaluate(
        """() => [...document.querySelectorAll('.sample-list .overlay')].map((one) => {
            const all = one.getContext('2d').getImageData(0, 0, one.width, one.height).data;
            const alpha = [...all].filter((_, n) => n % 4 === 3);
            return [Math.min(...alpha), Math.max(...alpha)];
        })"""
    )
    assert all(least == 0 and most > 100 for least, most in darkness)


def test_pointing_at_a_place_and_arrow_keys_tell_its_numbers(opened: Open, address: str):
    page = opened(address)
    region = page.locator("[data-map]:has(td)").first
    tip = page.locator("#tip")
    assert tip.is_hidden()
    cell = region.locator("td[data-tip]").nth(4)
    cell.hover()
    said = tip.locator("span").all_text_contents()
    assert tip.locator("b").text_content() == "row 2, column 2; none"
    assert said[0].startswith("Balanced accuracy: ") and "AUC" in said[3]
    value = cell.locator(".value").text_content()
    assert said[0].startswith(f"Balanced accuracy: {value}%")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    region.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.locator(".pointed[data-tip^='row 2']").wait_for()
    assert tip.is_visible()


def point_at(page: Any, spots: Any, number: int) -> list[str]:
    """Point at a shape that has no size but its stroke's; return what the page says then."""
    x, y = spots.nth(number).evaluate(
        """(one) => {
            one.scrollIntoView({block: "center", behavior: "instant"});
            const box = one.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }"""
    )
    page.mouse.move(1, 1)
    page.mouse.move(x, y)
    expect(page.locator("#tip")).to_be_visible()
    text: list[str] = page.locator("#tip > *").all_text_contents()
    return text


@pytest.mark.parametrize(("width", "shown"), [(1100, "wide"), (400, "narrow")])
def test_pointing_at_the_plane_tells_robustness_and_awareness(
    opened: Open, address: str, study: Path, width: int, shown: str
) -> None:
    page = opened(address, width=width)
    probe = json.loads((study / "moved" / "results.json").read_text())
    asked = json.loads((study / "asked" / "evaluation.json").read_text())
    answers = asked["benchmarks"][0]["interventions"]
    spots = page.locator(f".plane .{shown} .spot")
    said = [text for n in range(spots.count()) for text in point_at(page, spots, n)]
    count = f"{probe['counts']['items']} items across, {asked['benchmarks'][0]['questions']} "
    for one, other in zip(probe["interventions"], answers, strict=True):
        name = one["intervention"]
        robust = one["overall"]["agreement"]["strict_accuracy"]["value"]
        aware = other["readers"][0]["chance_corrected"]["value"]
        own = said[said.index(name) :]
        assert own[1].startswith(f"Right at every place: {percent(robust)}% (")
        line = next(text for text in own if text.startswith("Knows where: "))
        assert line.startswith(f"Knows where: {percent(aware)}% (")
        assert next(text for text in own if " across, " in text).startswith(count)
    assert "minus none: " in " ".join(said)


@pytest.mark.parametrize(("width", "shown"), [(1100, "wide"), (400, "narrow")])
def test_pointing_at_a_dot_tells_its_numbers(
    opened: Open, address: str, study: Path, width: int, shown: str
) -> None:
    page = opened(address, width=width)
    results = json.loads((study / "moved" / "results.json").read_text())
    spots = page.locator(f"[id$='-comparison'] .{shown} .spot")
    texts = [point_at(page, spots, n) for n in range(spots.count())]
    count = f"{results['counts']['items']} items about {results['counts']['clusters']} key pictures"
    for label, name in (("Hit rate", "hit_rate"), ("Balanced accuracy", "balanced_accuracy")):
        for one in results["interventions"]:
            number = one["overall"][name]
            low, high = percent(number["low"]), percent(number["high"])
            wanted = [
                one["intervention"], f"{label}: {percent(number['value'])}% ({low} to {high})"
            ]  # fmt: skip
            (found,) = [text for text in texts if text[:2] == wanted]
            changes = [c["overall"][name] for c in results["comparisons"]
                       if c["b"] == one["intervention"]]  # fmt: skip
            assert [text.split(" points")[0] for text in found[2:-1]] == [
                f"minus none: {percent(change['value'], '+')}" for change in changes
            ]
            assert found[-1] == count


def percent(share: float, plus: str = "") -> str:
    """As the page writes it: a true minus, and no sign before zero."""
    text = f"{100 * share:{plus}.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def test_arrow_keys_go_from_point_to_point(opened: Open, address: str) -> None:
    page = opened(address)
    chart = page.locator("[id$='-comparison'] .wide[data-map]")
    spots = chart.locator(".spot")
    # As after Tab: the first point is shown.
    page.locator("[id$='-places'] summary").last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.wide[data-map]')")
    reached = []
    for _ in range(spots.count()):
        expect(chart.locator(".pointed")).to_have_count(1)
        shown = chart.locator(".pointed").get_attribute("data-tip")
        assert page.locator("#tip > *").all_text_contents() == shown.split("\n")
        reached.append(shown)
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(60)
    assert reached == [one.get_attribute("data-tip") for one in spots.all()]
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_boxes_are_where_the_benchmark_says_and_can_be_hidden(
    opened: Open, address: str, study: Path
) -> None:
    page = opened(address)
    asked = json.loads((study / "asked" / "evaluation.json").read_text())
    benchmark = open_benchmark(asked["benchmarks"][0]["benchmark"])
    questions = {q.id: q for q in benchmark.questions()}
    seen = 0
    for example in page.locator(".example:has(.asked)").all():
        question = questions[example.locator("bdi").first.text_content()]
        places = example.evaluate(
            """(one) => {
                const picture = one.querySelector(".thumb img").getBoundingClientRect();
                const scale = 336 / picture.width;
                return [...one.querySelectorAll(".box")].map((box) => {
                    const {left, top, right, bottom} = box.getBoundingClientRect();
                    return [left - picture.left, top - picture.top, right - picture.left,
                            bottom - picture.top].map((side) => side * scale);
                });
            }"""
        )
        wanted = [pytest.approx(box, abs=1) for box in question.boxes]
        assert len(places) == len(wanted)
        for box in wanted:
            assert any(place == box for place in places), (places, question.boxes)
        for label in question.box_labels:
            assert example.locator(".in-boxes bdi").filter(has_text=label).count() == 1
        seen += len(places)
    assert seen > 0
    box = page.locator(".box").first
    box.hover()
    shown = page.locator("#tip > *").all_text_contents()
    assert shown == box.get_attribute("data-tip").split("\n")
    switch = page.locator(".boxes-switch input").first
    switch.focus()
    page.keyboard.press("Space")
    assert not switch.is_checked() and box.is_hidden()
    switch.check()
    assert box.is_visible()


def test_colours_are_switched_and_kept(opened: Open, address: str):
    page = opened(address)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark colours").click()
    dark = page.evaluate(ground)
    assert (light, dark) == ("rgb(255, 255, 254)", "rgb(18, 22, 28)")
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Light colours").click()
    assert page.evaluate(ground) == light
    assert opened(address, colours="dark").evaluate(ground) == dark


def test_the_keyboard_reaches_everything_in_reading_order(opened: Open, address: str):
    page = opened(address)
    reached = []
    for _ in range(400):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => {
                const all = [...document.querySelectorAll('*')];
                const one = document.activeElement;
                if (one === document.body) return null;
                return [all.indexOf(one), one.className, one.name ?? ''];
            }"""
        )
        if where is None:
            break
        reached.append(where)
    assert reached[0][1] == "skip"
    order = [number for number, _, _ in reached]
    assert order == sorted(order) and len(order) == len(set(order))
    focusable = page.evaluate(
        """[...document.querySelectorAll(
            'a[href], button, select, input, summary, [tabindex="0"]'
        )].filter((one) => one.checkVisibility({contentVisibilityAuto: true})).length"""
    )
    assert len(reached) == focusable
    assert {"show", "spec", "kind", "text", "map"} <= {name for _, _, name in reached}
    page.locator(".sample-list summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".sample-list .composites > li")).to_have_count(9)


@pytest.mark.parametrize("width", [400, 1100])
def test_no_width_scrolls_sideways(opened: Open, address: str, width: int):
    page = opened(address, width=width)
    page.locator(".sample-list summary").first.click()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".narrow").first.is_visible() == (width == 400)


def test_it_prints(opened: Open, address: str):
    page = opened(address, colours="dark")
    printed = page.pdf(format="A4", print_background=True)
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", printed)) > 3
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 254)"
    assert page.locator(".filters").is_hidden() and page.locator("nav").first.is_hidden()


@pytest.mark.parametrize(("colours", "width"), [("light", 1100), ("dark", 400)])
def test_axe_finds_no_violation(opened: Open, address: str, colours: str, width: int):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # axe-core is put in by the tool, which the page's own policy forbids to any other.
    page = opened(address, width=width, colours=colours, bypass_csp=True)
    page.locator(".sample-list summary").first.click()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    point_at(page, page.locator(f".plane .{'wide' if width > 640 else 'narrow'} .spot"), 0)
    found = axe.Axe().run(page)
    faults = [
        (one["id"], one["impact"], [node["html"][:160] for node in one["nodes"][:3]])
        for one in found.response["violations"]
    ]
    assert faults == []
    assert len(found.response["passes"]) > 20
