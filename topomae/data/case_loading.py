"""Loading one case: its modalities stacked on one grid, its label map on the same grid."""

from __future__ import annotations

import numpy as np

from topomae.data.cases import Case, Dataset
from topomae.data.grids import describe_grid, onto_grid
from topomae.data.volume import Volume
from topomae.data.volume_io import read_image, read_labels
from topomae.errors import BadDataError


def load_case(dataset: Dataset, case: Case, *, with_label: bool) -> tuple[Volume, Volume | None]:
    """Read a case's image and, if asked for, its label map.

    Args:
        dataset: the data set of the case.
        case: what to read.
        with_label: read the label map too; the label file is not touched otherwise.

    Returns:
        (image, label): image float32 (C, I, J, K), one channel per modality, on the grid of the first
        file, zero and not `available` where the case lacks it; label (1, I, J, K) unsigned on the same grid, or None.

    Raises:
        BadDataError: a file cannot be used, grids differ, channels are not as many as modalities,
            the label map is missing or holds values that the data set does not name.
    """
    image = load_case_image(dataset, case)
    return image, load_case_label(dataset, case, image) if with_label else None


def load_case_image(dataset: Dataset, case: Case, problems: list[str] | None = None) -> Volume:
    """Read a case's modalities; see `load_case`. `problems` receives what was repaired or looks odd."""
    first = read_image(case.files[0], case=case.name, problems=problems)
    volumes = [first]
    for path in case.files[1:]:
        volume = read_image(path, case=case.name, problems=problems)
        placed = onto_grid(volume, first)
        if placed is None:
            raise BadDataError(
                f"its modalities lie on different grids: {case.files[0].name} has {describe_grid(first)}, "
                f"{path.name} has {describe_grid(volume)}",
                hint="Register and resample the modalities onto one grid.",
                case=case.name,
                path=path,
            )
        volumes.append(placed)
    per_file = [volume.array.shape[0] for volume in volumes]
    wanted = len(dataset.modalities) - len(case.missing)
    if sum(per_file) != wanted or (len(volumes) > 1 and max(per_file) > 1):
        held = " and ".join(str(n) for n in per_file)
        raise BadDataError(
            f"the image holds {held} channel{'s' if sum(per_file) > 1 else ''} where the data set has "
            f"{wanted} ({', '.join(_modalities_of(case, dataset))})",
            hint="Correct the list of modalities in dataset.json, or the file.",
            case=case.name,
            path=case.files[0],
        )
    array = first.array if len(volumes) == 1 else np.concatenate([volume.array for volume in volumes])
    image = Volume(array, first.affine, first.path)
    return _with_room(image, case, dataset) if case.missing else image


def _modalities_of(case: Case, dataset: Dataset) -> list[str]:
    return [name for place, name in enumerate(dataset.modalities) if place not in case.missing]


def _with_room(image: Volume, case: Case, dataset: Dataset) -> Volume:
    """The image with a channel of zeros, which is not `available`, for each modality that the case lacks."""
    available = tuple(place not in case.missing for place in range(len(dataset.modalities)))
    array = np.zeros((len(available), *image.shape), image.array.dtype)
    array[np.array(available)] = image.array
    return Volume(array, image.affine, image.path, available)


def load_case_label(dataset: Dataset, case: Case, image: Volume, problems: list[str] | None = None) -> Volume:
    """Read a case's label map onto the grid of its image; see `load_case`."""
    if case.label is None:
        raise BadDataError(
            "no label map, which supervised training and evaluation need",
            hint="Add one of the same name, or use the case for pre-training only.",
            case=case.name,
            path=case.files[0],
        )
    label = read_labels(case.label, case=case.name, problems=problems)
    placed = onto_grid(label, image)
    if placed is None:
        raise BadDataError(
            f"image and label map lie on different grids: the image has {describe_grid(image)}, "
            f"the label map {describe_grid(label)}",
            hint="Pair the right files, or resample the label map onto the image by nearest neighbour.",
            case=case.name,
            path=case.label,
        )
    if dataset.labels:
        _check_values(dataset, case, placed)
    return placed


def count_labels(label: Volume) -> dict[int, int]:
    """Return the number of voxels of each value present, without background (0), ascending by value."""
    if label.array.dtype == np.uint8:
        counts = np.bincount(label.array.ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value}
    values, counts = np.unique(label.array, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}


def _check_values(dataset: Dataset, case: Case, label: Volume) -> None:
    unknown = {value: n for value, n in count_labels(label).items() if value not in dataset.labels}
    if unknown:
        named = ", ".join(str(value) for value in list(unknown)[:5]) + (" ..." if len(unknown) > 5 else "")
        known = ", ".join(str(value) for value in (0, *dataset.labels))
        raise BadDataError(
            f"the label map holds the unknown value {named} in {sum(unknown.values())} voxels; "
            f"the data set names {known}",
            hint="Correct the label map, or name the value in dataset.json.",
            case=case.name,
            path=case.label,
        )
