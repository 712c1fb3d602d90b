"""One place that knows whether numba is there.

Every compiled function of this package releases the GIL, so that plain threads run several of them at once,
and none uses numba's own thread pools, which do not survive a forked data loader worker.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

try:
    import numba
except ImportError:  # pragma: no cover - exercised by a test in a separate process
    numba = None

HAVE_NUMBA = numba is not None


def _forget_outdated(folder: Path) -> None:
    """Delete compiled functions older than any source file of a folder.

    numba recompiles a function when its own file changes, but not when a function changes that it calls from
    another file.
    """
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in (folder / "__pycache__").glob("*.nbi"):
        with contextlib.suppress(OSError):  # another process may do the same; a read-only folder stays as it is
            if index.stat().st_mtime < newest:
                index.unlink()


if HAVE_NUMBA:
    with contextlib.suppress(OSError):
        _forget_outdated(Path(__file__).parent)


def kernel(function: Callable | None = None, **options) -> Callable:
    """Decorator: compile a function with numba, cached on disk and without the GIL.

    Args:
        function: the function to compile.
        options: further options of `numba.njit`, for instance `fastmath`.

    Returns:
        The compiled function; the unchanged function where numba is missing (then nothing should call it).
    """
    if function is None:
        return lambda decorated: kernel(decorated, **options)
    if not HAVE_NUMBA:
        return function
    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True, **options)(function)


_said = False


def say_numba_is_missing() -> None:
    """Log, once in a process, that the slower libraries are used."""
    global _said
    if not _said:
        _said = True
        logger.warning(
            "numba is not installed: the topological loss uses gudhi and scipy, "
            "which give the same result 10 to 30 times slower. Install numba to speed it up."
        )
