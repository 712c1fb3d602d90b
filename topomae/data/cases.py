"""What a data set is: cases, their files, their split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HOUNSFIELD = {"CT", "CTA", "CECT", "NCCT"}


def in_hounsfield_units(modality: str) -> bool:
    """Whether a modality of that name is measured in Hounsfield units."""
    return modality.strip().upper() in HOUNSFIELD


@dataclass(frozen=True)
class Case:
    """One scan: its image files and, if there is one, its label map.

    Attributes:
        name: unique in the data set; used in messages, file names and reports.
        images: one file per modality in the data set's modality order, None where the case lacks it; or a single
            4-D file.
        label: label map on the same grid (up to axis order and direction), or None.
        subject: id of the person scanned. Splits never part the scans of one subject.
    """

    name: str
    images: tuple[Path | None, ...]
    label: Path | None = None
    subject: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The image files that there are; at least one."""
        return tuple(path for path in self.images if path is not None)

    @property
    def missing(self) -> tuple[int, ...]:
        """Places, in the data set's modality order, of the modalities that the case lacks."""
        return tuple(place for place, path in enumerate(self.images) if path is None)


@dataclass(frozen=True)
class Split:
    """Case names by use. Training may use unlabelled cases; validation and test need labels."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseCache:
    """What is known of the files of a data set, and where the volumes prepared from them are kept.

    Attributes:
        folder: of the prepared volumes.
        shared: whether other runs use it as well.
        fingerprint: what the files hold, from `content_fingerprint`.
        cubic_mm: volume of each case without its constant border.
    """

    folder: Path
    shared: bool
    fingerprint: dict[str, Any]
    cubic_mm: dict[str, float]


@dataclass(frozen=True)
class Prescription:
    """What a recipe prescribes for a data set; made by `topomae.recipes.following`.

    Attributes:
        recipe: the whole recipe as JSON values, for the record of a training.
        plan: fields of the plan.
        reasons: a sentence for each of these fields.
        notes: what else users are told of it.
        warnings: what does not fit.
    """

    recipe: dict[str, Any]
    plan: dict[str, Any]
    reasons: dict[str, str]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Every case found in a folder, and what the folder says about them.

    Attributes:
        name: name of the data set.
        folder: where it lies.
        cases: sorted by name.
        modalities: name of each image channel, e.g. ("FLAIR", "T1c"); ("CT",) marks Hounsfield units.
        labels: label value to name, without background (0), ascending by value.
        fixed_split: the split that lies beside the data (`splits.json`), if any.
        cache: what is known of the files of the cases that a run uses, once it has checked them.
        folds: the folds that lie beside the data (nnU-Net's `splits_final.json`), if any; () to draw some.
        prescribed: what the recipe says that is followed, if any.
    """

    name: str
    folder: Path
    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    labels: dict[int, str]
    fixed_split: Split | None = None
    cache: CaseCache | None = None
    prescribed: Prescription | None = None
    folds: tuple[Split, ...] = ()

    def case(self, name: str) -> Case:
        """Return the case of that name; KeyError if there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Case]:
        return {case.name: case for case in self.cases}

    @property
    def labelled(self) -> tuple[Case, ...]:
        """The cases that have a label map."""
        return tuple(case for case in self.cases if case.label is not None)
