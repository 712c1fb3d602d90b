"""JSON files that people write by hand: read strictly, with errors that point at the line or entry."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from topomae.bounded_reading import read_text
from topomae.errors import BadDataError

Model = TypeVar("Model", bound=BaseModel)
Content = TypeVar("Content", dict, list)
_MAX_BYTES = 64 << 20
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BadDataError: unreadable, not JSON (with line and column), not an object, or a key given twice.
    """
    return _read(path, dict, "an object in braces", "{")


def read_json_list(path: Path) -> list[Any]:
    """Read a JSON list.

    Raises:
        BadDataError: as `read_json`, for what is no list.
    """
    return _read(path, list, "a list in brackets", "[")


def _read(path: Path, kind: type[Content], wanted: str, begin: str) -> Content:
    try:
        value = parsed(read_description(path), lambda pairs: _without_repeats(pairs, path))
    except json.JSONDecodeError as error:
        raise _not_json(error, path) from None
    except UnicodeDecodeError:
        raise BadDataError("not a text file in UTF-8", hint="Save it as UTF-8.", path=path) from None
    except RecursionError:
        raise BadDataError("the JSON is nested too deeply", hint="Write it again.", path=path) from None
    except OSError as error:
        raise BadDataError(
            f"the file cannot be read ({error.strerror or error})", hint="Check its permissions.", path=path
        ) from None
    except ValueError as error:
        raise BadDataError(f"the file cannot be read ({error})", hint="Write it again.", path=path) from None
    if not isinstance(value, kind):
        raise BadDataError(
            f"the file holds a {type(value).__name__}, not {wanted}",
            hint=f'It should begin with "{begin}".',
            path=path,
        )
    return value


def read_description(path: Path) -> str:
    """Read a small text file that is UTF-8 throughout.

    Raises:
        OSError: it cannot be read, is no file, or is too large for a description.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_text(path, _MAX_BYTES, errors="strict")


def parsed(text: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse JSON, refusing lone surrogates, which it can spell but no file name, encoding or terminal takes.

    Args:
        text: the JSON.
        pairs_hook: see `json.loads`.
    Raises:
        ValueError: not JSON (`json.JSONDecodeError`), a number of too many digits, or a lone surrogate.
        RecursionError: nested too deeply.
    """
    value = json.loads(text, object_pairs_hook=pairs_hook)
    if _SURROGATE.search(text):  # rare: pairs of them spell letters beyond the first 65536
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a character, a lone surrogate such as \\ud800") from None
    return value


def validated(model: type[Model], value: dict[str, Any], path: Path, hint: str) -> Model:
    """Check a JSON object against its model.

    Raises:
        BadDataError: the first entry that does not fit, by its place in the file.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = " > ".join(str(step) for step in first["loc"] if not str(step).startswith("function-"))
        what = first["msg"].removeprefix("Value error, ")
        raise BadDataError(f'"{place}": {what}' if place else what, hint=hint, path=path) from None


def _not_json(error: json.JSONDecodeError, path: Path) -> BadDataError:
    """Make the error for a syntax error; for the usual one, a comma too many, point at the comma."""
    before = error.doc[: error.pos + 1].rstrip() if error.doc[error.pos : error.pos + 1] == "," else ""
    before = before or error.doc[: error.pos].rstrip()
    if before.endswith(","):
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1)
        what, hint = "a comma too many, or nothing after it", "Remove the comma."
    else:
        line, column = error.lineno, error.colno
        what, hint = error.msg, "Correct the file at this place."
    return BadDataError(f"not valid JSON: line {line}, column {column}: {what}", hint=hint, path=path)


def _without_repeats(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise BadDataError(f'the key "{repeated}" stands twice in one object', hint="Remove one of them.", path=path)
    return value
