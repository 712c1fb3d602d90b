"""How far apart colours look to people with each kind of colour vision."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", IEEE TVCG 15 (2009), table 1, severity 1: what linear RGB turns into.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def seen(colours: Sequence[Sequence[float]], vision: str) -> np.ndarray:
    """What colours look like.

    Args:
        colours: (n, 3) sRGB, 0 to 1.
        vision: one of `VISION`.
    Returns:
        (n, 3) sRGB, 0 to 1.
    """
    rgb = np.asarray(colours, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    mixed = np.clip(linear @ VISION[vision].T, 0.0, 1.0)
    return np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)


def least_difference(colours: Sequence[Sequence[float]], vision: str) -> float:
    """CIEDE2000 difference of the two colours (n, 3) of sRGB 0 to 1 that look most alike; 2.3 is just noticeable."""
    lab = rgb2lab(seen(colours, vision))
    return min(float(deltaE_ciede2000(lab[i], lab[j])) for i, j in combinations(range(len(lab)), 2))
