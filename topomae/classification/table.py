"""The table that `topomae classify` writes: a row per case with the probability of every class."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topomae.bounded_reading import read_text
from topomae.errors import BadDataError
from topomae.files import write_text_atomic
from topomae.harmless import spreadsheet_cell, text_of_cell

TABLE = "classes.csv"
_PROBABILITY = "probability "
_REMEDY = "Give the table that topomae classify wrote."
_ROUNDING = 1e-3  # by which probabilities may miss 1


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of some cases.

    Attributes:
        classes: names of the classes.
        cases: names of the cases.
        probabilities: (cases, classes) float64; rows add up to 1.
    """

    classes: tuple[str, ...]
    cases: tuple[str, ...]
    probabilities: np.ndarray

    def save(self, path: Path) -> None:
        """Write the table: `case`, `probability NAME` of every class, and `class`, the most probable one."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["case", *(_PROBABILITY + name for name in self.classes), "class"])
        for case, row in zip(self.cases, self.probabilities, strict=True):
            said = spreadsheet_cell(self.classes[int(row.argmax())])
            writer.writerow([spreadsheet_cell(case), *(f"{value:.9g}" for value in row), said])
        write_text_atomic(path, text.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote.

        Raises:
            BadDataError: the file cannot be read or is not such a table.
        """
        path = table_of(Path(path))
        try:
            rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
        except (OSError, csv.Error) as error:
            raise BadDataError(f"the predictions cannot be read ({error})", hint=_REMEDY, path=path) from None
        header = rows[0] if rows else []
        names = tuple(name.removeprefix(_PROBABILITY) for name in header[1:-1])
        if header != ["case", *(_PROBABILITY + name for name in names), "class"] or len(set(names)) < 2:
            raise BadDataError("this is no table of classes and their probabilities", hint=_REMEDY, path=path)
        cases, values = [], []
        for line, row in enumerate(rows[1:], start=2):
            numbers = [_number(cell) for cell in row[1:-1]]
            if len(row) != len(header) or not abs(sum(numbers) - 1) <= _ROUNDING or min(numbers) < 0:
                told = f"row {line} has no probabilities that add up to 1"
                raise BadDataError(told, hint=_REMEDY, path=path)
            cases.append(text_of_cell(row[0]))
            values.append(numbers)
        if len(set(cases)) < len(cases) or not cases:
            told = "a case stands more than once" if cases else "the table has no rows"
            raise BadDataError(told, hint=_REMEDY, path=path)
        probabilities = np.array(values)
        return cls(names, tuple(cases), probabilities / probabilities.sum(1, keepdims=True))


def table_of(path: Path) -> Path:
    """The table itself, given it or the folder that it is in."""
    return path / TABLE if path.is_dir() else path


def is_class_table(path: str | Path) -> bool:
    """Whether predictions are a table of classes (as against label maps)."""
    path = Path(path)
    return path.suffix.lower() == ".csv" or (path / TABLE).is_file()


def place_table(output: str | Path) -> Path:
    """Where to write the table: a file that ends in .csv, or `classes.csv` in a folder."""
    output = Path(output)
    return output if output.suffix.lower() == ".csv" else output / TABLE


def select(found: Predictions, cases: Sequence[str]) -> np.ndarray:
    """Probabilities (n, classes) of some cases, in their order."""
    place = {case: row for row, case in enumerate(found.cases)}
    return found.probabilities[[place[case] for case in cases]]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
