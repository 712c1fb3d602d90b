"""Fields of the plan: what they are called, and their values as a person reads and types them."""

from __future__ import annotations

import re

from slicer.i18n import tr as _

# Fields that may be set by hand, as `--set` of the engine takes them.
EDITABLE_FIELDS = ("spacing", "crop_size", "patch_size", "stem_stride", "batch_size", "mirror_axes")
SHOWN_FIELDS = (
    "modalities",
    "labels",
    "normalization",
    "spacing",
    "crop_size",
    "patch_size",
    "stem_stride",
    "batch_size",
    "mirror_axes",
)


def fieldWords(field: str) -> str:
    """What a field is called."""
    words = {
        "modalities": _("Channels"),
        "labels": _("Labels"),
        "normalization": _("Intensities"),
        "spacing": _("Spacing (mm)"),
        "crop_size": _("Crop (voxels)"),
        "patch_size": _("Token (voxels)"),
        "stem_stride": _("First stride"),
        "batch_size": _("Crops per step"),
        "mirror_axes": _("Mirrored axes"),
    }
    return words.get(field, field.replace("_", " "))


def fieldHelp(field: str) -> str:
    """What a field means."""
    texts = {
        "modalities": _("Names of the image channels. CT stands for Hounsfield units."),
        "labels": _("Values in the label maps and their names."),
        "normalization": _("How intensities are made comparable: one window for CT, else each volume by itself."),
        "spacing": _("Distance of voxels that volumes are resampled to: left-right, posterior-anterior, foot-head."),
        "crop_size": _("Part of a volume that the network sees at once, at this spacing."),
        "patch_size": _("Edge of a token of the transformer and of the blocks that are hidden; must divide the crop."),
        "stem_stride": _("Voxels that UNETR++ merges into one position at once; must divide the crop."),
        "batch_size": _("Crops per training step; more need more memory."),
        "mirror_axes": _("Axes that fine-tuning may flip: left-right, posterior-anterior, foot-head, or none."),
    }
    return texts.get(field, "")


def axisWords() -> tuple[str, str, str]:
    """The axes of a volume."""
    return _("left-right"), _("posterior-anterior"), _("foot-head")


def valueWords(field: str, value: object) -> str:
    """A value of plan.json as it is shown and typed."""
    if field == "mirror_axes":
        return ", ".join(axisWords()[axis] for axis in value) or _("none")
    if field == "labels":
        return ", ".join(f"{number} {name}" for number, name in value.items()) or _("none")
    if field == "normalization":
        return "; ".join(_window(one) for one in value)
    if isinstance(value, (list, tuple)):
        return ", ".join(f"{one:g}" if isinstance(one, (int, float)) else str(one) for one in value)
    return str(value)


def assigned(field: str, text: str) -> str:
    """What the user typed as the engine's `--set` takes it; "" for nothing, which lets the planner choose.

    Numbers may stand apart by commas, blanks or a cross; the engine judges whether they are possible.
    """
    text = text.strip()
    if field == "mirror_axes":
        return _axes(text)
    return ",".join(part for part in re.split(r"[\s,;×]+|(?<=\d)x(?=\d)", text) if part)


def _axes(text: str) -> str:
    if text.casefold() in (_("none").casefold(), "none", "[]", "()"):
        return ","  # an empty list, which is something else than no choice
    numbers = {name.casefold(): str(axis) for axis, name in enumerate(axisWords())}
    parts = [part.strip() for part in re.split(r"[,;]", text) if part.strip()]
    return ",".join(numbers.get(part.casefold(), part) for part in parts)


def _window(how: dict) -> str:
    if how.get("kind") != "ct":
        return _("each volume by itself")
    text = _("{lower:g} to {upper:g} HU, mean {mean:g}, standard deviation {sd:g}")
    return text.format(lower=how["lower"], upper=how["upper"], mean=how["mean"], sd=how["sd"])
