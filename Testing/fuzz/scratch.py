"""Where inputs are written to be read, and what a parser may do with them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from topomae.errors import TopoMAEError


@cache
def scratch(name: str) -> Path:
    """A temporary folder of this process, removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"topomae-fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def refused_or_done(call: Callable[[], object], *also: type[Exception]) -> object | None:
    """Call a parser: its result, or None if it refused the input in one clear sentence.

    Args:
        call: takes nothing.
        also: documented errors other than `TopoMAEError`.
    Raises:
        AssertionError: the refusal is no sentence that can be shown.
        Exception: whatever else leaves the parser, which is a defect.
    """
    try:
        return call()
    except also:
        return None
    except TopoMAEError as error:
        check_sentence(error)
        return None


def check_sentence(error: TopoMAEError) -> None:
    """A refusal is one line of moderate length that any terminal and any log can take."""
    text = str(error)
    assert error.message, "a refusal without a message"
    assert "\n" not in text and "\r" not in text, f"more than one line: {text!r}"
    assert len(text) < 3000, f"a sentence of {len(text)} letters: {text[:200]!r}"
    text.encode("utf-8")
