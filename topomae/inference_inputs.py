"""What the user wants segmented, as cases: files, DICOM series, folders of images, data sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topomae.data.case_loading import load_case_image
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import open_dataset
from topomae.data.file_names import READABLE, is_image_file, split_channel, stem_of
from topomae.data.geometry import Geometry
from topomae.data.grids import describe_grid, onto_grid
from topomae.data.plain_folders import LAYOUTS, found_cases
from topomae.data.plan import Plan
from topomae.data.volume import Volume
from topomae.data.volume_io import count_channels
from topomae.errors import BadDataError, TopoMAEError

# One input: a path, or the paths of one case's modalities.
Input = str | Path | Sequence[str | Path]
_MAX_SPACING_RATIO = 3.0
_LOWEST_HU = -900.0  # air; no other modality has such values


@dataclass(frozen=True)
class InputCase:
    """A case to segment.

    Attributes:
        case: its name and image files; for DICOM, the folder of a series stands for a file.
        order: channels of the files in the model's order, where that is not the files' order.
    """

    case: Case
    order: tuple[int, ...] = ()


def find_cases(inputs: Input | Case | Sequence[Input | Case], plan: Plan) -> list[InputCase]:
    """Find the cases in what the user gave.

    Args:
        inputs: a volume file; the folder of a DICOM series, or of several such folders; a folder of
            images or a data set, as `open_dataset` understands it; or a list of these, of cases, and of
            lists with one file per modality. As many single-channel files as the model has modalities, in a
            list, are the modalities of one case.
        plan: of the model; says which modalities a case needs.
    Raises:
        BadDataError: nothing there, or a case has other modalities than the model.
    """
    if isinstance(inputs, (str, Path, Case)):
        cases = _of_one(inputs, plan)
    else:
        groups = _grouped(inputs, plan)
        if len(groups) == len(inputs) and _are_modalities(inputs, plan):
            groups = [inputs]
        cases = [case for one in groups for case in _of_one(one, plan)]
    if not cases:
        raise BadDataError("there is nothing to segment", hint="Give at least one image.")
    return cases


def load_input(given: InputCase, plan: Plan, problems: list[str]) -> Volume:
    """Read a case's image with the model's modalities.

    Args:
        given: from `find_cases`.
        plan: of the model.
        problems: receives a sentence for everything that the user should know.
    Raises:
        BadDataError: a file cannot be used, or the modalities are not the model's.
    """
    _check_channels(given.case, plan)
    source = Dataset("", Path(), (given.case,), plan.modalities, {})
    image = load_case_image(source, given.case, problems)
    if given.order:
        image = Volume(image.array[list(given.order)], image.affine, image.path)
    problems += describe_misfit(image, plan)
    return image


def join_modalities(volumes: Sequence[Volume], plan: Plan, problems: list[str]) -> Volume:
    """Make one image of volumes that are in memory, as `load_input` does of files.

    Args:
        volumes: (1, I, J, K) finite float32 each, one per modality of the model, in its order; `path` is what
            to call them in messages.
        plan: of the model.
        problems: receives a sentence for everything that the user should know.
    Raises:
        BadDataError: other modalities than the model's, or they lie on different grids.
    """
    check_modalities(len(volumes), plan)
    first = volumes[0]
    arrays = [first.array]
    for volume in volumes[1:]:
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
    problems += describe_misfit(image, plan)
    return image


def check_modalities(given: int, plan: Plan) -> None:
    """Refuse another number of images than the model has modalities.

    Raises:
        BadDataError: naming the modalities.
    """
    if given != plan.channels:
        raise BadDataError(
            f"the model needs {_needs(plan)}, but {given} {'is' if given == 1 else 'are'} given",
            hint="Give one image per modality, in this order.",
        )


def describe_misfit(image: Volume, plan: Plan) -> list[str]:
    """Say in what an image is unlike those that the model was trained on; empty if it looks alike.

    Args:
        image: (C, I, J, K) in the files' units.
        plan: of the model.
    """
    found = []
    for channel, name, how in zip(image.array, plan.modalities, plan.normalization, strict=False):
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


def _of_one(given: Input | Case, plan: Plan) -> list[InputCase]:
    if isinstance(given, Case):
        return [InputCase(given)]
    if not isinstance(given, (str, Path)):
        return [_of_modalities(given)]
    path = Path(given)
    if path.is_dir():
        return _of_folder(path, plan)
    if not path.exists():
        raise BadDataError("there is no such file or folder", hint="Check the path.", path=path)
    return [InputCase(Case(stem_of(path), (path,)))]


def _of_modalities(files: Sequence[str | Path]) -> InputCase:
    """One case of several files, named after what their names have in common, or after the first."""
    paths = tuple(Path(file) for file in files)
    for path in paths:
        if not path.exists():
            raise BadDataError("there is no such file or folder", hint="Check the path.", path=path)
    bases = {split_channel(_name_of(path))[0] for path in paths}
    return InputCase(Case(bases.pop() if len(bases) == 1 else _name_of(paths[0]), paths))


def _of_folder(folder: Path, plan: Plan) -> list[InputCase]:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    layouts = {name for name, _ in LAYOUTS}
    if (folder / "dataset.json").is_file():
        return _of_dataset(open_dataset(folder), plan)
    if any(is_image_file(path) or path.name in layouts for path in entries):
        cases = found_cases(folder, plan.channels if plan.channels > 1 else None)
        return [InputCase(case) for case in sorted(cases, key=lambda case: case.name)]
    if any(path.is_file() for path in entries):
        return [InputCase(Case(_name_of(folder), (folder,)))]
    series = [path for path in entries if path.is_dir() and any(file.is_file() for file in path.iterdir())]
    if not series:
        raise BadDataError(
            "the folder holds no images",
            hint=f"Give a folder of files in {READABLE}, or of a DICOM series.",
            path=folder,
        )
    return [InputCase(Case(_name_of(path), (path,))) for path in series]


def _of_dataset(dataset: Dataset, plan: Plan) -> list[InputCase]:
    """The cases of a data set, with its modalities in the model's order where the names tell it."""
    theirs, ours = ([name.casefold() for name in names] for names in (dataset.modalities, plan.modalities))
    if len(theirs) != len(ours):
        raise BadDataError(
            f"the data set has {', '.join(dataset.modalities)}, but the model needs {_needs(plan)}",
            hint="Use a model that was trained on such images.",
            path=dataset.folder / "dataset.json",
        )
    order: tuple[int, ...] = ()
    if theirs != ours and sorted(theirs) == sorted(ours) and len(set(ours)) == len(ours):
        order = tuple(theirs.index(name) for name in ours)
    return [InputCase(case, order) for case in dataset.cases]


def _are_modalities(inputs: Sequence[Input | Case], plan: Plan) -> bool:
    """Whether a flat list holds the modalities of one case: as many files as modalities, one channel each."""
    if plan.channels == 1 or len(inputs) != plan.channels:
        return False
    if not all(isinstance(one, (str, Path)) for one in inputs):
        return False
    return all(_channels_of(Path(one)) == 1 for one in inputs)


def _grouped(inputs: Sequence[Input | Case], plan: Plan) -> list[Input | Case]:
    """Join the files CASE_0000, CASE_0001 … of one folder in a list, if the model has several modalities."""
    groups: dict[object, list[Path]] = {}
    for place, one in enumerate(inputs):
        path = Path(one) if isinstance(one, (str, Path)) else None
        numbered = path is not None and plan.channels > 1 and is_image_file(path)
        base, channel = split_channel(stem_of(path)) if numbered else ("", None)
        key = (path.parent, base) if channel is not None else place
        groups.setdefault(key, []).append(one)
    return [
        sorted(group, key=lambda path: Path(path).name) if len(group) > 1 else group[0] for group in groups.values()
    ]


def _check_channels(case: Case, plan: Plan) -> None:
    """Refuse a case with another number of channels than the model has modalities, before reading voxels."""
    try:
        counts = [_channels_of(path) for path in case.images]
    except TopoMAEError:
        return  # reading will say more exactly what is wrong
    if sum(counts) != plan.channels or (len(counts) > 1 and max(counts) > 1):
        given = " + ".join(str(count) for count in counts)
        raise BadDataError(
            f"the model needs {_needs(plan)} and the case has {given} channel{'' if given == '1' else 's'}",
            hint="Give them in this order, as one 4-D file or as files CASE_0000, CASE_0001 and so on."
            if plan.channels > 1
            else "Give one 3-D image.",
            case=case.name,
            path=case.images[0],
        )


def _channels_of(path: Path) -> int:
    """Channels that a file's header declares; a folder (DICOM series) has one."""
    return 1 if path.is_dir() else count_channels(path)


def _needs(plan: Plan) -> str:
    number = "one image" if plan.channels == 1 else f"{plan.channels} images"
    return f"{number} ({', '.join(plan.modalities)})"


def _name_of(path: Path) -> str:
    """Name of a case after its file or folder; "." has a name, too."""
    path = path.resolve()
    return path.name if path.is_dir() else stem_of(path)
