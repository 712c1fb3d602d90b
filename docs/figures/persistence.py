"""Draw docs/pictures/persistence.png: diagrams of three soft segmentations of one organ, and what they tell.

    python docs/figures/persistence.py

The organ is the ring of a phantom with known Betti numbers. The first segmentation is right, in the second the ring
is cut, in the third there is a stray island. "Soft" means blurred, as the probabilities of a network are.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

from topomae.data.phantom_shapes import ORGANS
from topomae.data.phantoms import draw_phantom
from topomae.topology.betti import betti_numbers
from topomae.topology.reading import superlevel_persistence

OUTPUT = Path(__file__).parents[1] / "pictures" / "persistence.png"
KINDS = (("component", "#0072B2", "o"), ("tunnel", "#D55E00", "s"), ("cavity", "#009E73", "^"))
BLUR = 1.4  # voxels
LEAST = 0.05  # shorter lasting features are left out
RING = [organ.name for organ in ORGANS].index("ring") + 1


def main() -> None:
    """Draw the picture."""
    phantom = draw_phantom(seed=0, index=0, shape=(64, 64, 44), spacing=(1.2, 1.2, 1.8))
    ring = phantom.labels == RING
    figure, axes = plt.subplots(2, 3, figsize=(11, 7.2), gridspec_kw={"height_ratios": [1, 1.25]}, dpi=110)
    for column, (title, mask) in enumerate(segmentations(ring).items()):
        probability = gaussian_filter(mask.astype(np.float32), BLUR)
        draw_segmentation(axes[0, column], probability, title)
        draw_diagram(axes[1, column], probability)
    axes[1, 0].set_ylabel("disappears at probability")
    handles, names = axes[1, 2].get_legend_handles_labels()
    figure.legend(handles[:-1], names[:-1], loc="lower center", ncols=3, frameon=False)  # there are no cavities
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    OUTPUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUTPUT, metadata={"Software": None})
    plt.close(figure)


def segmentations(ring: np.ndarray) -> dict[str, np.ndarray]:
    """The right mask (I, J, K) bool, one with a cut and one with an island, by what is said of them."""
    voxels = np.argwhere(ring)
    center = voxels.mean(axis=0)
    at = voxels[np.argmax(((voxels - center) ** 2).sum(axis=1))]
    position = np.indices(ring.shape)
    cut = ring & (((position - at[:, None, None, None]) ** 2).sum(axis=0) > 6.0**2)
    middle = center + np.array([20, -5, 0])
    island = ((position - middle[:, None, None, None]) ** 2).sum(axis=0) < 2.7**2
    return {"a ring, as it should be": ring, "the ring is cut": cut, "a stray island": ring | (island & ~ring)}


def draw_segmentation(axis: plt.Axes, probability: np.ndarray, title: str) -> None:
    """The highest probability along the last axis, with the Betti numbers of what is above 0.5."""
    picture = probability.max(axis=2)[:48, 16:]  # without the empty part
    axis.imshow(picture.T, cmap="gray", vmin=0, vmax=1, origin="lower")
    components, tunnels, cavities = betti_numbers(probability > 0.5)
    axis.set_title(f"{title}\nBetti numbers {components}, {tunnels}, {cavities}", fontsize=12)
    axis.set_axis_off()


def draw_diagram(axis: plt.Axes, probability: np.ndarray) -> None:
    """Where each structure of the bright voxels appears and disappears, coming down from probability 1."""
    diagram = superlevel_persistence(probability)  # of the negated volume, and so are its values
    axis.fill_between([1.03, 0.5], -0.05, 0.5, color="#e8f1f8", zorder=0)
    axis.plot([0, 1], [0, 1], color="0.5", linewidth=1)
    axis.axvline(0.5, color="0.8", linewidth=1, zorder=0)
    axis.axhline(0.5, color="0.8", linewidth=1, zorder=0)
    axis.scatter(
        -diagram.essential_value, 0, marker="D", s=70, color=KINDS[0][1], label="component that stays", zorder=3
    )
    for (name, color, marker), values in zip(KINDS, diagram.values, strict=True):
        lasting = -values[np.diff(values, axis=1)[:, 0] > LEAST]
        axis.scatter(lasting[:, 0], lasting[:, 1], s=55, color=color, marker=marker, label=name, zorder=3)
    axis.text(0.78, 0.47, "there at 0.5", ha="center", va="bottom", color="0.3")
    axis.set(xlim=(1.03, -0.03), ylim=(1.03, -0.05), xlabel="appears at probability", aspect="equal")


if __name__ == "__main__":
    main()
