"""Intensities: the constant border around a scan, and one scale for all volumes of a modality."""

from __future__ import annotations

import numpy as np

from topomae.data.plan import Normalization

# A value is a border, and not chance, if it fills this part of the volume's six faces.
BORDER_SHARE = 0.1
PERCENTILES = (0.5, 99.5)
# Statistics are read from at most this many voxels: more would not change them.
SAMPLE_VOXELS = 2_000_000
# Far outside any tissue: only defects, such as a dead pixel at the type's maximum, are cut here.
FARTHEST = 10.0


def border_value(channel: np.ndarray) -> float | None:
    """The constant that surrounds the scan (padding of a CT, the outside of a stripped skull), if any.

    Args:
        channel: (I, J, K) of one modality.
    Returns:
        the value, whatever its sign; None if no single value fills a tenth of the volume's faces.
    """
    faces = [channel[index].ravel() for axis in range(3) for index in _two_faces(axis)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    most = counts.argmax()
    return float(values[most]) if counts[most] >= BORDER_SHARE * counts.sum() else None


def _two_faces(axis: int) -> list[tuple]:
    """Index of the first and of the last plane along an axis."""
    return [tuple(end if a == axis else slice(None) for a in range(3)) for end in (0, -1)]


def measured_voxels(channel: np.ndarray, border: float | None) -> np.ndarray:
    """The voxels that were measured: those that differ from the border value; a fixed sample if many.

    Args:
        channel: (I, J, K). border: see `border_value`.
    Returns:
        (N,) float64; N is 0 if the channel holds nothing but its border value.
    """
    flat = channel.ravel()
    if border is not None:
        flat = flat[flat != border]
    if len(flat) > SAMPLE_VOXELS:
        flat = flat[np.random.default_rng(0).integers(len(flat), size=SAMPLE_VOXELS)]
    return flat.astype(np.float64)


def normalize(channel: np.ndarray, how: Normalization, border: float | None) -> np.ndarray:
    """Bring one modality to the scale of its data set.

    "ct": clipped to the plan's window, minus the data set's mean, over its standard deviation.
    "robust": minus the mean, over the standard deviation, of the measured voxels between their 0.5 and
    99.5 percentiles. Nothing within ±10 is clipped, because clipping makes plateaus, which disturb
    persistent homology. The border constant, which says nothing and differs from file to file, is moved
    into the range between the percentiles.

    Args:
        channel: (I, J, K) float32, finite.
        how: from the plan.
        border: see `border_value`.
    Returns:
        (I, J, K) float32; zeros if the channel is constant.
    """
    if how.kind == "ct":
        clipped = np.clip(channel, how.lower, how.upper)
        return ((clipped - how.mean) / how.sd).astype(np.float32, copy=False)
    measured = measured_voxels(channel, border)
    if not _varies(measured):  # nothing but one value inside the border, such as a mask: measure it all
        border, measured = None, channel.ravel().astype(np.float64)
    if not _varies(measured):
        return np.zeros(channel.shape, np.float32)
    low, high = np.percentile(measured, PERCENTILES)
    core = measured[(measured >= low) & (measured <= high)]
    core = core if _varies(core) else measured  # nearly all voxels are equal, such as one bright spot
    mean, sd = float(core.mean()), float(core.std())  # plain floats keep the arrays float32
    if border is not None:
        channel = np.where(channel == border, np.float32(np.clip(border, low, high)), channel)
    return np.clip((channel - mean) / sd, -FARTHEST, FARTHEST).astype(np.float32, copy=False)


def _varies(values: np.ndarray) -> bool:
    return len(values) > 0 and values.min() < values.max()
