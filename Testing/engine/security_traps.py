"""Traps that tests of security set: links, pipes, pickles, deep and enormous files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

with_links = pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights there")


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def sparse(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        file.truncate(size)


class Payload:
    """Code that a pickle would run."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


# What each attack on a model folder does, and a word of the sentence that refuses it.


def most_memory() -> float:
    """The most memory that this process ever took, in MB; 0 where the system does not tell."""
    if os.name == "nt":
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
