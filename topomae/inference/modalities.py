"""The modalities of one image: which of the model's there are, in the model's order, on one grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from topomae.data.geometry import Geometry
from topomae.data.grids import describe_grid, onto_grid
from topomae.data.plan import Plan
from topomae.data.volume import Volume
from topomae.errors import BadDataError, BadSettingError

_MAX_SPACING_RATIO = 3.0
_LOWEST_HU = -900.0  # air; no other modality has such values


def places_of(names: Iterable[str], plan: Plan) -> list[int]:
    """Find the modalities that are meant by names; upper and lower case are the same.

    Args:
        names: as the user wrote them.
        plan: of the model.
    Returns:
        The place of each in the model.
    Raises:
        BadSettingError: a name that the model does not know, or two for one modality; names the model's.
    """
    known = [name.casefold() for name in plan.modalities]
    places: list[int] = []
    for name in names:
        wanted = name.strip()
        found = [plan.modalities.index(wanted)] if wanted in plan.modalities else []
        found = found or [place for place, one in enumerate(known) if one == wanted.casefold()]
        if len(found) != 1 or found[0] in places:
            problem = f"{wanted!r} is given twice" if found else f"the model has no {wanted!r}"
            raise BadSettingError(
                f"{problem}; the modalities are {', '.join(plan.modalities)}",
                hint="Name each image after one of them, as in --image NAME=FILE.",
            )
        places += found
    return places


def join_modalities(volumes: Sequence[Volume | None], plan: Plan, problems: list[str]) -> Volume:
    """Make one image of volumes that are in memory, as `load_input` does of files.

    Args:
        volumes: (1, I, J, K) finite float32 each, one per modality of the model, in its order, None where it is
            missing; `path` is what to call them in messages.
        plan: of the model.
        problems: receives a sentence for everything that the user should know.
    Raises:
        BadDataError: other modalities than the model's, none, or they lie on different grids.
    """
    check_modalities(len(volumes), plan)
    given = [volume for volume in volumes if volume is not None]
    if not given:
        raise BadDataError("every modality is missing", hint=f"Give at least one of {', '.join(plan.modalities)}.")
    first = given[0]
    arrays = []
    for volume in given:
        placed = onto_grid(volume, first)
        if placed is None:
            raise BadDataError(
                f"the modalities lie on different grids: {first.path} has {describe_grid(first)}, "
                f"{volume.path} has {describe_grid(volume)}",
                hint="Register and resample the modalities onto one grid.",
            )
        arrays.append(placed.array)
    array = first.array if len(arrays) == 1 else np.concatenate(arrays)
    image = Volume(array, first.affine, first.path)
    if len(given) < len(volumes):
        counter = iter(range(len(given)))
        image = arranged(image, [None if volume is None else next(counter) for volume in volumes])
    problems += [*describe_missing(image.available, plan), *describe_misfit(image, plan)]
    return image


def arranged(image: Volume, order: Sequence[int | None]) -> Volume:
    """Put channels into another order, with room for those that are missing.

    Args:
        image: (C, I, J, K).
        order: for each channel of the result that of the image, or None where it is missing.
    Returns:
        Volume whose missing channels are zero and not `available`.
    """
    there = image.available or (True,) * len(image.array)
    available = tuple(channel is not None and there[channel] for channel in order)
    array = np.zeros((len(order), *image.shape), image.array.dtype)
    for place, channel in enumerate(order):
        if available[place]:
            array[place] = image.array[channel]
    return Volume(array, image.affine, image.path, None if all(available) else available)


def check_modalities(given: int, plan: Plan) -> None:
    """Refuse another number of images than the model has modalities.

    Raises:
        BadDataError: naming the modalities.
    """
    if given != plan.channels:
        raise BadDataError(
            f"the model needs {needs(plan)}, but {given} {'is' if given == 1 else 'are'} given",
            hint="Give one image per modality, in this order.",
        )


def check_missing(available: Sequence[bool] | None, plan: Plan, *, trained: bool) -> None:
    """Refuse an image that lacks modalities if the model needs them all.

    Args:
        available: which of the model's modalities there are; None for all.
        plan: of the model.
        trained: whether the model was trained to do without some.
    Raises:
        BadDataError: naming what is missing.
    """
    missing = missing_names(available, plan)
    if missing and not trained:
        raise BadDataError(
            f"the model needs {needs(plan)}, but there is no {' and no '.join(missing)}",
            hint="Give all of them, or train a model that can do without: --set modality_dropout=0.3.",
        )


def missing_names(available: Sequence[bool] | None, plan: Plan) -> list[str]:
    """The modalities of the model that are missing."""
    if available is None:
        return []
    return [name for name, there in zip(plan.modalities, available, strict=True) if not there]


def describe_missing(available: Sequence[bool] | None, plan: Plan) -> list[str]:
    """Say in one sentence which modalities are missing; empty if none is."""
    missing = missing_names(available, plan)
    if not missing:
        return []
    there = [name for name in plan.modalities if name not in missing]
    return [f"{' and '.join(missing)} not available: the model looks at {' and '.join(there)} alone"]


def describe_misfit(image: Volume, plan: Plan) -> list[str]:
    """Say in what an image is unlike those that the model was trained on; empty if it looks alike.

    Args:
        image: (C, I, J, K) in the files' units.
        plan: of the model.
    """
    found = []
    available = image.available or (True,) * len(image.array)
    for channel, name, how, there in zip(image.array, plan.modalities, plan.normalization, available, strict=False):
        if not there:
            continue
        lowest = float(channel.min())
        if how.kind == "ct" and lowest >= 0:
            found.append(
                f"{name}: no value is below 0, so these are probably not the Hounsfield units that the model "
                "was trained on"
            )
        elif how.kind != "ct" and lowest <= _LOWEST_HU and re.search(r"mr|t1|t2|flair", name, re.IGNORECASE):
            found.append(f"{name}: values down to {lowest:g} as in CT, but the model was trained on {name}")
    spacing = Geometry.of(image).ras_spacing
    ratios = [max(a / b, b / a) for a, b in zip(spacing, plan.spacing, strict=True)]
    if max(ratios) > _MAX_SPACING_RATIO:
        given, wanted = (" × ".join(f"{mm:.3g}" for mm in both) for both in (spacing, plan.spacing))
        found.append(f"the voxels of {given} mm are very unlike the {wanted} mm that the model works at")
    return found


def needs(plan: Plan) -> str:
    """The images that a model needs, in words."""
    number = "one image" if plan.channels == 1 else f"{plan.channels} images"
    return f"{number} ({', '.join(plan.modalities)})"
