"""Betti numbers of a segment, what is expected of them, and the islands and holes that make the difference."""

from __future__ import annotations

from dataclasses import dataclass, field

import slicer
import vtk
from slicer.i18n import tr as _

EXPECTED_TAG = "TopoMAE.ExpectedBettiNumbers"
EXPECTED = (1, 0, 0)
"""Of a segment of which nothing else is known: one piece without tunnels and cavities."""


@dataclass(frozen=True)
class Finding:
    """An island, tunnel or cavity.

    Attributes:
        kind: "island" (a component other than the largest), "tunnel" or "cavity".
        voxels: how large it is; None if unknown.
        position: RAS mm of a voxel of it.
    """

    kind: str
    voxels: int | None
    position: tuple[float, float, float]

    def text(self) -> str:
        """In words: "island of 12 voxels"."""
        kind = {"island": _("island"), "tunnel": _("tunnel"), "cavity": _("cavity")}.get(self.kind, self.kind)
        if self.voxels is None:
            return kind
        return _("{kind} of {voxels} voxels").format(kind=kind, voxels=self.voxels)


@dataclass(frozen=True)
class SegmentTopology:
    """Betti numbers of one segment.

    Attributes:
        segmentID, name: which segment.
        numbers: components, tunnels, cavities.
        expected: the numbers that it should have.
        findings: islands, tunnels and cavities, largest first.
    """

    segmentID: str
    name: str
    numbers: tuple[int, int, int]
    expected: tuple[int, int, int] = EXPECTED
    findings: list[Finding] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether the numbers are not the expected ones."""
        return self.numbers != self.expected

    def offending(self) -> list[Finding]:
        """Findings of the kinds whose number is not the expected one."""
        kinds = ("island", "tunnel", "cavity")
        wrong = [kind for kind, n, e in zip(kinds, self.numbers, self.expected, strict=True) if n != e]
        return [finding for finding in self.findings if finding.kind in wrong]

    def verdict(self) -> str:
        """In words: "as expected", or "components: 2 instead of 1"."""
        names = (_("components"), _("tunnels"), _("cavities"))
        parts = [
            _("{name}: {found} instead of {expected}").format(found=found, name=name, expected=expected)
            for name, found, expected in zip(names, self.numbers, self.expected, strict=True)
            if found != expected
        ]
        return ", ".join(parts) or _("as expected")


def expectedNumbers(segment: slicer.vtkSegment) -> tuple[int, int, int]:
    """The Betti numbers expected of a segment: what was set for it, else one piece without holes."""
    text = vtk.reference("")
    if segment.GetTag(EXPECTED_TAG, text):
        return parseNumbers(str(text)) or EXPECTED
    return EXPECTED


def setExpectedNumbers(segment: slicer.vtkSegment, text: str) -> tuple[int, int, int]:
    """Set what is expected of a segment; it is kept with the segment, also in files.

    Args:
        segment: the segment.
        text: components, tunnels and cavities: "1 0 0" or "1, 0, 0".

    Raises:
        ValueError: the text is something else.
    """
    numbers = parseNumbers(text)
    if numbers is None:
        raise ValueError(
            _('"{text}" is not three counts. Write components, tunnels and cavities, such as 1 0 0.').format(text=text)
        )
    segment.SetTag(EXPECTED_TAG, " ".join(str(number) for number in numbers))
    return numbers


def parseNumbers(text: str) -> tuple[int, int, int] | None:
    """Three counts from a text, or None."""
    parts = text.replace(",", " ").split()
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return None
    return tuple(int(part) for part in parts)
