"""Colours that people with every kind of colour vision can tell apart, and more than colour where it matters."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from colour_vision import VISION, least_difference
from matplotlib.colors import to_rgb

from topomae.models.label_table import colour_of
from topomae.reporting.figures import curve_picture, key_point_picture
from topomae.reporting.html import LABEL_COLOUR, PREDICTION_COLOUR, SERIES_COLOURS, SERIES_LINES

CLEAR = 10.0  # CIEDE2000; some four times what is just noticeable


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision):
    assert least_difference([to_rgb(colour) for colour in SERIES_COLOURS], vision) > CLEAR
    assert least_difference([np.divide(colour_of(place), 255) for place in range(16)], vision) > CLEAR
    assert least_difference([to_rgb(LABEL_COLOUR), to_rgb(PREDICTION_COLOUR)], vision) > 4 * CLEAR


def test_the_measure_knows_what_is_confused():
    """Red and green of one lightness, which are far from each other with normal vision."""
    confused = [(0.80, 0.25, 0.20), (0.45, 0.50, 0.10)]
    assert least_difference(confused, "normal") > 4 * CLEAR
    assert least_difference(confused, "deuteranopia") < CLEAR


def strokes(svg: bytes) -> list[tuple[str, str]]:
    """Colour and dashes of every line of a picture that is drawn 1.5 wide, without its legend."""
    found = []
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        style = dict(part.split(": ") for part in path.get("style", "").split("; ") if ": " in part)
        if style.get("stroke-width") == "1.5":
            found.append((style["stroke"], style.get("stroke-dasharray", "")))
    return found


def test_curves_differ_by_more_than_their_colour():
    steps = np.arange(50.0)
    drawn = strokes(curve_picture("dice", {f"organ {n}": (steps, steps + n) for n in range(7)}))
    curves, legend = drawn[:7], drawn[7:]
    assert curves == legend, "the legend shows what the curves look like"
    assert len({dashes for _, dashes in curves}) == len(SERIES_LINES)
    every = {(n % len(SERIES_COLOURS), n % len(SERIES_LINES)) for n in range(35)}
    assert len(every) == 35


def test_key_points_have_a_shape_for_each_branch():
    points = {name: np.zeros((9, 3)) + n for n, name in enumerate(("true", "vit", "unetrpp"))}
    svg = "{http://www.w3.org/2000/svg}"
    drawn = ElementTree.fromstring(key_point_picture(points))
    groups = {group.get("id"): group for group in drawn.iter(f"{svg}g")}
    first = [groups[f"PathCollection_{n}"] for n in (1, 2, 3)]  # of one projection
    shapes = {group.find(f"{svg}defs/{svg}path").get("d") for group in first}
    assert len(shapes) == 3
