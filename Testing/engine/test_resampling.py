"""Resampling equals other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.transform import resize

from topomae.data.resampling import resample_image, resample_linearly


@pytest.mark.parametrize("new", [(25, 17, 14), (20, 30, 9), (10, 9, 5), (31, 12, 12)])
def test_cubic_resampling_equals_scikit_image(new):
    image = np.random.default_rng(1).normal(size=(20, 17, 9)).astype(np.float32)
    shrinks = (np.array(new) < image.shape).any()
    expected = resize(image, new, order=3, mode="edge", anti_aliasing=shrinks)
    np.testing.assert_allclose(resample_image(image, new, (3, 3, 3)), expected, atol=5e-6)


@pytest.mark.parametrize("new", [(25, 10, 14), (10, 30, 4), (20, 17, 9), (1, 17, 40)])
def test_linear_resampling_equals_torch(new):
    field = np.random.default_rng(1).normal(size=(20, 17, 9)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(field)[None, None], size=new, mode="trilinear")[0, 0].numpy()
    np.testing.assert_allclose(resample_linearly(field, new), expected, atol=5e-6)
