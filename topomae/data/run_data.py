"""The data set as it was when a run began, so that the run can go on with it whatever became of the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topomae.data.case_report import CaseReport
from topomae.data.cases import Case, CaseCache, Dataset, Split
from topomae.data.file_names import check_inside
from topomae.errors import RunError
from topomae.files import write_text_atomic

FILE_NAME = "data.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordedCase(_Part):
    """A case; its files by their paths in the folder of the data set."""

    name: str
    images: tuple[str | None, ...]
    label: str | None = None
    subject: str = ""


class RecordedContent(_Part):
    """SHA-256 of a case's files."""

    images: tuple[str | None, ...]
    label: str | None = None


class Fingerprint(_Part):
    """What `content_fingerprint` says of the cases that the run uses."""

    cases: dict[str, RecordedContent]
    sha256: str


class RecordedSplit(_Part):
    """The split that lay beside the data."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()


class RunData(_Part):
    """`data.json` of a run folder.

    Attributes:
        format: of this file.
        name, modalities, labels, split, folds: of the data set.
        cases: all cases of the data set, used by the run or not.
        fingerprint: of the files of the cases that the run uses.
        cubic_mm: volume of each of these cases without its constant border, which tells the size of what is
            made of it.
    """

    format: Literal[1] = 1
    name: str
    modalities: Annotated[tuple[str, ...], Field(min_length=1)]
    labels: dict[int, str]
    split: RecordedSplit | None
    folds: tuple[RecordedSplit, ...] = ()
    cases: tuple[RecordedCase, ...]
    fingerprint: Fingerprint
    cubic_mm: dict[str, Annotated[float, Field(ge=0)]]

    @classmethod
    def of(cls, dataset: Dataset, reports: Sequence[CaseReport], fingerprint: Mapping[str, Any]) -> RunData:
        """What a run that begins writes down.

        Args:
            dataset: the data set as it is now.
            reports: of the cases that the run uses.
            fingerprint: of these cases, from `content_fingerprint`.
        """

        def relative(path: Path | None) -> str | None:
            return None if path is None else Path(os.path.relpath(path, dataset.folder)).as_posix()

        def recorded(split: Split) -> RecordedSplit:
            return RecordedSplit(train=split.train, val=split.val, test=split.test)

        return cls(
            name=dataset.name,
            modalities=dataset.modalities,
            labels=dataset.labels,
            split=dataset.fixed_split and recorded(dataset.fixed_split),
            folds=tuple(map(recorded, dataset.folds)),
            cases=tuple(
                RecordedCase(
                    name=case.name,
                    images=tuple(map(relative, case.images)),
                    label=relative(case.label),
                    subject=case.subject,
                )
                for case in dataset.cases
            ),
            fingerprint=Fingerprint.model_validate(fingerprint),
            cubic_mm={report.case.name: _cubic_mm(report) for report in reports},
        )

    @classmethod
    def load(cls, path: Path) -> RunData | None:
        """Read the file; None if there is none.

        Raises:
            RunError: it is damaged.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            hint = "Restore the file, or remove it to go on with the data set as it is now."
            raise RunError(f"is not a file of this version of TopoMAE: {reason}", hint=hint, path=path) from None

    def save(self, path: Path) -> None:
        """Write the file; either the whole or nothing."""
        write_text_atomic(path, json.dumps(self.model_dump(mode="json")) + "\n")

    def dataset(self, folder: Path) -> Dataset:
        """The data set, whose files may lie in another folder by now, or not be there any more.

        Raises:
            BadDataError: a path leads outside the folder.
        """

        def absolute(text: str | None, case: str) -> Path | None:
            return None if text is None else check_inside(folder.joinpath(text), folder, case=case)

        cases = tuple(
            Case(
                name=case.name,
                images=tuple(absolute(image, case.name) for image in case.images),
                label=absolute(case.label, case.name),
                subject=case.subject,
            )
            for case in self.cases
        )

        def restored(split: RecordedSplit) -> Split:
            return Split(split.train, split.val, split.test)

        split, folds = self.split and restored(self.split), tuple(map(restored, self.folds))
        return Dataset(self.name, folder, cases, self.modalities, dict(self.labels), split, folds=folds)

    def with_cache(self, dataset: Dataset, folder: Path, *, shared: bool) -> Dataset:
        """The data set together with what is known of its files and where prepared volumes go."""
        fingerprint = self.fingerprint.model_dump(mode="json")
        return replace(dataset, cache=CaseCache(folder, shared, fingerprint, self.cubic_mm))


def _cubic_mm(report: CaseReport) -> float:
    sides = zip(report.foreground_shape or (0, 0, 0), report.spacing or (0, 0, 0), strict=True)
    volume = 1.0
    for voxels, spacing in sides:
        volume *= voxels * spacing
    return volume
