"""The pictures are those that their scripts draw, and the text beside them says what they show."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from documents import DOCS
from scipy.ndimage import gaussian_filter

from topomae.topology.betti import betti_numbers
from topomae.topology.reading import features, superlevel_persistence


def script(name):
    """A script beside the pictures."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "figures" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figure_of_the_method_is_what_its_script_draws(tmp_path):
    figure = script("method")
    figure.OUTPUT = tmp_path / "method.svg"
    figure.main()
    assert figure.OUTPUT.read_text(encoding="utf-8") == (DOCS / "pictures/method.svg").read_text(encoding="utf-8")


def test_the_page_on_topology_says_what_its_figure_shows():
    figure = script("persistence")
    phantom = figure.draw_phantom(seed=0, index=0, shape=(64, 64, 44), spacing=(1.2, 1.2, 1.8))
    masks = figure.segmentations(phantom.labels == figure.RING)
    soft = [gaussian_filter(mask.astype(np.float32), figure.BLUR) for mask in masks.values()]
    assert [betti_numbers(probability > 0.5) for probability in soft] == [(1, 1, 0), (1, 0, 0), (2, 1, 0)]
    cut, island = (features(superlevel_persistence(one), superlevel=True, count=2) for one in soft[1:])
    (tunnel,) = (feature for feature in cut if feature.dim == 1 and feature.persistence > figure.LEAST)
    (piece,) = (feature for feature in island if feature.dim == 0)
    assert tunnel.birth == pytest.approx(0.28, abs=0.005) and piece.birth == pytest.approx(0.69, abs=0.005)
    text = (DOCS / "topology.md").read_text(encoding="utf-8")
    assert "a probability of 0.28" in text and "from 0.69 down to nearly 0" in text
