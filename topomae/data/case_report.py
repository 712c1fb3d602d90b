"""What reading a case found, also as plain values that can be kept or sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from topomae.data.cases import Case
from topomae.errors import BadDataError, TopoMAEError


@dataclass(frozen=True)
class Intensities:
    """Distribution of one modality's values in the file's units, over voxels that are no constant border.

    p0_5, p50 and p99_5 are percentiles.
    """

    p0_5: float
    p50: float
    p99_5: float
    mean: float
    sd: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class CaseReport:
    """What reading a case found.

    Attributes:
        case: the case.
        errors: why it cannot be used; empty if it can.
        warnings: what the user should know although it can be used.
        shape: voxels along left-right, posterior-anterior, inferior-superior; None if unread.
        spacing: mm in the same order; None if unread.
        foreground_shape: the same order, of the box around voxels that are no constant border.
        intensities: one per modality, of CT without air, None where the case lacks it; empty if unread.
        label_voxels: label value to number of voxels, without 0; empty if labels were not needed.
    """

    case: Case
    errors: tuple[TopoMAEError, ...] = ()
    warnings: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    foreground_shape: tuple[int, int, int] | None = None
    intensities: tuple[Intensities | None, ...] = ()
    label_voxels: dict[int, int] | None = None

    @property
    def ok(self) -> bool:
        """Whether the case can be used."""
        return not self.errors

    def to_plain(self) -> dict[str, Any]:
        """Everything but the case, as JSON values."""
        errors = [
            {"message": e.message, "hint": e.hint, "case": e.case, "path": str(e.path) if e.path else None}
            for e in self.errors
        ]
        return {
            "errors": errors,
            "warnings": list(self.warnings),
            "shape": self.shape,
            "spacing": self.spacing,
            "foreground_shape": self.foreground_shape,
            "intensities": [one and asdict(one) for one in self.intensities],
            "label_voxels": self.label_voxels,
        }

    @classmethod
    def from_plain(cls, case: Case, plain: dict[str, Any]) -> CaseReport:
        """Take back what `to_plain` gave, also after a way through JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: these are not such values.
        """
        counts = plain["label_voxels"]
        return cls(
            case,
            errors=tuple(BadDataError(**error) for error in plain["errors"]),
            warnings=tuple(plain["warnings"]),
            shape=_tuple(plain["shape"]),
            spacing=_tuple(plain["spacing"]),
            foreground_shape=_tuple(plain["foreground_shape"]),
            intensities=tuple(one and Intensities(**one) for one in plain["intensities"]),
            label_voxels=None if counts is None else {int(value): count for value, count in counts.items()},
        )


def _tuple(values: list | None) -> tuple | None:
    return None if values is None else tuple(values)
