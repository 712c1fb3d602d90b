"""Plans for tests."""

from __future__ import annotations

from topomae.data.plan import Normalization, Plan


def a_plan(spacing=(1, 1, 1), labels=(1, 2), channels=1, kind=None):
    return Plan(
        dataset="phantoms",
        modalities=tuple(f"MR{c}" for c in range(channels)),
        labels={value: f"organ {value}" for value in labels},
        spacing=spacing,
        normalization=(kind or Normalization(kind="robust"),) * channels,
        crop_size=(16, 16, 16),
        patch_size=(4, 4, 4),
        stem_stride=(1, 1, 1),
        batch_size=1,
        size="small",
    )
