"""Curves and key points as pictures. Uses matplotlib's objects and Agg only: no global state, no window."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from topomae.harmless import printable
from topomae.reporting.html import LABEL_COLOUR, PREDICTION_COLOUR, SERIES_COLOURS, SERIES_LINES

Curve = tuple[np.ndarray, np.ndarray]

_BRANCHES = {"vit": "ViT", "unetrpp": "UNETR++"}
_MOST_POINTS = 300
_MOST_SERIES = 40
_LONGEST_TITLE, _LONGEST_NAME = 60, 40  # letters; what is longer has no room beside the curves


def group_curves(curves: Mapping[tuple[str, str], Curve]) -> dict[str, dict[str, Curve]]:
    """Panels, each with the curves that belong together: branches, phases or labels of one metric.

    A metric's name may be parted by "/"; a part that names a branch tells the curve, the first other
    part the panel. Without "/" a branch may lead or end the name ("vit_reconstruction").

    Args:
        curves: (phase, name) to (steps, values).

    Returns:
        Panel title to curve name to (steps, values).
    """
    panels: dict[str, dict[tuple[str, str], Curve]] = {}
    for (phase, name), curve in curves.items():
        panel, series = _panel_and_series(name)
        panels.setdefault(panel, {})[series, phase] = curve
    return {panel: _named(members) for panel, members in panels.items()}


def _panel_and_series(name: str) -> tuple[str, str]:
    parts = [part for part in name.split("/") if part] or [name]
    if len(parts) == 1:
        for branch, told in _BRANCHES.items():
            if name.startswith(branch + "_"):
                return name[len(branch) + 1 :], told
            if name.endswith("_" + branch):
                return name[: -len(branch) - 1], told
        return name, ""
    others = [part for part in parts if part not in _BRANCHES] or parts
    return others[0], " ".join(_BRANCHES.get(part, part) for part in parts if part != others[0])


def _named(members: Mapping[tuple[str, str], Curve]) -> dict[str, Curve]:
    """Curve names that say only what tells them apart."""
    several_phases = len({phase for _, phase in members}) > 1
    named = {}
    for (series, phase), curve in members.items():
        if several_phases:
            name = f"{series} {phase}".strip()
        else:
            name = series or ("mean" if len(members) > 1 else "")
        named[name] = curve
    return named


def curve_picture(title: str, curves: Mapping[str, Curve]) -> bytes:
    """One panel of curves over training steps, as SVG. Many points are averaged in bins.

    Args:
        title: of the panel.
        curves: name to (steps, values).
    """
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curves = dict(list(curves.items())[:_MOST_SERIES])
    for number, (steps, values) in enumerate(curves.values()):
        at, mean = thinned(steps, values)
        colour = SERIES_COLOURS[number % len(SERIES_COLOURS)]
        marker = "o" if len(at) < 20 else None
        line = SERIES_LINES[number % len(SERIES_LINES)]
        axes.plot(at, mean, color=colour, linestyle=line, linewidth=1.5, marker=marker, markersize=3)
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.zeros(0)])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.min() > 0 and drawn.max() > 30 * drawn.min():
        axes.set_yscale("log")
    axes.set_title(_shortened(title, _LONGEST_TITLE), fontsize=10, loc="left", parse_math=False)
    axes.set_xlabel("step", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        # A label that starts with "_" would be left out, so handles are given one by one.
        names = [_shortened(name, _LONGEST_NAME) for name in curves]
        legend = axes.legend(axes.lines, names, fontsize=8, frameon=False, handlelength=3)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return _saved(figure, "svg")


def _shortened(text: str, most: int) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= most else text[: most - 1] + "…"


def thinned(steps: np.ndarray, values: np.ndarray, most: int = _MOST_POINTS) -> Curve:
    """Means of equal runs of points when there are more than `most`; a run with nothing finite is nan."""
    if len(steps) <= most:
        return steps, values
    bins = np.array_split(np.arange(len(steps)), most)
    finite = [values[b][np.isfinite(values[b])] for b in bins]
    return np.array([steps[b].mean() for b in bins]), np.array([f.mean() if f.size else np.nan for f in finite])


def key_point_picture(points: Mapping[str, np.ndarray]) -> bytes:
    """Where the crop's nine points are and where each branch puts them, in three projections, as SVG.

    Args:
        points: "true", "vit", "unetrpp" to (9, 3) RAS mm.
    """
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    styles = {
        "true": ("o", "#000000", "true"),
        "vit": ("x", SERIES_COLOURS[0], "ViT"),
        "unetrpp": ("+", SERIES_COLOURS[1], "UNETR++"),
    }
    names = ("R (mm)", "A (mm)", "S (mm)")
    for axes, (a, b) in zip(figure.subplots(1, 3), ((0, 1), (0, 2), (1, 2)), strict=True):
        for name, (marker, colour, told) in styles.items():
            if name in points:
                filled = "none" if marker == "o" else colour
                axes.scatter(
                    points[name][:, a], points[name][:, b], 50, marker=marker, label=told,
                    facecolors=filled, edgecolors=colour if marker == "o" else None,
                )  # fmt: skip
        for name in ("vit", "unetrpp"):
            if name in points and "true" in points:
                _connect(axes, points["true"][:, (a, b)], points[name][:, (a, b)], styles[name][1])
        axes.set_xlabel(names[a], fontsize=9)
        axes.set_ylabel(names[b], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_aspect("equal", "datalim")
        axes.grid(alpha=0.3, linewidth=0.6)
    figure.axes[0].legend(fontsize=8)
    return _saved(figure, "svg")


def _connect(axes: Axes, start: np.ndarray, end: np.ndarray, colour: str) -> None:
    for first, second in zip(start, end, strict=True):
        axes.plot((first[0], second[0]), (first[1], second[1]), color=colour, linewidth=0.6, alpha=0.6)


def slice_picture(
    grey: np.ndarray | None,
    spacing: tuple[float, float],
    ends: tuple[str, str, str, str],
    *,
    window: tuple[float, float] = (0.0, 1.0),
    labels: Sequence[np.ndarray] = (),
    predictions: Sequence[np.ndarray] = (),
    height_inches: float = 3.0,
) -> bytes:
    """A slice in its true proportions with contours of label (full line) and prediction (dashed), as PNG.

    Args:
        grey: (X, Y) intensities, first axis across, second axis upwards; None for a dark ground.
        spacing: mm between pixels across and upwards.
        ends: letters at the left, right, bottom and top edge.
        window: intensities shown black and white.
        labels: one (X, Y) bool mask per structure.
        predictions: the same.
        height_inches: of the picture; one that gets very wide is made lower.
    """
    shape = grey.shape if grey is not None else (labels or predictions)[0].shape
    size = np.array(shape) * spacing
    aspect = np.clip(size[0] / size[1], 0.2, 5.0)
    height = min(height_inches, 2.5 * height_inches / aspect)
    figure = Figure(figsize=(aspect * height, height), dpi=120, facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    extent = (0, size[0], 0, size[1])
    if grey is not None:
        low, high = window
        axes.imshow(grey.T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=extent, origin="lower")
    for masks, colour, style in ((labels, LABEL_COLOUR, "solid"), (predictions, PREDICTION_COLOUR, "dashed")):
        for mask in masks:
            _contour(axes, mask, spacing, colour, style)
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.02), (0.5, 0.98))
    aligned = (("left", "center"), ("right", "center"), ("center", "bottom"), ("center", "top"))
    for letter, (x, y), (across, up) in zip(ends, places, aligned, strict=True):
        text = axes.text(x, y, letter, color="white", fontsize=9, ha=across, va=up, transform=axes.transAxes)
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    return _saved(figure, "png")


def _contour(axes: Axes, mask: np.ndarray, spacing: tuple[float, float], colour: str, style: str) -> None:
    if not mask.any():
        return
    padded = np.pad(mask, 1).astype(np.float32)  # closes contours at the edge of the picture
    x, y = ((np.arange(n) - 0.5) * s for n, s in zip(padded.shape, spacing, strict=True))
    axes.contour(x, y, padded.T, levels=[0.5], colors=[colour], linestyles=[style], linewidths=1.8)


def _saved(figure: Figure, kind: str) -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names in any script: shown as boxes
        figure.savefig(data, format=kind, facecolor=figure.get_facecolor())
    return data.getvalue()
