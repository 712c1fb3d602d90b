"""The way back: a geometry that is written, read and checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from plans import a_plan

from topomae.data.geometry import Geometry
from topomae.data.preprocessing import preprocess
from topomae.data.volume import Volume


def test_a_geometry_survives_json_and_an_impossible_one_is_refused(an_oblique_affine):
    image = np.random.default_rng(0).normal(size=(1, 12, 14, 10)).astype(np.float32)
    geometry = preprocess(Volume(image, an_oblique_affine), None, a_plan((1, 1, 1.5))).geometry
    content = geometry.to_dict()
    again = Geometry.from_dict(json.loads(json.dumps(content)))
    assert again.to_dict() == content
    np.testing.assert_array_equal(again.preprocessed_affine, geometry.preprocessed_affine)
    for change in (
        {"shape": [0, 1, 1]},
        {"box": [[0, 99], [0, 1], [0, 1]]},
        {"orientation": [[0, 1], [0, 1], [2, 1]]},
        {"affine": [[1, 2]]},
        {"extra": 1},
        {"box": None},
    ):
        with pytest.raises(ValueError):
            Geometry.from_dict(content | change)
