"""Data sets without a list of cases: folders of images and labels matched by name."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from topomae.data.cases import Case
from topomae.data.file_names import READABLE, check_encodable, check_inside, is_image_file, split_channel, stem_of
from topomae.errors import BadDataError

# Image folder and label folder, in the order they are looked for.
LAYOUTS = (("imagesTr", "labelsTr"), ("images", "labels"))


def found_cases(
    folder: Path, channels: int | None = None, file_ending: str = "", *, may_lack: bool = False
) -> list[Case]:
    """Find cases in imagesTr/ and labelsTr/, in images/ and labels/, or as images in the folder itself.

    Image and label belong together if their names without suffix are the same. nnU-Net's channel
    numbers (case_0000, case_0001 ...) join the files of one case where the label names, the folder
    names or the known number of channels say that they are channel numbers.

    Args:
        folder: the data set.
        channels: number of channels per case, if known (nnU-Net's "channel_names").
        file_ending: only files with this ending count, if given (nnU-Net's "file_ending").
        may_lack: whether files of some of the known number of channels may be missing from a case; None then.

    Raises:
        BadDataError: no images, a label without image, two files for one case, a missing channel.
    """
    image_folder, label_folder = next(
        ((folder / i, folder / m) for i, m in LAYOUTS if (folder / i).is_dir() or (folder / m).is_dir()),
        (folder, None),
    )
    images = _files(image_folder, folder, file_ending)
    labels = _by_stem(_files(label_folder, folder, file_ending)) if label_folder else {}
    numbered = _are_channels(images, set(labels), channels, folder=image_folder.name)
    may_lack = may_lack and channels is not None
    groups = _grouped(images, set(labels), numbered, may_lack=may_lack)
    for name in labels:
        if name not in groups:
            raise BadDataError(
                "a label map without an image of the same name",
                hint=f"Add the image to {image_folder.name}, or move the label map away.",
                case=name,
                path=labels[name],
            )
    if not groups:
        raise BadDataError(
            f"no images found, neither in {' nor '.join(i for i, _ in LAYOUTS)} nor in the folder itself",
            hint=f"Images are files in {READABLE}; convert DICOM series to one of them first.",
            path=folder,
        )
    cases = [
        Case(name, _in_their_places(name, files, channels if may_lack else None), labels.get(name))
        for name, files in groups.items()
    ]
    _check_channels(cases, channels or max(len(case.images) for case in cases))
    return cases


def _files(folder: Path, dataset_folder: Path, file_ending: str) -> list[Path]:
    """Return the volume files of a folder by name; hidden and other files do not count."""
    if not folder.is_dir():
        return []
    check_inside(folder, dataset_folder)
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise BadDataError(
            f"the folder cannot be read ({error.strerror})", hint="Check its permissions.", path=folder
        ) from None
    found = [path for path in paths if is_image_file(path) and path.name.endswith(file_ending)]
    for path in found:
        check_inside(path, dataset_folder, case=stem_of(path))
        check_encodable(path)
    return found


def _by_stem(files: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        if stem_of(file) in found:
            raise _two_files(stem_of(file), found[stem_of(file)], file)
        found[stem_of(file)] = file
    return found


def _two_files(name: str, first: Path, second: Path) -> BadDataError:
    return BadDataError(
        f"two files have the same name up to the suffix: {first.name} and {second.name}",
        hint="Keep one of them, or rename it.",
        case=name,
        path=second,
    )


def _are_channels(images: list[Path], labels: set[str], channels: int | None, *, folder: str) -> bool:
    """Decide whether a trailing _0000 is a channel number or part of the case's name.

    Names like scan_0000, scan_0001 ... of single scans are common, so more than the number is asked for.
    """
    split = [split_channel(stem_of(path)) for path in images]
    bases = {base for base, channel in split if channel is not None}
    if not bases:
        return False
    if channels is not None or labels & bases:
        return True
    if labels & {stem_of(path) for path in images}:
        return False
    firsts = {base for base, channel in split if channel == 0}
    # nnU-Net numbers a single channel, too. What it is to predict may as well be scan_0000, scan_0001 ... here.
    nnunet = folder == "imagesTr" or (folder == "imagesTs" and all(channel == 0 for _, channel in split))
    return bases == firsts and all(channel is not None for _, channel in split) and (nnunet or len(bases) > 1)


def _grouped(images: list[Path], labels: set[str], numbered: bool, *, may_lack: bool) -> dict[str, dict[int, Path]]:
    """Collect the files of each case by place; in a numbered group, place n holds channel n."""
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in images:
        stem = stem_of(path)
        base, channel = split_channel(stem)
        name, place = (base, channel) if numbered and channel is not None and stem not in labels else (stem, 0)
        if place in groups[name]:
            raise _two_files(name, groups[name][place], path)
        groups[name][place] = path
    for name, files in groups.items():
        if sorted(files) != list(range(len(files))) and not may_lack:
            missing = next(n for n in range(max(files)) if n not in files)
            raise BadDataError(
                f"the file of channel {missing} ({name}_{missing:04d}) is missing",
                hint="Add it, or take the case's other files out.",
                case=name,
                path=files[max(files)].parent,
            )
    return {name: {place: files[place] for place in sorted(files)} for name, files in groups.items()}


def _in_their_places(name: str, files: dict[int, Path], channels: int | None) -> tuple[Path | None, ...]:
    """The files of a case, with room for missing ones unless `channels` is None or one file may hold them all."""
    if channels is None or all(stem_of(file) == name for file in files.values()):
        return tuple(files.values())
    return tuple(files.get(place) for place in range(max(channels, max(files) + 1)))


def _check_channels(cases: list[Case], count: int) -> None:
    """Refuse a case with fewer image files than others (a single file may hold every channel)."""
    for case in cases:
        single = len(case.images) == 1 and split_channel(stem_of(case.files[0]))[0] != case.name
        if len(case.images) != count and not single:
            raise BadDataError(
                f"{len(case.files)} image files where {count} belong to a case",
                hint=f"Give each case the files {case.name}_0000 to {case.name}_{count - 1:04d}.",
                case=case.name,
                path=case.files[-1],
            )
