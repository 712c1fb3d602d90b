"""What the user wants segmented, as cases: files, DICOM series, folders of images, data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topomae.data.case_loading import load_case_image
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import open_dataset
from topomae.data.file_names import READABLE, is_image_file, split_channel, stem_of
from topomae.data.plain_folders import LAYOUTS, found_cases
from topomae.data.plan import Plan
from topomae.data.volume import Volume
from topomae.data.volume_io import count_channels
from topomae.errors import BadDataError, TopoMAEError
from topomae.inference.modalities import arranged, describe_misfit, describe_missing, needs, places_of

# One input: a path; the paths of one case's modalities, in order; or by name, where some may be missing.
Input = str | Path | Sequence[str | Path] | Mapping[str, str | Path | None]


@dataclass(frozen=True)
class InputCase:
    """A case to segment.

    Attributes:
        case: its name and image files; for DICOM, the folder of a series stands for a file.
        order: for each modality of the model the channel of the files that shows it, or None if there is none;
            empty where the files' channels are the model's modalities in their order.
    """

    case: Case
    order: tuple[int | None, ...] = ()

    def own_modalities(self, plan: Plan) -> tuple[str, ...]:
        """What the channels of the files show, those that the case lacks included."""
        if not self.order:
            return plan.modalities
        shown = dict(zip(self.order, plan.modalities, strict=True))
        return tuple(shown[channel] for channel in sorted(shown.keys() - {None}))

    def available(self, plan: Plan) -> tuple[bool, ...]:
        """Which of the model's modalities there are."""
        order = self.order or range(plan.channels)
        return tuple(channel is not None and channel not in self.case.missing for channel in order)


def find_cases(inputs: Input | Case | Sequence[Input | Case], plan: Plan) -> list[InputCase]:
    """Find the cases in what the user gave.

    Args:
        inputs: a volume file; the folder of a DICOM series, or of several such folders; a folder of
            images or a data set, as `open_dataset` understands it; files by name of the modality, of which some
            may be missing; or a list of these, of cases, and of lists with one file per modality. As many
            single-channel files as the model has modalities, in a list, are the modalities of one case.
        plan: of the model; says which modalities a case needs.
    Raises:
        BadDataError: nothing there, or a case has other modalities than the model.
        BadSettingError: a name is not that of a modality of the model.
    """
    if isinstance(inputs, (str, Path, Case, Mapping)):
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
    names = given.own_modalities(plan)
    _check_channels(given.case, len(names) - len(given.case.missing), plan)
    source = Dataset("", Path(), (given.case,), names, {})
    image = load_case_image(source, given.case, problems)
    if given.order:
        image = arranged(image, given.order)
    problems += [*describe_missing(image.available, plan), *describe_misfit(image, plan)]
    return image


def _of_one(given: Input | Case, plan: Plan) -> list[InputCase]:
    if isinstance(given, Case):
        return [InputCase(given)]
    if isinstance(given, Mapping):
        return [_of_named(given, plan)]
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


def _of_named(files: Mapping[str, str | Path | None], plan: Plan) -> InputCase:
    """One case of files by the names of their modalities; None and what is not named is missing."""
    there = {name: file for name, file in files.items() if file is not None}
    if not there:
        raise BadDataError("there is nothing to segment", hint=f"Give at least one of {', '.join(plan.modalities)}.")
    order: list[int | None] = [None] * plan.channels
    for channel, place in enumerate(places_of(there, plan)):
        order[place] = channel
    case = _of_modalities(list(there.values())).case
    for name, path in zip(there, case.files, strict=True):
        if path.is_file() and (count := _channels_of(path)) != 1:
            raise BadDataError(
                f"the file given as {name} holds {count} channels", hint="Give one 3-D image by each name.", path=path
            )
    return InputCase(case, tuple(order))


def _of_folder(folder: Path, plan: Plan) -> list[InputCase]:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    layouts = {name for name, _ in LAYOUTS}
    if (folder / "dataset.json").is_file():
        return _of_dataset(open_dataset(folder), plan)
    if any(is_image_file(path) or path.name in layouts for path in entries):
        cases = found_cases(folder, plan.channels if plan.channels > 1 else None, may_lack=True)
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
    distinct = len(set(ours)) == len(ours) and len(set(theirs)) == len(theirs)
    if len(theirs) < len(ours) and distinct and set(theirs) <= set(ours):
        some = tuple(theirs.index(name) if name in theirs else None for name in ours)
        return [InputCase(case, some) for case in dataset.cases]
    if len(theirs) != len(ours):
        raise BadDataError(
            f"the data set has {', '.join(dataset.modalities)}, but the model needs {needs(plan)}",
            hint="Use a model that was trained on such images.",
            path=dataset.folder / "dataset.json",
        )
    order: tuple[int, ...] = ()
    if theirs != ours and sorted(theirs) == sorted(ours) and distinct:
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


def _check_channels(case: Case, wanted: int, plan: Plan) -> None:
    """Refuse a case with another number of channels than it should have, before reading voxels."""
    try:
        counts = [_channels_of(path) for path in case.files]
    except TopoMAEError:
        return  # reading will say more exactly what is wrong
    if sum(counts) != wanted or (len(counts) > 1 and max(counts) > 1):
        given = " + ".join(str(count) for count in counts)
        raise BadDataError(
            f"the model needs {needs(plan)} and the case has {given} channel{'' if given == '1' else 's'}",
            hint="Give them in this order, as one 4-D file or as files CASE_0000, CASE_0001 and so on; or by name, "
            "--image NAME=FILE."
            if plan.channels > 1
            else "Give one 3-D image.",
            case=case.name,
            path=case.files[0],
        )


def _channels_of(path: Path) -> int:
    """Channels that a file's header declares; a folder (DICOM series) has one."""
    return 1 if path.is_dir() else count_channels(path)


def _name_of(path: Path) -> str:
    """Name of a case after its file or folder; "." has a name, too."""
    path = path.resolve()
    return path.name if path.is_dir() else stem_of(path)
