"""Which segments become which labels, over all cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from TopoMAETrainLib.scene_cases import SceneCase
from TopoMAETrainLib.scene_names import words


@dataclass(frozen=True)
class SceneLabel:
    """A label of the training set.

    Attributes:
        name: as it will be called in models.
        segmentNames: names of the segments that it is made of; capitals and punctuation make no difference.
        used: whether it is written at all.
    """

    name: str
    segmentNames: tuple[str, ...]
    used: bool = True

    def holds(self, segmentName: str) -> bool:
        """Whether a segment of that name belongs to this label."""
        return words(segmentName) in {words(name) for name in self.segmentNames}


@dataclass
class SegmentCount:
    """How often segments of one name were found.

    Attributes:
        name: as first found. spellings: as found anywhere. cases: number of cases that have one.
    """

    name: str
    spellings: list[str] = field(default_factory=list)
    cases: int = 0


def countSegments(cases: Iterable[SceneCase]) -> list[SegmentCount]:
    """The names of the segments of all cases, in the order in which they are met."""
    counts: dict[str, SegmentCount] = {}
    for case in cases:
        if case.segmentationNode is None:
            continue
        names = segmentNames(case.segmentationNode)
        for name in names.values():
            count = counts.setdefault(words(name), SegmentCount(name))
            if name not in count.spellings:
                count.spellings.append(name)
        for key in {words(name) for name in names.values()}:
            counts[key].cases += 1
    return list(counts.values())


def proposeLabels(cases: Iterable[SceneCase], previous: Sequence[SceneLabel] = ()) -> list[SceneLabel]:
    """One label per name of a segment, in the order in which they are met.

    Args:
        cases: of the training set.
        previous: what the user has decided already about the names in it; it is kept, in its order.
    """
    counts = {words(count.name): count for count in countSegments(cases)}
    labels = []
    for label in previous:
        spellings = [
            s for name in label.segmentNames if words(name) in counts for s in counts.pop(words(name)).spellings
        ]
        if spellings:
            labels.append(SceneLabel(label.name, tuple(spellings), label.used))
    return labels + [SceneLabel(count.name, tuple(count.spellings)) for count in counts.values()]


def numberedLabels(labels: Iterable[SceneLabel]) -> dict[int, SceneLabel]:
    """The labels that are used by their value in the files, 1, 2, 3 …; those of one name become one label."""
    merged: dict[str, SceneLabel] = {}
    for label in labels:
        name = label.name.strip()
        if label.used and name:
            before = merged.get(words(name), SceneLabel(name, ()))
            merged[words(name)] = SceneLabel(before.name, before.segmentNames + label.segmentNames)
    return dict(enumerate(merged.values(), start=1))


def segmentNames(segmentationNode: object) -> dict[str, str]:
    """Name of each segment by its ID."""
    segmentation = segmentationNode.GetSegmentation()
    return {one: segmentation.GetSegment(one).GetName() or one for one in segmentation.GetSegmentIDs()}
