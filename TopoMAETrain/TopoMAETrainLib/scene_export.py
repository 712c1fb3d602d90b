"""Volumes and segmentations of the scene as a training set: a folder as of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from TopoMAELib.volumes import volumeArrayAndAffine
from TopoMAETrainLib.scene_cases import SceneCase, proposeCases, sceneSegmentations, sceneVolumes
from TopoMAETrainLib.scene_check import ERROR, Problem, checkSegments, checkVolumes
from TopoMAETrainLib.scene_files import imageOf, newFolder, writeVolume
from TopoMAETrainLib.scene_label_map import labelMap
from TopoMAETrainLib.scene_labels import SceneLabel, numberedLabels, proposeLabels
from TopoMAETrainLib.scene_names import fileName, uniqueNames

# Called with (cases done, cases in all); False stops the export.
Progress = Callable[[int, int], bool | None]


class SceneExportError(ValueError):
    """Cases cannot be written as they are. Nothing was written.

    Attributes:
        problems: case name to what is wrong with it.
    """

    def __init__(self, problems: Mapping[str, Sequence[Problem]]):
        self.problems = {name: list(found) for name, found in problems.items()}
        bad = [name for name, found in self.problems.items() if any(one.level == ERROR for one in found)]
        first = next(one.text for one in self.problems[bad[0]] if one.level == ERROR)
        text = f"{bad[0]}: {first}"
        if len(bad) > 1:
            more = _("{count} more cases have problems: {names}.")
            names = ", ".join(bad[1:6]) + (" …" if len(bad) > 6 else "")
            text = f"{text} {more.format(count=len(bad) - 1, names=names)}"
        super().__init__(text)


class SceneExportCancelled(Exception):
    """The user stopped the export. Nothing was written."""


@dataclass(frozen=True)
class SceneDataSet:
    """What was written.

    Attributes:
        folder: of the data set.
        cases: number of cases. labelled: number of those with a label map.
        labels: label value to name.
        problems: case name to what the user should know of it.
    """

    folder: Path
    cases: int
    labelled: int
    labels: dict[int, str]
    problems: dict[str, list[Problem]]


def exportScene(
    folder: str | Path,
    cases: Sequence[SceneCase] | None = None,
    labels: Sequence[SceneLabel] | None = None,
    *,
    modalities: Sequence[str] = ("image",),
    name: str = "",
    laterLabelWins: bool = False,
    onProgress: Progress | None = None,
) -> SceneDataSet:
    """Write volumes and segmentations of the scene as a data set that can be trained on.

    The folder gets `imagesTr`, `labelsTr` and `dataset.json`. Either all cases are written or none: the folder
    appears when it is complete. Each segmentation is brought onto the voxels of its volume. Cases without a
    segmentation are written as unlabelled images, for pre-training. Example::

        from TopoMAETrainLib.scene_export import exportScene
        exportScene("/data/my scans", modalities=["CT"])

    Args:
        folder: to make; it must not hold anything yet.
        cases: what belongs together; by default as proposed from what is in the scene.
        labels: which segments become which labels, in the order of their values; by default one per name.
        modalities: names of the image channels; `CT` marks Hounsfield units.
        name: of the data set, by default that of the folder.
        laterLabelWins: where segments of different labels overlap, the later label wins; else that is an error.
        onProgress: called before each case and at the end.
    Raises:
        SceneExportError: cases cannot be written; the exception tells all problems of all cases.
        SceneExportCancelled: `onProgress` returned False.
        FolderError: the folder is not empty, or cannot be written to.
        ValueError: there is nothing to write.
    """
    if cases is None:
        cases = proposeCases(sceneVolumes(), sceneSegmentations(), modalities)
    cases = _withFileNames(cases)
    if not cases:
        raise ValueError(_("There is no volume to write; load volumes first."))
    numbered = numberedLabels(proposeLabels(cases) if labels is None else labels)
    if not numbered and any(case.segmentationNode for case in cases):
        raise ValueError(_("No label is chosen; choose at least one, or write all images as unlabelled."))
    problems: dict[str, list[Problem]] = {}
    with newFolder(folder) as temporary:
        (temporary / "imagesTr").mkdir()
        (temporary / "labelsTr").mkdir()
        for done, case in enumerate(cases):
            _tell(onProgress, done, len(cases))
            found = _writeCase(temporary, case, numbered, modalities, laterLabelWins)
            if found:
                problems[case.name] = found
        if any(one.level == ERROR for found in problems.values() for one in found):
            raise SceneExportError(problems)
        _tell(onProgress, len(cases), len(cases))
        description = _description(name or Path(folder).name, cases, numbered, modalities)
        text = json.dumps(description, indent=2, ensure_ascii=False)
        (temporary / "dataset.json").write_text(text + "\n", encoding="utf-8")
    labelled = sum(case.segmentationNode is not None for case in cases)
    names = {value: label.name for value, label in numbered.items()}
    return SceneDataSet(Path(folder), len(cases), labelled, names, problems)


def _writeCase(
    folder: Path, case: SceneCase, labels: Mapping[int, SceneLabel], modalities: Sequence[str], laterLabelWins: bool
) -> list[Problem]:
    """Write the files of a case, unless something is wrong with it."""
    problems = checkVolumes(case, modalities)
    if problems:
        return problems
    array = None
    if case.segmentationNode is not None:
        problems = checkSegments(case, labels)
        if not any(one.level == ERROR for one in problems):
            array, more = labelMap(case, labels, laterLabelWins)
            problems += more
        if any(one.level == ERROR for one in problems):
            return problems
    for node, file in zip(case.volumeNodes, _imageFiles(case), strict=True):
        writeVolume(node.GetImageData(), volumeArrayAndAffine(node)[1], folder / file)
    if array is not None:
        writeVolume(imageOf(array), volumeArrayAndAffine(case.volumeNodes[0])[1], folder / _labelFile(case))
    return problems


def _description(
    name: str, cases: Sequence[SceneCase], labels: Mapping[int, SceneLabel], modalities: Sequence[str]
) -> dict:
    """The content of dataset.json."""

    def images(case: SceneCase) -> str | list[str]:
        files = [f"./{file}" for file in _imageFiles(case)]
        return files[0] if len(files) == 1 else files

    labelled = [case for case in cases if case.segmentationNode is not None]
    return {
        "name": name,
        "description": _("Written from the scene of 3D Slicer by TopoMAE"),
        "tensorImageSize": "3D",
        "modality": {str(i): modality.strip() or "image" for i, modality in enumerate(modalities)},
        "labels": {"0": "background", **{str(value): label.name for value, label in labels.items()}},
        "numTraining": len(labelled),
        "numTest": 0,
        "training": [{"image": images(case), "label": f"./{_labelFile(case)}"} for case in labelled],
        "unlabelled": [{"image": images(case)} for case in cases if case.segmentationNode is None],
        "test": [],
    }


def _imageFiles(case: SceneCase) -> list[str]:
    if len(case.volumeNodes) == 1:
        return [f"imagesTr/{case.name}.nii.gz"]
    return [f"imagesTr/{case.name}_{channel:04d}.nii.gz" for channel in range(len(case.volumeNodes))]


def _labelFile(case: SceneCase) -> str:
    return f"labelsTr/{case.name}.nii.gz"


def _withFileNames(cases: Sequence[SceneCase]) -> list[SceneCase]:
    """The cases with names that can be names of files, each its own."""
    names = uniqueNames(fileName(case.name) for case in cases)
    return [
        SceneCase(name, tuple(case.volumeNodes), case.segmentationNode)
        for name, case in zip(names, cases, strict=True)
    ]


def _tell(onProgress: Progress | None, done: int, of: int) -> None:
    if onProgress is not None and onProgress(done, of) is False:
        raise SceneExportCancelled(_("The export was stopped; nothing was written."))
