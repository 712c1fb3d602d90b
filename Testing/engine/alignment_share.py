"""What one of several processes does with its own rows of a batch in alignment; run as a program by a test."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from topomae.config import PretrainSettings
from topomae.parallel.distributed import processes, together
from topomae.training.aligning import Aligning

ROWS = (slice(0, 3), slice(3, 5))  # of each of two processes


def align(folder: Path, rows: slice) -> list:
    """Terms, effective ranks, and gradients with respect to the features, of some rows of batch.pt."""
    batch = {name: value[rows] for name, value in torch.load(folder / "batch.pt", weights_only=True).items()}
    features = [batch.pop(name).requires_grad_() for name in ("first", "second")]
    settings = PretrainSettings(alignment_within_weight=1, alignment_across_weight=1, alignment_pairs=4)
    aligning = Aligning(settings, SimpleNamespace(crop_size=(16, 16, 16), stem_stride=(2, 2, 2)))
    terms, ranks = aligning.terms(features, batch, 9)
    (terms["alignment/within"] + 2 * terms["alignment/across"]).backward()
    # Data parallel training averages the gradients of the processes.
    return [terms, ranks, [view.grad / processes().world for view in features]]


if __name__ == "__main__":
    with together("cpu"):
        rank = processes().rank
        torch.save(align(Path(sys.argv[1]), ROWS[rank]), Path(sys.argv[1]) / f"{rank}.pt")
