"""Results as a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from methods import NAMES

from topomae.files import write_json_atomic, write_text_atomic

# Okabe and Ito's colours, which most colour-blind people tell apart; each method has a marker of its own as well.
COLOURS = ("#009E73", "#E69F00", "#56B4E9", "#999999", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
MARKERS = "osD^v<>P"

_VOXELS = {"jaccard": "Jaccard", "hd95_voxels": "95HD (voxels)", "asd_voxels": "ASD (voxels)"}

Rows = Sequence[dict[str, Any]]


def write_results(rows: Rows, folder: Path, *, title: str) -> None:
    """Write results.json, results.md and results.png.

    Args:
        rows: of the cells.
        folder: where to.
        title: of the picture.
    """
    if not rows:
        return
    write_json_atomic(folder / "results.json", {"rows": list(rows)}, indent=1)
    write_text_atomic(folder / "results.md", table(rows))
    picture(rows, folder / "results.png", title)


def table(rows: Rows) -> str:
    """Markdown: one line for each method and number of labels, best first."""
    labels = sorted({label for row in rows for label in row["scores"]["labels"]})
    head = ["labelled", "method", "Dice", *labels, "HD95 (mm)", "ASD (mm)", "steps", "minutes", "parameters"]
    voxels = [name for name in ("jaccard", "hd95_voxels", "asd_voxels") if name in rows[0]["scores"]]
    head += [_VOXELS[name] for name in voxels]
    lines = [head, ["---"] * len(head)]
    for _, _, group in _groups(rows):
        scores = [row["scores"] for row in group]
        first = group[0]
        line = [
            str(first["labelled"]),
            NAMES.get(first["method"], first["method"]),
            f"**{spread([s['dice'] for s in scores])}**",
            *(spread([s["labels"][label]["dice"] for s in scores]) for label in labels),
            spread([s["hd95_mm"] for s in scores], 2),
            spread([s["asd_mm"] for s in scores], 2),
            _steps(first),
            f"{np.mean([row['seconds'] for row in group]) / 60:.1f}",
            f"{first['parameters'] / 1e6:.1f} M",
        ]
        lines.append(line + [spread([s[name] for s in scores], 2) for name in voxels])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def picture(rows: Rows, path: Path, title: str, *, names: Mapping[str, str] = NAMES, bars: bool | None = None) -> None:
    """Mean test Dice of every method.

    Args:
        rows: of the cells.
        path: of the PNG.
        title: above it.
        names: of the methods in words, in the order of colours.
        bars: a bar for each method and number of labels; else curves over the number of labels. None: bars where
            there is but one number.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = _groups(rows)
    counts = sorted({labelled for _, labelled, _ in groups})
    if len(counts) == 1 if bars is None else bars:
        height = 0.45 * len({method for method, _, _ in groups}) + 1.3
        figure, panels = plt.subplots(len(counts), 1, figsize=(8, height * len(counts)), squeeze=False)
        for axes, count in zip(panels[:, 0], counts, strict=True):
            _bars(axes, [one for one in groups if one[1] == count], names)
            axes.set_title(f"{title}, {count} labelled cases: mean test Dice")
    else:
        figure, axes = plt.subplots(figsize=(8, 5))
        _curves(axes, groups, names)
        axes.set_title(f"{title}: mean test Dice")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _curves(axes: Any, groups: list, names: Mapping[str, str]) -> None:
    """Dice against the number of labels, with the standard deviation over seeds."""
    for place, (name, label) in enumerate(names.items()):
        points = sorted((n, _dice(group)) for method, n, group in groups if method == name)
        if not points:
            continue
        axes.errorbar(
            [n for n, _ in points],
            [np.mean(values) for _, values in points],
            [np.std(values, ddof=1) if len(values) > 1 else 0 for _, values in points],
            color=COLOURS[place % len(COLOURS)],
            marker=MARKERS[place % len(MARKERS)],
            markeredgecolor="black",
            label=label,
            capsize=3,
        )
    counts = sorted({labelled for _, labelled, _ in groups})
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_xlabel("labelled training cases")
    axes.set_ylabel("mean test Dice")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _bars(axes: Any, groups: list, names: Mapping[str, str]) -> None:
    """Best on top; each seed a dot, the mean in figures beside the bar."""
    order = list(names)
    ordered = sorted(groups, key=lambda one: np.mean(_dice(one[2])))
    for y, (name, _, group) in enumerate(ordered):
        values = _dice(group)
        axes.barh(y, np.mean(values), color=COLOURS[order.index(name) % len(COLOURS)], edgecolor="black", height=0.65)
        axes.plot(values, [y] * len(values), "o", color="white", markeredgecolor="black", markersize=5)
        axes.text(max(values) + 0.012, y, f"{np.mean(values):.3f}", va="center", fontsize=9)
    axes.set_yticks(range(len(ordered)), [names[name] for name, _, _ in ordered])
    axes.set_xlim(0, 1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _groups(rows: Rows) -> list[tuple[str, int, list[dict[str, Any]]]]:
    """Rows of one method and number of labels, most labels first, then the best method."""
    keys = {(row["method"], row["labelled"]) for row in rows}
    groups = [(m, n, [row for row in rows if (row["method"], row["labelled"]) == (m, n)]) for m, n in keys]
    return sorted(groups, key=lambda one: (-one[1], -np.mean(_dice(one[2])), one[0]))


def _dice(group: Rows) -> list[float]:
    return [row["scores"]["dice"] for row in group]


def _steps(row: dict[str, Any]) -> str:
    before = row["pretraining"]["steps"]
    return f"{before} + {row['training']['steps']}" if before else str(row["training"]["steps"])


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """Mean and, of several seeds, standard deviation; of what is defined."""
    defined = [value for value in values if value is not None]
    if not defined:
        return "–"
    deviation = f" ± {np.std(defined, ddof=1):.{digits}f}" if len(defined) > 1 else ""
    return f"{np.mean(defined):.{digits}f}{deviation}"
