"""Pictures: there, not empty, the same every time, and named in words."""

from __future__ import annotations

import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from wheresight.report import colours
from wheresight.report.figures import DARK, LIGHT, pictures, recoloured
from wheresight.report.texts import printable, slug


def test_pictures_are_drawn_and_reproducible(typical):
    drawn = list(pictures(typical.results))
    assert [p.name for p in drawn] == [
        "cells-1-none", "cells-2-bapa", "difference-1-bapa-minus-none", "comparison",
    ]  # fmt: skip
    for picture in drawn:
        png, svg = picture.png(), picture.svg()
        image = Image.open(io.BytesIO(png))
        assert image.width > 400
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50
        assert image.info["Description"] == picture.alt
        root = ElementTree.fromstring(svg)
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text == picture.title
        assert b"<dc:date>" not in svg
    again = next(iter(pictures(typical.results)))
    assert (again.png(), again.svg()) == (drawn[0].png(), drawn[0].svg())
    dots = drawn[-1].svg()
    assert dots == drawn[-1].svg()
    assert recoloured(dots, DARK) != dots
    assert LIGHT.text.encode() not in recoloured(dots, DARK)
    assert "row 3, column 3: " in drawn[0].alt
    assert "points" in drawn[2].alt


def test_a_spec_with_mathematics_and_slashes_is_only_text(make, observer):
    spec = "../$\\frac{x}$ <b>"
    made = make({"none": observer(2.0), spec: observer(2.0)}, items=8, rows=1, columns=2)
    for picture in pictures(made.results):
        assert "/" not in picture.name
        ElementTree.fromstring(picture.svg())


def test_pyplot_is_not_loaded_and_nothing_heavy_by_the_terminal():
    code = (
        "import sys, wheresight.report.terminal, wheresight.report.build, wheresight.report.html;"
        "print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "scale"),
    [("cividis", colours.Scale(0, 1)), ("PuOr", colours.Scale(-1, 1, diverging=True))],
)
def test_colours_are_matplotlibs(name, scale):
    for share in np.linspace(0, 1, 101):
        theirs = [255 * c for c in mpl.colormaps[name](share)[:3]]
        ours = scale.colour(scale.low + share * (scale.high - scale.low))
        assert max(abs(a - b) for a, b in zip(theirs, ours, strict=True)) < 12


@pytest.mark.parametrize("scale", [colours.Scale(0, 1), colours.Scale(-1, 1, diverging=True)])
def test_text_on_colour_can_be_read(scale):
    for share in np.linspace(scale.low, scale.high, 201):
        ground = scale.colour(share)
        assert colours.contrast(colours.ink(ground), ground) >= 4.5


def test_scales_do_not_magnify_noise():
    scale = colours.rates_scale([0.81, 0.815, 0.82])
    assert scale.high - scale.low >= 0.199
    assert colours.rates_scale([1.0, 0.99]).high == 1.0
    assert colours.rates_scale([]).low == 0.0
    changes = colours.differences_scale([0.01, -0.12])
    assert (changes.low, changes.high) == (-0.15, 0.15)
    assert changes.colour(0.0) == (246, 246, 247)


def test_texts():
    assert printable("a\x00b\u202ec\ud800 👨‍👩‍👧") == "a\ufffdb\ufffdc\ufffd 👨‍👩‍👧"
    assert printable("x" * 50, 10) == "x" * 9 + "…"
    assert slug("../A b:c=0.5") == "a-b-c-0.5"
    assert slug("Ω") == "x"
