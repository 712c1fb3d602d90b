"""The classes of whole volumes: read from dataset.json or from a table of two columns."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topomae.data.cases import Case, Dataset
from topomae.data.dataset_json import listed_cases, read_dataset_json
from topomae.data.file_names import image_suffix, stem_of
from topomae.data.json_files import read_json
from topomae.errors import BadDataError

_MOST_CLASSES = 100  # more different entries than this are names or measurements, not classes
_MOST_BYTES = 64 << 20
_HOW = 'Give each entry of "training" in dataset.json a "class", or a table with the columns case and class.'


@dataclass(frozen=True)
class VolumeClasses:
    """Which class each case has.

    Attributes:
        names: of the classes, in their order: that of their values, or of the alphabet.
        of_case: case name to index of its class in `names`.
    """

    names: tuple[str, ...]
    of_case: dict[str, int]

    def to_plain(self) -> dict[str, Any]:
        """What JSON can hold; `from_plain` takes it back."""
        return {"names": list(self.names), "of_case": self.of_case}

    @classmethod
    def from_plain(cls, content: dict[str, Any], path: Path) -> VolumeClasses:
        """Classes from what `to_plain` gave.

        Raises:
            BadDataError: it is damaged; names the file.
        """
        names, of_case = content.get("names"), content.get("of_case")
        fine = isinstance(names, list) and isinstance(of_case, dict) and all(isinstance(n, str) for n in names)
        if not fine or not all(isinstance(index, int) and 0 <= index < len(names) for index in of_case.values()):
            raise BadDataError("does not hold the classes of a run", hint="Restore the file.", path=path)
        return cls(tuple(names), of_case)

    def counts(self, cases: list[Case]) -> list[int]:
        """Number of cases of each class."""
        found = Counter(self.of_case[case.name] for case in cases)
        return [found[index] for index in range(len(self.names))]


def volume_classes(dataset: Dataset, table: str | Path | None = None) -> VolumeClasses:
    """Read the classes of a data set; cases without one are simply not in the answer.

    Args:
        dataset: from `open_dataset`.
        table: CSV file with the columns case and class; None reads `class` of each entry in dataset.json.
    Raises:
        BadDataError: no classes, fewer than two, an unknown class, or a table that contradicts itself or does not
            fit the data set.
    """
    path = Path(table) if table is not None else dataset.folder / "dataset.json"
    names = _class_names(dataset.folder / "dataset.json")
    given = read_table(path) if table is not None else _listed(path)
    unknown = sorted(given.keys() - {case.name for case in dataset.cases})
    if unknown:
        some = ", ".join(unknown[:3]) + (" ..." if len(unknown) > 3 else "")
        raise BadDataError(
            f"the data set has no case named {some} ({len(unknown)} of {len(given)} are unknown)",
            hint="Use the file names without suffix, or take the rows out.",
            path=path,
        )
    if not given:
        raise BadDataError("no case has a class", hint=_HOW, path=path)
    return _indexed(given, names, path)


def classes_of_table(path: Path) -> VolumeClasses:
    """Classes from a table alone; a dataset.json beside it may name them.

    Raises:
        BadDataError: see `read_table`; or there are fewer than two classes.
    """
    given = read_table(path)
    if not given:
        raise BadDataError("no case has a class", hint="Write a row per case: its name and its class.", path=path)
    return _indexed(given, _class_names(path.parent / "dataset.json"), path)


def read_table(path: Path) -> dict[str, str]:
    """Read a table of cases and classes: case name to class as written.

    Columns are parted by comma, semicolon or tab. A first row with the words `case` and `class` names the columns,
    in any order and among others; without it, there are two columns: case and class. A row with an empty class
    says that it is not known.

    Raises:
        BadDataError: unreadable, not of this form, or a case that stands twice.
    """
    rows = [(line, [cell.strip() for cell in row]) for line, row in _rows(path) if any(cell.strip() for cell in row)]
    if not rows:
        raise BadDataError("the table is empty", hint="Write a row per case: its name and its class.", path=path)
    header = [cell.casefold() for cell in rows[0][1]]
    named = "case" in header and "class" in header
    if not named and len(header) != 2:
        raise BadDataError(_NO_COLUMNS, hint="Write a row per case: its name and its class.", path=path)
    case_at, class_at = (header.index("case"), header.index("class")) if named else (0, 1)
    found: dict[str, str] = {}
    for line, row in rows[named:]:
        if len(row) != len(header):
            told = f"line {line} has {len(row)} column{'' if len(row) == 1 else 's'} instead of {len(header)}"
            raise BadDataError(told, hint="Put names with commas in quotes.", path=path)
        case = _case_name(row[case_at])
        if not case:
            raise BadDataError(f"line {line} names no case", hint="Write the case's name.", path=path)
        if case in found:
            raise BadDataError("the case stands more than once", hint="List it once.", case=case, path=path)
        found[case] = row[class_at]
    return {case: name for case, name in found.items() if name}


_NO_COLUMNS = 'the table has neither the two columns case and class, nor a first row with the words "case" and "class"'


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of a CSV file."""
    if not path.is_file():
        raise BadDataError("there is no such table", hint="Check the path.", path=path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadDataError("the file is too large for a table of cases", hint="Check the path.", path=path)
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadDataError("not a text file in UTF-8", hint="Save it as CSV in UTF-8.", path=path) from None
    except OSError as error:
        told = f"the table cannot be read ({error.strerror})"
        raise BadDataError(told, hint="Check its permissions.", path=path) from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        hint = "Save it as CSV again."
        raise BadDataError(f"line {reader.line_num} is not CSV: {error}", hint=hint, path=path) from None


def _case_name(text: str) -> str:
    """A case as it is called in data sets; people also write file names."""
    text = unicodedata.normalize("NFC", text)
    return stem_of(text) if image_suffix(Path(text)) else text


def _listed(path: Path) -> dict[str, str]:
    """Case name to class as written in the entries of dataset.json."""
    if not path.is_file():
        raise BadDataError("there is no dataset.json, so no class is known", hint=_HOW, path=path)
    description, content = read_dataset_json(path), read_json(path)
    if description.training is None:
        return {}
    listed = content["training"] if "training" in content else content["dataset"].values()
    entries = [*listed, *content.get("unlabelled", ())]
    found = {}
    for entry, case in zip(entries, listed_cases(description, path), strict=True):
        value = entry.get("class") if isinstance(entry, dict) else None
        if value is None:
            continue
        if not isinstance(value, (str, int)) or isinstance(value, bool) or not str(value).strip():
            raise BadDataError(
                f"the class {value!r} is neither a name nor a whole number",
                hint='Write for instance "class": 1.',
                case=case.name,
                path=path,
            )
        found[case.name] = str(value).strip()
    return found


def _class_names(path: Path) -> dict[str, str]:
    """`classes` of dataset.json: value as written to name, in the order of the values; empty if there is none."""
    content: Any = read_json(path).get("classes") if path.is_file() else None
    if content is None:
        return {}
    if isinstance(content, list):
        content = dict(enumerate(content))
    names = {str(value).strip(): name for value, name in content.items()} if isinstance(content, dict) else {}
    fine = names and all(isinstance(name, str) and name.strip() for name in names.values())
    if not fine or len({name.strip() for name in names.values()}) < len(names):
        raise BadDataError(
            '"classes" is not a list of different names by value',
            hint='Write for instance "classes": {"0": "healthy", "1": "lesion"}.',
            path=path,
        )
    return {value: names[value].strip() for value in sorted(names, key=_value_order)}


def _indexed(given: dict[str, str], names: dict[str, str], path: Path) -> VolumeClasses:
    """Turn classes as written, values or names, into indices."""
    if not names:
        names = {value: value for value in sorted(set(given.values()), key=_value_order)}
    index = {name: place for place, name in enumerate(names.values())}
    index |= {value: place for place, value in enumerate(names) if value not in index}
    for case, value in given.items():
        if value not in index:
            known = ", ".join(f"{name} ({value})" if name != value else name for value, name in names.items())
            hint = f"Known classes: {known}. Correct it, or add it to the classes."
            raise BadDataError(f"there is no class {value!r}", hint=hint, case=case, path=path)
    if len(names) < 2:
        raise BadDataError(
            f"all cases have the class {next(iter(names.values()))!r}", hint="Two classes are the least.", path=path
        )
    if len(names) > _MOST_CLASSES:
        raise BadDataError(
            f"there are {len(names)} different classes", hint="Give classes, not measurements or names.", path=path
        )
    return VolumeClasses(tuple(names.values()), {case: index[value] for case, value in given.items()})


def _value_order(value: str) -> tuple[int, int, str]:
    """Numbers by size, before words by the alphabet."""
    number = value.isascii() and value.isdecimal() and len(value) < 19
    return (0, int(value), "") if number else (1, 0, value)
