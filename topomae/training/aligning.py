"""Alignment as a part of pre-training: which views are compared at which stage, over the samples of all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from topomae.alignment.collapse import CollapseWatch, effective_rank
from topomae.alignment.loss import AlignmentLoss
from topomae.alignment.tokens import deepest_stage, tokens_of
from topomae.config import PretrainSettings
from topomae.data.plan import Plan
from topomae.networks.co_pretrainer import Views
from topomae.parallel.distributed import processes
from topomae.parallel.global_means import summed

WITHIN, ACROSS = "alignment/within", "alignment/across"
LOOK_EVERY = 10  # steps between two looks at the effective rank


class Aligning:
    """Makes the alignment terms of the pre-training loss, and watches the features for a collapse.

    Args:
        settings: resolved; those that begin with `alignment_`, and the seed.
        plan: sizes of the crops and of UNETR++'s stages.

    Attributes:
        weights: of the terms, by name.
        stage: whose features are aligned.
    """

    def __init__(self, settings: PretrainSettings, plan: Plan):
        self.weights = {WITHIN: settings.alignment_within_weight, ACROSS: settings.alignment_across_weight}
        self.wanted = any(weight > 0 for weight in self.weights.values())
        self.stage = settings.alignment_stage
        if self.stage is None:
            self.stage = deepest_stage(plan.crop_size, plan.stem_stride, settings.alignment_grid)
        self._grid = settings.alignment_grid
        self._loss = AlignmentLoss(
            within=settings.alignment_within_weight > 0,
            across=settings.alignment_across_weight > 0,
            neighbours=settings.alignment_neighbours,
            negatives=settings.alignment_negatives,
            within_margin=settings.alignment_within_margin,
            across_margin=settings.alignment_across_margin,
            most_pairs=settings.alignment_pairs,
            seed=settings.seed,
        )
        self._watch = CollapseWatch()
        self.news: str | None = None  # what the user should know of the last step

    def views(self, batch: Mapping[str, torch.Tensor]) -> Views | None:
        """What the network is to encode for this; None where alignment is not wanted."""
        return Views(batch["image"], batch["view"], batch["seen"], self.stage) if self.wanted else None

    def terms(
        self, features: Sequence[torch.Tensor], batch: Mapping[str, torch.Tensor], step: int
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The unweighted terms of a step, and further values for the curves.

        Args:
            features: (B, C, d, h, w) of both views, from the network.
            batch: of `PretrainingCrops` with views.
            step: number of the step.
        """
        first, second = (of_all_processes(tokens_of(view.float(), self._grid)) for view in features)
        samples, subjects = of_all_processes(torch.stack([batch["sample"], batch["subject"]], dim=1)).T
        order = samples.argsort()  # as one process would have them: what is random then falls the same way
        first, second = first[order], second[order]
        found = self._loss((first, second), subjects[order], step)
        return {f"alignment/{name}": term for name, term in found.items()}, self._look_at(first, second, step)

    def left_out(self, subjects: Sequence[str], batch_size: int) -> str | None:
        """What the user should know before training: that crops of different subjects never meet in a batch."""
        if self.weights[ACROSS] == 0 or (batch_size > 1 and len(set(subjects)) > 1):
            return None
        why = "all images are of one subject" if batch_size > 1 else "a batch is a single crop"
        return f"alignment across subjects is left out: {why}"

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return self._watch.state()

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._watch.load(state)

    def _look_at(self, first: torch.Tensor, second: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        self.news = None
        if (step + 1) % LOOK_EVERY:
            return {}
        tokens = torch.cat([first, second]).detach().flatten(0, 1)
        if not torch.isfinite(tokens).all():
            return {}
        rank = effective_rank(tokens)
        self.news = self._watch.observe(float(rank))
        return {f"effective_rank/{'vit' if self.stage == 'vit' else 'unetrpp'}": rank.float()}


def of_all_processes(values: torch.Tensor) -> torch.Tensor:
    """The rows (B, …) of every process, one process after the other, in each of them; differentiable."""
    here = processes()
    if here.world == 1:
        return values
    counts = torch.zeros(here.world, dtype=torch.int64, device=values.device)
    counts[here.rank] = len(values)
    counts = summed(counts).tolist()
    around = (sum(counts[: here.rank]), sum(counts[here.rank + 1 :]))
    before, after = (values.new_zeros(count, *values.shape[1:]) for count in around)
    return summed(torch.cat([before, values, after]))
