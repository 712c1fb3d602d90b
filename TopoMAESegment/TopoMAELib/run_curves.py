"""The curves of a run, read on in `metrics.csv` while it grows."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from TopoMAELib.line_tail import LineTail


class CurveTable:
    """Values of a `metrics.csv` with the columns step, phase, name, value.

    A run that is resumed replaces the file by one without the steps that it does again; then all is read anew.

    Args:
        path: the file; need not exist yet.
    """

    def __init__(self, path: Path):
        self._tail = LineTail(path)
        self._points: dict[tuple[str, str], dict[float, float]] = {}
        self._curves: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}

    def read(self) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
        """From (phase, name) to (steps, values), both (n,) float64, ascending by step; values may be nan."""
        lines = self._tail.read()
        if self._tail.restarted:
            self._points, self._curves = {}, {}
        for key in {key for line in lines if (key := self._take(line))}:
            points = self._points[key]
            steps = np.array(sorted(points))
            self._curves[key] = (steps, np.array([points[step] for step in steps]))
        return dict(self._curves)

    def _take(self, line: str) -> tuple[str, str] | None:
        try:
            step, phase, name, value = next(csv.reader([line]))
            at, height = float(step), float(value)
        except (ValueError, StopIteration, csv.Error):  # the heading, or a damaged line, which costs no other
            return None
        if not math.isfinite(at):
            return None
        self._points.setdefault((phase, name), {})[at] = height
        return phase, name
