"""Classes of whole volumes: from any volume to the probability of every class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from topomae.classification.prediction import class_probabilities
from topomae.classification.table import Predictions, place_table
from topomae.config import ClassifySettings
from topomae.data.cases import Case
from topomae.data.preprocessing import Preprocessed
from topomae.errors import BadDataError
from topomae.events import Events
from topomae.inference.case_by_case import complain_about, end_told, prepared_case, work_through
from topomae.inference.inputs import Input, InputCase, find_cases
from topomae.inference.modalities import check_missing, places_of
from topomae.models.folder import Model, load_model
from topomae.parallel.devices import OutOfMemoryError, choose_device

_MOST_WINDOWS = 1024  # together; a model folder that asks for more is damaged


def classify(
    model: str | Path | Model,
    inputs: Input | Case | Sequence[Input | Case],
    output: str | Path,
    *,
    device: str = "auto",
    only: Iterable[str] | None = None,
    events: Events | None = None,
) -> Path:
    """Say which class volumes have.

    Args:
        model: a model folder, a finished fine-tuning run, or a model already loaded; trained to classify.
        inputs: as for `segment`: files, DICOM series, folders, data sets, cases, or files by the names of their
            modalities.
        output: CSV file to write, or a folder, which receives `classes.csv`: a row per case with its name, the
            probability of every class, and the most probable class.
        device: `auto`, `cpu` or `cuda`.
        only: names of the modalities to look at, although there may be more; None for all.
        events: told of everything that happens; silent by default.
    Returns:
        The table written.
    Raises:
        BadSettingError: an option is impossible.
        BadDataError: the model or the only input cannot be used.
        RunError: naming the cases that failed, if there are several inputs; the others are written.
    """
    events = events or Events()
    with end_told(events):
        where = choose_device(device)
        loaded = model if isinstance(model, Model) else load_model(model, task="classification")
        classifier = Classifier(loaded, where.kind, only=only)
        found = find_cases(inputs, loaded.plan)
        path = place_table(output)
        events.start(kind="classify", device=where.reason, model=loaded.folder, cases=len(found))
        _classify_all(classifier, found, path, events)
    return path


class Classifier:
    """A model on a device, ready for one case after the other.

    Args:
        model: trained to classify; its network is moved to `device`.
        device: `cpu` or `cuda`.
        only: see `classify`.
    Raises:
        BadDataError: the model was not trained to classify, or not to do without some modalities.
        BadSettingError: the model has no such modality.
    """

    def __init__(self, model: Model, device: str, *, only: Iterable[str] | None = None):
        if not model.classes:
            raise BadDataError("the model knows no classes of whole volumes", hint="Use segment.", path=model.folder)
        self.plan, self.classes = model.plan, model.classes
        self._trained = model.spec.missing_modalities
        self._device = device
        self._network = model.network.to(device).eval()
        self._windows = _trained_windows(model)
        self._looked_at = np.ones(model.plan.channels, bool)
        if only is not None:
            self._looked_at[:] = False
            self._looked_at[places_of(only, model.plan)] = True
        check_missing(tuple(self._looked_at), self.plan, trained=self._trained)

    def check(self, given: InputCase) -> None:
        """Refuse a case that lacks what the model needs.

        Raises:
            BadDataError: naming the modalities.
        """
        there = self._looked_at & np.array(given.available(self.plan))
        if not there.any():
            raise BadDataError("has none of the modalities to look at", hint="Leave it out.", case=given.case.name)
        check_missing(tuple(there), self.plan, trained=self._trained)

    def __call__(self, prepared: Preprocessed) -> np.ndarray:
        """Probabilities (classes,) float64 of a case that was preprocessed with the model's plan.

        Raises:
            RunError: the network's answers are not finite numbers, or the GPU's memory does not hold the windows.
        """
        there = self._looked_at if prepared.available is None else self._looked_at & np.array(prepared.available)
        try:
            return class_probabilities(
                self._network,
                prepared.image,
                self.plan,
                windows=self._windows,
                device=self._device,
                available=None if there.all() else [bool(one) for one in there],
            )
        except torch.OutOfMemoryError:
            together = f"the GPU's memory does not hold {self._windows} windows at once"
            raise OutOfMemoryError(together, hint="Use --device cpu.") from None


def _classify_all(classifier: Classifier, cases: Sequence[InputCase], path: Path, events: Events) -> None:
    """Classify every case that can be, write the table, then complain about the others."""
    names, rows = [], []

    def work(index: int) -> None:
        given = cases[index]
        classifier.check(given)
        rows.append(classifier(prepared_case(given, classifier.plan, events)))
        names.append(given.case.name)

    progress = events.track(len(cases), "classify")
    failed = work_through(cases, work, events, case_done=progress.advance)
    if rows:
        Predictions(classifier.classes, tuple(names), np.array(rows)).save(path)
    complain_about(failed, len(cases), done="classified", others="in the table")


def _trained_windows(model: Model) -> int:
    """Windows that the model looked at together in training; written by it, so not to be trusted blindly."""
    training = model.metadata.get("training")
    settings = training.get("settings") if isinstance(training, dict) else None
    windows = settings.get("windows") if isinstance(settings, dict) else None
    if not isinstance(windows, int) or isinstance(windows, bool) or not 1 <= windows <= _MOST_WINDOWS:
        return ClassifySettings().windows
    return windows
