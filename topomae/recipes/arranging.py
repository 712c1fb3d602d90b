"""From the folder of a data set as it is downloaded to one that every command reads."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from topomae.data.file_names import IMAGE_SUFFIXES, image_suffix, path_within
from topomae.errors import BadDataError, RunError
from topomae.events import Events
from topomae.files import atomic_path, remove_leftovers, told_as_run_error, write_json_atomic
from topomae.recipes.recipe import Recipe

_NUMBER = re.compile(r"[0-9]*$")


def arrange(recipe: Recipe, source: str | Path, output: str | Path, *, events: Events | None = None) -> Path:
    """Arrange the files of a data set as imagesTr/, labelsTr/, dataset.json and splits.json.

    Files are linked (hard links, which take no space) where the file system allows that, else copied. Nothing in
    the source is changed. After a stop, the same call goes on.

    Args:
        recipe: of the data set.
        source: folder as downloaded, or one that the recipe's layout begins in.
        output: folder to be made.
        events: told of progress.
    Returns:
        The folder, for `--data`.
    Raises:
        BadDataError: the source has no such layout, or files are missing.
        RunError: the output is there already, or is the source, or cannot be written.
    """
    source, output = Path(source), Path(output)
    if (output / "dataset.json").exists():
        raise RunError("holds a data set already", hint="Choose a new folder.", path=output)
    root = found_layout(recipe, source)
    if root is None:
        raise BadDataError(
            f"there are no files of recipe {recipe.name} here, such as {_expected(recipe)}",
            hint="Give the folder that the archive was unpacked to.",
            path=source,
        )
    if output.resolve() in (source.resolve(), root.resolve()):
        raise RunError("is the folder of the download, which is to stay as it is", hint="Choose another.", path=output)
    files = _files(recipe, root)
    for part in ("imagesTr", "labelsTr"):
        remove_leftovers(output / part)
    for target, path in (events or Events()).track(list(files.items()), "arrange"):
        _link_or_copy(path, output / (target + image_suffix(path)))
    write_json_atomic(output / "splits.json", _splits(recipe))
    write_json_atomic(output / "dataset.json", _description(recipe, files))  # last: it says that all the rest is there
    return output


def found_layout(recipe: Recipe, folder: Path) -> Path | None:
    """The folder in which the paths of the recipe's layout begin; None if there is none in `folder`."""
    if recipe.data.layout is None or not folder.is_dir():
        return None
    for inside in recipe.data.layout.inside:
        root = path_within(inside, folder) if inside else folder
        if any(_file(root, recipe, recipe.data.layout.images[0], name) for name in recipe.split.cases):
            return root
    return None


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are, for a sentence."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _files(recipe: Recipe, root: Path) -> dict[str, Path]:
    """Each file by its place in the output, without suffix; BadDataError if one is missing, or is only a header."""
    layout = recipe.data.layout
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in recipe.split.cases:
        for template, target in [
            *zip(layout.images, _images(recipe, name), strict=True),
            (layout.label, _label(name)),
        ]:
            path = _file(root, recipe, template, name)
            if path is None:
                missing.append(_filled(recipe, template, name))
            elif path.suffix.lower() == ".nhdr":
                raise BadDataError(
                    "its voxels lie in a file of their own, from which arranging would part it",
                    hint="Save it as .nrrd or .nii.gz.",
                    case=name,
                    path=path,
                )
            else:
                found[target] = path
    if missing:
        raise BadDataError(
            f"{len(missing)} of {len(missing) + len(found)} files of recipe {recipe.name} are missing: "
            f"{some_of(missing)}",
            hint="Unpack the archive again.",
            path=root,
        )
    return found


def _images(recipe: Recipe, name: str) -> list[str]:
    """Places of a case's images in the output; several are numbered as nnU-Net does."""
    count = len(recipe.data.modalities)
    return [f"imagesTr/{name}"] if count == 1 else [f"imagesTr/{name}_{place:04d}" for place in range(count)]


def _label(name: str) -> str:
    return f"labelsTr/{name}"


def _file(root: Path, recipe: Recipe, template: str, name: str) -> Path | None:
    """The volume at a path of the layout, with whatever suffix."""
    stem = _filled(recipe, template, name)
    paths = (path_within(stem + suffix, root, case=name) for suffix in IMAGE_SUFFIXES)
    return next((path for path in paths if os.path.isfile(path)), None)


def _filled(recipe: Recipe, template: str, name: str) -> str:
    parts = {"case": name, "number": _NUMBER.search(name).group(), "subject": recipe.subject_of[name]}
    for key, text in parts.items():
        template = template.replace("{" + key + "}", text)
    return template


def _expected(recipe: Recipe) -> str:
    if recipe.data.layout is None:
        return "a dataset.json, with which it needs no arranging"
    return _filled(recipe, recipe.data.layout.images[0], recipe.split.cases[0]) + IMAGE_SUFFIXES[0]


def _link_or_copy(path: Path, target: Path) -> None:
    with told_as_run_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file() and (target.samefile(path) or filecmp.cmp(path, target, shallow=False)):
        return  # from a call that was stopped: what it had arranged is whole
    with suppress(OSError, NotImplementedError):  # another disk, or a file system without links
        os.link(path.resolve(), target)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)


def _splits(recipe: Recipe) -> dict[str, object]:
    split = recipe.split
    lists = {"train": list(split.train), "val": list(split.val), "test": list(split.test)}
    return {"rule": split.source, **lists, "subject_of": recipe.subject_of}


def _description(recipe: Recipe, files: Mapping[str, Path]) -> dict[str, object]:
    """dataset.json as the Medical Segmentation Decathlon has it."""

    def written(target: str) -> str:
        return f"./{target}{image_suffix(files[target])}"

    training = []
    for name in sorted(recipe.split.cases):
        images = [written(target) for target in _images(recipe, name)]
        training.append({"image": images if len(images) > 1 else images[0], "label": written(_label(name))})
    return {
        "name": recipe.name,
        "description": recipe.data.title,
        "reference": recipe.data.cite,
        "licence": recipe.data.licence,
        "modality": {str(place): name for place, name in enumerate(recipe.data.modalities)},
        "labels": {"0": "background", **{str(value): name for value, name in recipe.data.labels.items()}},
        "numTraining": len(training),
        "training": training,
    }
