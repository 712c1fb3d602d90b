"""The pictures of our entries in Slicer's module Sample Data, drawn from the phantoms themselves.

python Testing/benchmarks/sample_data_icons.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from topomae.data.phantoms import PHANTOM_SHAPE, Phantom, draw_phantom  # noqa: E402
from topomae.models.label_table import colour_of  # noqa: E402

SPACING = (1.6, 1.6, 2.4)
SIZE = (2.8, 2.6)  # inches at 100 dots: what Slicer's own thumbnails measure


def main() -> None:
    """Write both pictures."""
    single, many = Figure(SIZE, dpi=100, facecolor="black"), Figure(SIZE, dpi=100, facecolor="black")
    phantom = draw_phantom(seed=1, index=0, shape=PHANTOM_SHAPE, spacing=SPACING)
    draw(single.add_axes((0, 0, 1, 1)), phantom, labelled=True)
    columns = 3
    for place in range(columns**2):
        row, column = divmod(place, columns)
        axes = many.add_axes(
            (column / columns + 0.006, 1 - (row + 1) / columns + 0.006, 1 / columns - 0.012, 1 / columns - 0.012)
        )
        phantom = draw_phantom(seed=0, index=place, shape=PHANTOM_SHAPE, spacing=SPACING)
        draw(axes, phantom, labelled=place in (1, 3, 8), width=1.0)
    for figure, path in (
        (single, REPOSITORY / "TopoMAESegment" / "Resources" / "Icons" / "TopoMAEPhantom.png"),
        (many, REPOSITORY / "TopoMAETrain" / "Resources" / "Icons" / "TopoMAEPhantomDataSet.png"),
    ):
        FigureCanvasAgg(figure)
        figure.savefig(path, facecolor="black")
        print(path)


def draw(axes: Axes, phantom: Phantom, labelled: bool, width: float = 1.8) -> None:
    """The slice across the third axis that shows most organs, with outlines of the labels if wanted."""
    kinds = [len(np.unique(phantom.labels[:, :, k])) * 1000 + (phantom.labels[:, :, k] > 0).sum()
             for k in range(phantom.labels.shape[2])]  # fmt: skip
    index = int(np.argmax(kinds))
    image, labels = phantom.image[:, :, index].T, phantom.labels[:, :, index].T
    axes.set_axis_off()
    axes.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.5), aspect="auto", interpolation="bilinear")
    if labelled:
        for value in np.unique(labels[labels > 0]):
            colour = [part / 255 for part in colour_of(int(value) - 1)]
            axes.contour(labels == value, levels=[0.5], colors=[colour], linewidths=width)


if __name__ == "__main__":
    main()
