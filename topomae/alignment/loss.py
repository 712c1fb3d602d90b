"""Both alignment objectives for the feature maps of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from topomae.alignment.across import across_subjects, subject_pairs
from topomae.alignment.triplets import NegativeChoice
from topomae.alignment.within import within_subject

_WITHIN, _ACROSS = 0, 1  # separate the random choices of both objectives


@dataclass(frozen=True)
class AlignmentLoss:
    """Alignment of the tokens of two views, within and across the subjects of a batch.

    What is random depends on the seed and the step alone.

    Attributes:
        within: whether to compute the objective within subjects.
        across: whether to compute the objective across subjects.
        neighbours: of each token.
        negatives: how they are chosen.
        within_margin: of the hinge. across_margin: of the hinge.
        most_pairs: of samples of different subjects that are compared in a step.
        seed: of everything random.
    """

    within: bool = True
    across: bool = True
    neighbours: int = 5
    negatives: NegativeChoice = "random"
    within_margin: float = 0.05
    across_margin: float = 0.4
    most_pairs: int = 6
    seed: int = 0

    def __call__(self, tokens: Sequence[torch.Tensor], subjects: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        """The objectives by name, `within` and `across`; a term that is switched off or has no pairs is absent.

        Args:
            tokens: (B, N, C) of the first and of the second view.
            subjects: (B,) int64, equal for samples of one subject.
            step: number of the step.
        """
        first, second = tokens
        options = {"neighbours": self.neighbours, "negatives": self.negatives}
        terms = {}
        if self.within:
            random = self._random(step, _WITHIN)
            terms["within"] = within_subject(first, second, margin=self.within_margin, generator=random, **options)
        if self.across:
            random = self._random(step, _ACROSS)
            pairs = subject_pairs(subjects, self.most_pairs, random)
            if len(pairs):
                margin = self.across_margin
                terms["across"] = across_subjects(first, second, pairs, margin=margin, generator=random, **options)
        return terms

    def _random(self, step: int, purpose: int) -> torch.Generator:
        mixed = np.random.SeedSequence([self.seed, purpose, step]).generate_state(1)  # torch looks at 32 bits only
        return torch.Generator().manual_seed(int(mixed[0]))
