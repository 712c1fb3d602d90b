"""The rules of planning: one function per plan field, each returning the value and the reason for it.

To plan otherwise, change a number at the top or one function; `planning.make_plan` calls them in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from topomae.data.cases import in_hounsfield_units
from topomae.data.checks import CaseReport, Intensities
from topomae.data.plan import Normalization
from topomae.errors import BadDataError

Size = Literal["small", "base"]
Device = Literal["cpu", "cuda"]
Triple = tuple[int, int, int]

# Voxels of a crop, by network size and device: what keeps a step short there. Base on a GPU is the crop of
# 64×128×128 that UNETR++ was published with.
CROP_VOXELS = {
    ("small", "cpu"): 48**3,
    ("small", "cuda"): 96**3,
    ("base", "cpu"): 64**3,
    ("base", "cuda"): 64 * 128 * 128,
}
# Crops of a step, of that size; of smaller ones up to twice as many.
MOST_CROPS = {("small", "cpu"): 2, ("small", "cuda"): 8, ("base", "cpu"): 2, ("base", "cuda"): 8}
# Of a volume that could be seen whole, a crop holds this part. Every crop is then another view of its volume, the
# place of a crop is something to tell, and windows overlap in prediction: with 8 labelled hippocampi that brought
# more than anything else that was tried (docs/results/accuracy_hippocampus).
PART_OF_VOLUME = 2 / 3
# Memory of a training step: GB for weights, gradients and optimizer, and bytes per crop voxel for the
# activations of both branches. Estimates on the safe side; a fifth of the memory is left to others.
FIXED_GB = {"small": 0.5, "base": 4.0}
BYTES_PER_VOXEL = {"small": 2000, "base": 3000}
DEFAULT_MEMORY_GB = {"cpu": 8.0, "cuda": 12.0}

# An axis is never cut below this many voxels to make room for others, so that thin volumes stay whole.
THIN = 16
# The mask should leave some tokens along every axis, but attention is quadratic in their number.
FEWEST_TOKENS, MOST_TOKENS = 4, 1024
PATCH = {"small": 8, "base": 16}
# Spacings, or lengths in voxels, further apart than this factor are anisotropic (nnU-Net's threshold).
ANISOTROPIC = 3.0


@dataclass(frozen=True)
class Fingerprint:
    """What the rules look at.

    Attributes:
        shapes: (N, 3) voxels of each case without its constant border, RAS order. spacings: (N, 3) mm.
        size: network size. device: where it will be trained. memory_gb: of that device.
        devices: how many of them share each step.
    """

    shapes: np.ndarray
    spacings: np.ndarray
    size: Size
    device: Device
    memory_gb: float
    devices: int = 1

    def median_shape(self, spacing: Sequence[float]) -> np.ndarray:
        """(3,) median number of voxels per axis once every case has that spacing."""
        return np.median(np.maximum(1, np.rint(self.shapes * self.spacings / spacing)), axis=0)

    @property
    def memory_voxels(self) -> float:
        """Crop voxels per step that the memory holds."""
        return (0.8 * self.memory_gb - FIXED_GB[self.size]) * 1e9 / BYTES_PER_VOXEL[self.size]


def choose_spacing(fingerprint: Fingerprint) -> tuple[tuple[float, float, float], str]:
    """Median per axis; between thick slices the 10th percentile, so that most cases lose no slice."""
    spacings = fingerprint.spacings
    spacing = np.median(spacings, axis=0)
    thick = int(spacing.argmax())
    others = [axis for axis in range(3) if axis != thick]
    voxels = fingerprint.median_shape(spacing)
    reason = "median of the cases, axis by axis"
    if np.ptp(spacings, axis=0).max() <= 0.001 * spacing.min():
        reason = "every case has it, so nothing is interpolated"
    elif spacing[thick] > ANISOTROPIC * spacing[others].max() and voxels[thick] * ANISOTROPIC < voxels[others].min():
        spacing[thick] = max(np.percentile(spacings[:, thick], 10), spacing[others].max())
        reason += "; between the thick slices the 10th percentile, which keeps the slices of nearly all cases"
    return tuple(float(f"{s:.5g}") for s in spacing), reason


def choose_normalization(
    modalities: Sequence[str], reports: Sequence[CaseReport]
) -> tuple[tuple[Normalization, ...], str]:
    """Hounsfield units are physical and get one window for all; any other scale is measured per volume."""
    chosen = []
    for channel, name in enumerate(modalities):
        if not in_hounsfield_units(name):
            chosen.append(Normalization(kind="robust"))
            continue
        found = [one for report in reports if (one := report.intensities[channel]) is not None]
        if not found:
            raise BadDataError(f"no case has the modality {name}", hint="Take it out of the list of modalities.")
        chosen.append(_hounsfield_window(found))
    reasons = {
        "ct": "in Hounsfield units: clipped to the 0.5 to 99.5 percentiles of the cases",
        "robust": "without physical scale: each volume by its own mean and spread",
    }
    kinds: dict[str, list[str]] = {}
    for name, how in zip(modalities, chosen, strict=True):
        kinds.setdefault(how.kind, []).append(name)
    return tuple(chosen), "; ".join(f"{', '.join(names)} {reasons[kind]}" for kind, names in kinds.items())


def _hounsfield_window(cases: Sequence[Intensities]) -> Normalization:
    """Window, mean and standard deviation of the data set; every case counts the same."""
    means, sds = np.array([c.mean for c in cases]), np.array([c.sd for c in cases])
    lower = float(np.median([c.p0_5 for c in cases]))
    upper = float(np.median([c.p99_5 for c in cases]))
    sd = float(np.sqrt((sds**2).mean() + means.var()))
    return Normalization(
        kind="ct",
        lower=round(lower, 1),
        upper=round(max(upper, lower + 1), 1),
        mean=round(float(means.mean()), 2),
        sd=round(max(sd, 1.0), 2),
    )


def choose_crop(fingerprint: Fingerprint, spacing: Sequence[float]) -> tuple[Triple, str]:
    """A crop of the median volume's shape, thin axes kept whole: part of a small volume, else what is affordable."""
    size = fingerprint.size
    shape = fingerprint.median_shape(spacing)
    seen = "×".join(f"{n:g}" for n in shape)
    budget = CROP_VOXELS[size, fingerprint.device]
    limit = f"{budget:,} voxels, the limit for {size} on {fingerprint.device}"
    if fingerprint.memory_voxels < budget:
        budget = int(max(fingerprint.memory_voxels, THIN**3))
        limit = f"{budget:,} voxels, what {fingerprint.memory_gb:g} GB of memory hold"
    whole = tuple(_round_up(n, _step(n, size)) for n in shape)
    if prod(whole) > budget:
        return _of_shape(shape, budget, size), f"the shape of the median volume ({seen} voxels) within {limit}"
    part = _of_shape(shape, PART_OF_VOLUME * prod(shape), size)
    if any(p < w for p, w in zip(part, whole, strict=True)):
        return part, f"part of the median volume ({seen} voxels), so that no two crops of a volume are alike"
    return whole, f"holds the median volume ({seen} voxels), rounded up to what the network divides"


def _of_shape(shape: np.ndarray, budget: float, size: Size) -> Triple:
    """A crop of about that shape with so many voxels at most, of lengths that the network divides."""
    wanted = _shrink(shape, budget, size)
    crop = [max(s, int((n + 1e-6) // s) * s) for n, s in ((n, _step(n, size)) for n in wanted)]
    for axis in np.argsort(np.array(crop) / wanted, kind="stable"):  # the axis that lost most comes first
        grown = crop.copy()
        step = _step(wanted[axis], size)
        grown[axis] += step
        if wanted[axis] - crop[axis] >= step / 2 and prod(grown) <= budget:
            crop = grown
    return tuple(crop)


def _shrink(shape: np.ndarray, budget: float, size: Size) -> np.ndarray:
    """Scale a shape to a number of voxels; axes that would become thin stay at `THIN` or their length."""
    shape = np.array([_round_up(n, _step(n, size)) if n <= THIN else n for n in shape], float)
    kept = shape <= THIN
    while True:
        room = budget / np.prod(np.where(kept, np.minimum(shape, THIN), 1))
        factor = min(1.0, (room / np.prod(shape[~kept])) ** (1 / max(1, (~kept).sum())))
        wanted = np.where(kept, np.minimum(shape, THIN), shape * factor)
        too_thin = ~kept & (wanted < THIN)
        if not too_thin.any():
            return wanted
        kept |= too_thin


def _step(voxels: float, size: Size) -> int:
    """What a crop of about this length should be a multiple of: the stem's stride times 8, where that is
    not too coarse (UNETR++ halves three times after the stem, and pads what does not divide)."""
    if voxels < 24:
        return 4 if voxels > 8 else 2 if voxels > 2 else 1
    if size == "small":
        return 16 if voxels >= 96 else 8
    return 32 if voxels >= 96 else 16 if voxels >= 64 else 8


def _round_up(voxels: float, step: int) -> int:
    return int(-(-voxels // step) * step)


def choose_patch(crop: Triple, size: Size) -> tuple[Triple, str]:
    """Token edge: the usual one for the size, smaller on short axes, larger if there were too many tokens."""
    for largest in (PATCH[size] * 2**doubled for doubled in range(5)):
        patch = tuple(_token_edge(n, largest) for n in crop)
        tokens = [n // p for n, p in zip(crop, patch, strict=True)]
        if prod(tokens) <= MOST_TOKENS:
            break
    grid = "×".join(map(str, tokens))
    return patch, f"gives the ViT {grid} = {prod(tokens)} tokens"


def _token_edge(voxels: int, largest: int) -> int:
    """A divisor of the crop that leaves enough tokens; a power of two unless that is far smaller."""
    enough = max(1, min(largest, voxels // FEWEST_TOKENS))
    divisors = [p for p in range(1, enough + 1) if voxels % p == 0]
    power_of_two = max(p for p in divisors if p & (p - 1) == 0)
    return power_of_two if 2 * power_of_two >= divisors[-1] else divisors[-1]


def choose_stem(crop: Triple, size: Size, spacing: Sequence[float]) -> tuple[Triple, str]:
    """Stride of UNETR++'s first convolution: long axes are shortened at once, short ones are not.

    "base" gives the published strides: (4, 4, 2) for 128×128×64, (4, 4, 1) for 160×160×16. No axis is
    shortened to positions more than twice as far apart, in mm, as those of another axis.
    """
    if size == "base":
        wanted = [4 if n >= 96 else 2 if n >= 64 else 1 for n in crop]
    else:
        wanted = [2 if n >= 24 else 1 for n in crop]
    finest = min(w * mm for w, mm in zip(wanted, spacing, strict=True))
    stem = tuple(
        next(s for s in (4, 2, 1) if s == 1 or (s <= w and n % s == 0 and s * mm <= 2 * finest))
        for n, w, mm in zip(crop, wanted, spacing, strict=True)
    )
    grid = "×".join(str(n // s) for n, s in zip(crop, stem, strict=True))
    return stem, f"UNETR++'s attention starts on {grid} positions"


def choose_batch(crop: Triple, fingerprint: Fingerprint) -> tuple[int, str]:
    """As many crops as the memory holds, up to what a step may take."""
    which = fingerprint.size, fingerprint.device
    most = MOST_CROPS[which]
    most = max(most, min(2 * most, most * CROP_VOXELS[which] // prod(crop)))
    fitting = int(fingerprint.memory_voxels // prod(crop))
    memory = f"{fingerprint.memory_gb:g} GB of memory"
    each, reason = most, f"steady gradients at a bearable time per step; {memory} are enough"
    if fitting < most:
        each, reason = max(1, fitting), f"what {memory} hold"
    if fingerprint.devices > 1:
        reason = f"{each} for each of {fingerprint.devices} devices: {reason}"
    return each * fingerprint.devices, reason


def choose_mirror_axes(labels: Mapping[int, str]) -> tuple[tuple[int, ...], str]:
    """Left-right only, and not even that if labels tell the sides apart.

    Volumes are in RAS order when they are mirrored, and bodies are nearly symmetric between left and right:
    such a view could have been scanned. Upside-down or back-to-front views never are, and with few steps or
    few labels the network pays for learning them.
    """
    names = [re.sub(r"[\W_]+", " ", name.lower()).split() for name in labels.values()]
    left = {tuple(w for w in words if w != "left") for words in names if "left" in words}
    right = {tuple(w for w in words if w != "right") for words in names if "right" in words}
    if left & right:
        return (), "none, because labels tell left from right"
    return (0,), "bodies are nearly symmetric between left and right, and never lie upside down in a scan"
