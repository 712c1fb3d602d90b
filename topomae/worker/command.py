"""The command `topomae worker`."""

from __future__ import annotations

import os
import sys


def worker() -> None:
    """For programs, such as 3D Slicer: answer requests, one JSON object per line, on stdin and stdout.

    Loaded models stay in memory, so that the second request costs no start-up. It ends with its stdin:

        topomae worker
    """
    from topomae.worker.server import serve

    code = serve()
    sys.stderr.flush()
    # Not sys.exit: a library may be half imported in the background, and nothing is left to be done.
    os._exit(code)
