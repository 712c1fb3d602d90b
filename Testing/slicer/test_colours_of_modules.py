"""Charts and markers that people with every kind of colour vision can read."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from train_data_stand_ins import useModuleFolders

pytest.importorskip("skimage", reason="the measure of differences between colours needs scikit-image")
_path = Path(__file__).resolve().parents[1] / "engine" / "colour_vision.py"
_specification = spec_from_file_location("colour_vision", _path)
_colour_vision = module_from_spec(_specification)
_specification.loader.exec_module(_colour_vision)
VISION, least_difference = _colour_vision.VISION, _colour_vision.least_difference

CLEAR = 10.0  # CIEDE2000; some four times what is just noticeable


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(slicer, vision):
    useModuleFolders()
    from TopoMAELib.plots import CURVE_COLORS
    from TopoMAESegmentLib.key_point_view import PREDICTED_COLOR, TRUE_COLOR
    from TopoMAESegmentLib.persistence_diagram import DIMENSION_COLORS
    from TopoMAESegmentLib.phantom_volume import _COLORS as PHANTOM_COLORS
    from TopoMAETrainLib.previews import _COLORS as PREVIEW_COLORS

    for colors in (CURVE_COLORS, DIMENSION_COLORS, [TRUE_COLOR, PREDICTED_COLOR], list(PREVIEW_COLORS.values())):
        assert least_difference(colors, vision) > CLEAR
    assert least_difference(np.divide(PHANTOM_COLORS, 255), vision) > CLEAR


def test_every_curve_of_a_chart_has_a_line_of_its_own(scene):
    useModuleFolders()
    from TopoMAELib.plots import CurveChart

    steps = np.arange(9.0)
    chart = CurveChart("Losses").update({f"loss {n}": (steps, steps) for n in range(35)})
    series = [chart.GetNthPlotSeriesNode(n) for n in range(35)]
    assert len({node.GetLineStyle() for node in series[:5]}) == 5
    assert len({(node.GetColor(), node.GetLineStyle()) for node in series}) == 35


def test_key_points_have_a_glyph_for_each_kind(slicer):
    useModuleFolders()
    from TopoMAETrainLib.previews import _GLYPHS

    display = slicer.vtkMRMLMarkupsDisplayNode()
    numbers = [display.GetGlyphTypeFromString(name) for name in _GLYPHS.values()]
    assert len(set(numbers)) == 3
    assert min(numbers) >= 0
