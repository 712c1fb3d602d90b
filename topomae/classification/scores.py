"""How good predicted probabilities of classes are. All functions are pure; n cases, K classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

BINS = 10  # of the calibration
_CONFIDENCE = 0.95


def auroc_per_class(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class against the rest; ties count half (Mann and Whitney).

    Args:
        probabilities: (n, K). truth: (n,) indices of the true classes.
    Returns:
        (K,) float64; nan where all or none of the cases have the class.
    """
    n, classes = probabilities.shape
    areas = np.full(classes, np.nan)
    for index in range(classes):
        own = truth == index
        positive = int(own.sum())
        if 0 < positive < n:
            ranks = rankdata(probabilities[:, index])[own].sum()
            areas[index] = (ranks - positive * (positive + 1) / 2) / (positive * (n - positive))
    return areas


def auroc(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Of two classes the area of the second, of more the mean over the classes that define it; else nan."""
    areas = auroc_per_class(probabilities, truth)
    if probabilities.shape[1] == 2:
        return float(areas[1])
    return _mean(areas)


def recall_per_class(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Part of the cases of each class that are predicted so; nan where no case has the class."""
    return _ratio(
        [np.count_nonzero((predicted == c) & (truth == c)) for c in range(classes)],
        [np.count_nonzero(truth == c) for c in range(classes)],
    )


def f1_per_class(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Harmonic mean of precision and recall of each class; nan where nothing has or is predicted to have it."""
    return _ratio(
        [2 * np.count_nonzero((predicted == c) & (truth == c)) for c in range(classes)],
        [np.count_nonzero(predicted == c) + np.count_nonzero(truth == c) for c in range(classes)],
    )


def balanced_accuracy(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean recall of the classes that there are."""
    return _mean(recall_per_class(probabilities.argmax(1), truth, probabilities.shape[1]))


def f1(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean F1 of the classes ("macro")."""
    return _mean(f1_per_class(probabilities.argmax(1), truth, probabilities.shape[1]))


def accuracy(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Part of the cases whose most probable class is the true one."""
    return float((probabilities.argmax(1) == truth).mean())


def brier_score(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Half of the summed squared errors of the probabilities, mean over cases: 0 is perfect, 1 is the worst.

    For two classes that is the usual mean squared error of the probability of the second one.
    """
    wanted = np.eye(probabilities.shape[1])[truth]
    return float(0.5 * ((probabilities - wanted) ** 2).sum(1).mean())


@dataclass(frozen=True)
class Bin:
    """Cases whose highest probability lies in one range, (0, 0.1] say.

    Attributes:
        cases: how many.
        confidence: their mean highest probability; nan without cases.
        accuracy: part of them for which it belongs to the true class; nan without cases.
    """

    cases: int
    confidence: float
    accuracy: float


def reliability(probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS) -> tuple[Bin, ...]:
    """Confidence and accuracy in ranges of equal width, for a reliability diagram."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    groups = [place == b for b in range(bins)]
    return tuple(Bin(int(own.sum()), _mean(confidence[own]), _mean(right[own].astype(float))) for own in groups)


def expected_calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over the bins of `reliability`, weighted by their cases.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    filled = [one for one in reliability(probabilities, truth, bins) if one.cases]
    return sum(one.cases * abs(one.accuracy - one.confidence) for one in filled) / len(truth)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auroc": auroc,
    "balanced_accuracy": balanced_accuracy,
    "f1": f1,
    "accuracy": accuracy,
    "calibration_error": expected_calibration_error,
    "brier_score": brier_score,
}


def confidence_intervals(
    probabilities: np.ndarray, truth: np.ndarray, subjects: Sequence[str], *, resamples: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of `METRICS` (percentiles; Efron and Tibshirani 1993), resampling subjects.

    Scans of one subject are alike, so that whole subjects are drawn. Resamples in which a metric is not defined,
    such as AUROC without a case of some class, are left out for that metric.

    Args:
        probabilities: (n, K). truth: (n,).
        subjects: id of the person of each case.
        resamples: how often to draw.
        seed: decides the draws.
    Returns:
        Lower and upper limit by metric; nan where no resample defines it.
    """
    members: dict[str, list[int]] = {}
    for place, subject in enumerate(subjects):
        members.setdefault(subject, []).append(place)
    groups = [np.array(places) for places in members.values()]
    random = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(resamples):
        drawn = np.concatenate([groups[n] for n in random.integers(0, len(groups), len(groups))])
        for name, metric in METRICS.items():
            value = metric(probabilities[drawn], truth[drawn])
            if not math.isnan(value):
                found[name].append(value)
    tail = 100 * (1 - _CONFIDENCE) / 2
    return {
        name: tuple(float(v) for v in np.percentile(values, (tail, 100 - tail))) if values else (math.nan, math.nan)
        for name, values in found.items()
    }


def _ratio(parts: Sequence[int], wholes: Sequence[int]) -> np.ndarray:
    wholes = np.array(wholes, float)
    return np.divide(parts, wholes, out=np.full(len(wholes), np.nan), where=wholes > 0)


def _mean(values: np.ndarray) -> float:
    """Mean of what is defined; nan if nothing is."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else math.nan
