"""Every sample, as the page's browser reads it."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from wheresight.report import samples as room
from wheresight.report.html import pages
from wheresight.report.samples import Maps, Samples


def of(records, **where):
    """The rows of a table as dictionaries, those that are asked for."""
    return [r for r in records.to_pylist() if all(r[k] == v for k, v in where.items())]


def test_answers_and_margins_are_those_of_the_records(typical):
    block = Samples(typical.records, typical.results).main()
    data = json.loads(json.dumps(block.data, allow_nan=False))
    assert block.count == len(data["samples"]) == 60 * 3
    assert data["kinds"] == ["positive", "absent", "sibling"]
    assert data["specs"] == ["none", "bapa"] and data["tiles"] == []
    assert data["worst"] == [r.overall.worst_cell for r in typical.results.interventions]
    letters = {"yes": "y", "no": "n"}
    for sample in data["samples"][::17]:
        kind = data["kinds"][sample["q"]]
        for number, spec in enumerate(data["specs"]):
            rows = of(typical.records, item=sample["i"], question=kind, intervention=spec)
            rows.sort(key=lambda row: row["cell"])
            assert sample["a"][number] == "".join(letters[row["answer"]] for row in rows)
            assert sample["m"][number] == [round(row["margin"], 2) for row in rows]
            assert bool(sample["e"]) == rows[0]["expected"]


def test_those_that_show_most_come_first(typical):
    data = Samples(typical.records, typical.results).main().data

    def flips(sample):
        yes = [answers.count("y") for answers in sample["a"]]
        return sample["e"] * sum(n * (9 - n) for n in yes)

    order = [flips(sample) for sample in data["samples"]]
    assert order == sorted(order, reverse=True) and order[0] > 0


def test_neither_is_said_in_its_own_word_and_what_is_missing_is_left_open(make, observer):
    made = make({"none": observer(2.0, neither=0.3)}, items=6, replicates=100)
    partly = made.records.slice(1)
    first = made.records.slice(0, 1).to_pylist()[0]
    data = Samples(partly, made.results).main().data
    odd = [s for s in data["samples"] if "x" in "".join(s["a"])]
    assert odd and all(set(s["o"].values()) == {"Perhaps"} for s in odd)
    (cut,) = (s for s in data["samples"] if "." in s["a"][0])
    assert (cut["i"], data["kinds"][cut["q"]]) == (first["item"], first["question"])
    assert cut["m"][0][first["cell"]] is None


def test_tiles_are_cut_from_the_composites_once_each(typical):
    asked = []
    colours = {name: (40 * k % 256, 90, 255 - 20 * k) for k, name in enumerate("012345678")}

    def render(recipe):
        asked.append(recipe)
        picture = Image.new("RGB", (96, 96), "white")
        from wheresight.stimuli.composites import Recipe, boxes

        read = Recipe.from_json(recipe)
        for name, box in zip(read.tiles(), boxes(read), strict=True):
            colour = "black" if name.startswith("k") else colours[name[1:]]
            picture.paste(colour, box)
        return picture

    block = Samples(typical.records, typical.results, render).main()
    data = block.data
    assert not block.bare and not block.reason
    # Eight distractors that all share, sixty keys and their siblings.
    assert len(data["tiles"]) == 8 + 2 * 60 == len(set(map(id, data["tiles"])))
    assert len(asked) == 2 * 60
    seen = []
    for uri in data["tiles"]:
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        seen.append(picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2)))
    sample = data["samples"][0]
    for cell, (geometry, order) in enumerate(data["plans"][sample["p"]]):
        assert data["geometries"][geometry][0] == "#ffffff"
        key = seen[sample["t"][int(order[cell])]]
        assert max(key) < 40  # the key is black, and stands in its own cell
        assert sorted(order) == list("012345678")


def test_maps_lie_over_the_sample_that_they_are_of(typical):
    one = [bytes([0, 255, 10, 20])] + [None] * 8
    maps = Maps("Flow, none", 2, 2, {("item-0003", "positive"): one, ("gone", "positive"): one})
    data = Samples(typical.records, typical.results, None, [maps]).main().data
    (found,) = data["maps"]
    assert list(found["of"]) == ["item-0003 0"]
    assert base64.b64decode(found["of"]["item-0003 0"][0]) == one[0]
    assert found["of"]["item-0003 0"][1:] == [None] * 8


def test_maps_have_no_more_than_their_room(typical, monkeypatch):
    monkeypatch.setattr(room, "MAPS", 200)
    of = {(f"item-{n:04d}", "positive"): [bytes(9)] * 9 for n in range(60)}
    samples = Samples(typical.records, typical.results, None, [Maps("Flow, none", 3, 3, of)])
    data = samples.main().data
    # Each has nine maps of twelve letters, and the first samples come first.
    shown = [f"{s['i']} {s['q']}" for s in data["samples"] if s["q"] == 0][:2]
    assert [*data["maps"][0]["of"]] == shown


def test_a_margin_that_is_not_finite_is_left_out(make, observer):
    made = make({"none": observer(1.0)}, items=2, replicates=100)
    margins = [float("-inf"), *made.records["margin"].to_pylist()[1:]]
    at = made.records.schema.get_field_index("margin")
    records = made.records.set_column(at, made.records.schema.field(at), [margins])
    data = Samples(records, made.results).main().data
    assert json.dumps(data, allow_nan=False).count("null") == 1


def test_a_large_study_links_pages_of_samples(typical, draw, monkeypatch, stays_at_home):
    monkeypatch.setattr(room, "MOST", 100)
    monkeypatch.setattr(room, "A_PAGE", 30)
    made = pages(typical.results, typical.records, draw)
    assert [*made.samples] == [f"samples/samples-{n}.html" for n in (1, 2, 3)]
    assert all(f'href="{name}"' in made.page for name in made.samples)
    assert "here are the 100 of 180 that show most" in made.page
    held = []
    for text in (made.page, *made.samples.values()):
        stays_at_home(text)
        (data,) = [
            json.loads(part.partition("</script>")[0])
            for part in text.split('<script type="application/json">')[1:]
        ]
        held += [(s["i"], s["q"]) for s in data["samples"]]
        assert all("t" in s for s in data["samples"])
    assert len(held) == len(set(held)) == 180
    middle = made.samples["samples/samples-2.html"]
    assert 'href="samples-1.html"' in middle and 'href="samples-3.html"' in middle


def test_what_has_no_room_for_pictures_is_shown_with_them_on_a_further_page(
    typical, draw, monkeypatch
):
    monkeypatch.setattr(room, "PICTURES", 20_000)
    samples = Samples(typical.records, typical.results, draw)
    main = samples.main()
    assert 0 < len(main.bare) < main.count == 180 and "to keep this file small" in main.reason
    assert sum(map(len, main.data["tiles"])) < 40_000
    (rest,) = samples.pages(main)
    assert rest.count == len(main.bare) and not rest.bare


def test_a_source_that_fails_leaves_the_answers(typical):
    def fail(recipe):
        raise OSError("no such <picture>")

    samples = Samples(typical.records, typical.results, fail)
    block = samples.main()
    assert block.count == 180 and len(block.bare) == 180
    assert block.reason == "Some pictures could not be drawn: no such <picture>"
    assert samples.pages(block) == []


def test_a_thousand_items_stay_below_five_megabytes(make, observer):
    made = make({"none": observer(1.0), "bapa": observer(1.2)}, items=1000, replicates=100)
    picture = Image.effect_noise((96, 96), 80).convert("RGB")  # noise is what packs worst
    page = pages(made.results, made.records, lambda recipe: picture)
    assert len(page.page.encode()) < 5_000_000
    assert "here are all 3,000" in page.page


@pytest.mark.parametrize("protocol", ["paper", "balanced"])
def test_false_alarms_are_asked_for_where_there_can_be_any(make, observer, protocol):
    made = make({"none": observer(1.0)}, items=4, replicates=100, protocol=protocol)
    text = pages(made.results, made.records).page
    assert ('<option value="alarms">' in text) == (protocol == "balanced")
