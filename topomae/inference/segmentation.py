"""Segmentation: from any volume to a label map on the volume's own voxels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from topomae.data.cases import Case
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed, restore_labels
from topomae.data.volume_io import write_image, write_labels
from topomae.errors import BadSettingError, RunError
from topomae.events import Events
from topomae.inference.case_by_case import complain_about, end_told, prepared_case, work_through
from topomae.inference.inputs import Input, InputCase, find_cases
from topomae.inference.modalities import check_missing
from topomae.inference.outputs import Output, place_outputs, restore_probabilities
from topomae.inference.sliding_window import WindowSettings, count_windows, score_slabs
from topomae.inference.streamed_scores import StreamedScores
from topomae.models.folder import Model, load_model
from topomae.parallel.devices import choose_device
from topomae.runs.leftovers import remove_abandoned

__all__ = ["Segmentation", "Segmenter", "out_of_memory", "segment"]

_REPORT_EVERY = 0.5  # seconds between progress events


def segment(
    model: str | Path | Model,
    inputs: Input | Case | Sequence[Input | Case],
    output: str | Path,
    *,
    device: str = "auto",
    mirror: bool = False,
    probabilities: bool = False,
    overlap: float = 0.5,
    batch: int | None = None,
    events: Events | None = None,
) -> list[Path]:
    """Segment volumes; each result has the shape, the affine and the orientation of its input.

    Args:
        model: a model folder, a finished fine-tuning run, or a model already loaded.
        inputs: a volume file (NIfTI, NRRD), the folder of a DICOM series, a folder of images or a data set,
            or a list of such paths, of cases, and of lists with one file per modality. Or files by the names of
            their modalities, `{"T1": "a.nii.gz", "FLAIR": "b.nii.gz"}`: of a model that was trained to do
            without, some may be missing.
        output: a file (.nii.gz, .nii, .nrrd) for a single input, or a folder, which receives `CASE.nii.gz`.
        device: `auto`, `cpu` or `cuda`.
        mirror: average over mirrored views: 2, 4 or 8 times the work, usually a little better.
        probabilities: also write `CASE_probabilities.nii.gz`, float32, one channel per class.
        overlap: part of a window that its neighbour covers too, 0 <= overlap < 1.
        batch: windows computed at once; None chooses by device.
        events: told of everything that happens; silent by default.
    Returns:
        The label maps written, in the order of the inputs.
    Raises:
        BadSettingError: an option is impossible, or a result would overwrite an input.
        BadDataError: the model or the only input cannot be used.
        RunError: naming the cases that failed, if there are several inputs; the others are written.
    """
    events = events or Events()
    with end_told(events):
        _check_options(overlap, batch)
        where = choose_device(device)
        loaded = model if isinstance(model, Model) else load_model(model)
        found = find_cases(inputs, loaded.plan)
        outputs = place_outputs([one.case for one in found], output, probabilities=probabilities)
        events.start(kind="segment", device=where.reason, model=loaded.folder, cases=len(found))
        for folder in {one.labels.parent for one in outputs}:
            remove_abandoned(folder)
        segmenter = Segmenter(loaded, where.kind, mirror=mirror, overlap=overlap, batch=batch, warn=events.warning)
        _segment_all(segmenter, found, outputs, events)
    return [one.labels for one in outputs]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a model says about a volume, on the volume's own voxels.

    Attributes:
        labels: (I, J, K) label values, smallest unsigned type.
        probabilities: (L, I, J, K) float32, background first; None if not asked for.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None


class Segmenter:
    """A model on a device, ready for one case after the other.

    Args:
        model: its network is moved to `device`. Whether it was trained to do without some of its modalities is
            then known as `missing_modalities`.
        device: `cpu` or `cuda`.
        mirror: see `segment`. overlap: see `segment`. batch: see `segment`.
        warn: told, as (message, case=name), of what the user should know.
    """

    def __init__(
        self,
        model: Model,
        device: str,
        *,
        mirror: bool = False,
        overlap: float = 0.5,
        batch: int | None = None,
        warn: Callable[..., None] = lambda message, *, case: None,
    ):
        self.plan: Plan = model.plan
        self.missing_modalities = model.spec.missing_modalities
        self._network = model.network.to(device).eval()
        self._settings = WindowSettings.of(model.plan, device, mirror=mirror, overlap=overlap, batch=batch)
        self._warn = warn

    def windows(self, prepared: Preprocessed) -> int:
        """Number of windows that a case takes."""
        return count_windows(prepared.image.shape[1:], self._settings)

    def __call__(
        self,
        prepared: Preprocessed,
        *,
        probabilities: bool = False,
        case: str = "",
        on_windows: Callable[[int], None] = lambda count: None,
    ) -> Segmentation:
        """Segment a preprocessed case.

        Args:
            prepared: from `preprocess` with the model's plan.
            probabilities: whether to compute them; takes memory for every class on both grids.
            case: its name, for messages.
            on_windows: called with the number of windows finished since the last call.
        Raises:
            RunError: out of memory, or the network's scores are not finite numbers.
        """
        result = self._within_memory(prepared, probabilities, case, on_windows)
        if not result.labels.any():
            self._warn("nothing was found: no voxel belongs to any of the model's labels", case=case)
        return result

    def _within_memory(
        self, prepared: Preprocessed, probabilities: bool, case: str, on_windows: Callable[[int], None]
    ) -> Segmentation:
        try:
            return self._compute(prepared, probabilities, on_windows)
        except torch.cuda.OutOfMemoryError:
            careful = replace(self._settings, batch=1, adding_device=torch.device("cpu"))
            if careful == self._settings:
                raise out_of_memory(case) from None
            self._settings = careful  # for the cases that follow, too
        torch.cuda.empty_cache()
        message = "the GPU's memory is too small: trying again with one window at a time, adding up on the CPU"
        self._warn(message, case=case)
        on_windows(-self.windows(prepared))  # all of them again; harmless if fewer were done
        try:
            return self._compute(prepared, probabilities, on_windows)
        except torch.cuda.OutOfMemoryError:
            raise out_of_memory(case) from None

    def _compute(self, prepared: Preprocessed, probabilities: bool, on_windows: Callable[[int], None]) -> Segmentation:
        image = torch.from_numpy(np.ascontiguousarray(prepared.image, np.float32))
        slabs = score_slabs(self._network, image, self._settings, available=prepared.available, on_windows=on_windows)
        shape = (self.plan.classes, *image.shape[1:])
        values = self.plan.class_values
        if not probabilities:
            labels = restore_labels(StreamedScores(slabs, shape), prepared.geometry, values)
            return Segmentation(labels, None)
        scores = torch.empty(shape)
        for planes, slab in slabs:
            scores[:, planes] = slab
        labels = restore_labels(scores, prepared.geometry, values)
        return Segmentation(labels, restore_probabilities(scores, prepared.geometry))


class _Progress:
    """Progress over cases, or over windows if there is one case, with the time left in between."""

    def __init__(self, events: Events, cases: int):
        self._events, self._cases = events, cases
        self._done = 0  # cases
        self._windows, self._of = 0, 1  # of the current case
        self._began = self._told = time.monotonic()
        self._tell()

    def case_has(self, windows: int) -> None:
        """Say how many windows the next case takes."""
        self._windows, self._of = 0, windows
        self._tell()

    def windows_done(self, count: int) -> None:
        """Count windows; a negative number takes back what has to be done again."""
        self._windows = max(0, self._windows + count)
        if time.monotonic() - self._told >= _REPORT_EVERY:
            self._tell()

    def case_done(self) -> None:
        """Count a case, finished or failed."""
        self._done += 1
        self._windows, self._of = (self._of, self._of) if self._cases == 1 else (0, 1)
        self._tell()

    def _tell(self) -> None:
        now = self._told = time.monotonic()
        single = self._cases == 1
        done = self._windows / self._of if single else self._done + self._windows / self._of
        left = (now - self._began) * (self._cases - done) / done if done else None
        step, of = (self._windows, self._of) if single else (self._done, self._cases)
        left = None if left is None else round(left, 1)
        self._events.emit("progress", phase="segment", step=step, of=of, seconds_left=left)


def _segment_all(segmenter: Segmenter, cases: Sequence[InputCase], outputs: Sequence[Output], events: Events) -> None:
    """Segment every case that can be segmented; then complain about the others."""
    progress = _Progress(events, len(cases))

    def work(index: int) -> None:
        _segment_one(segmenter, cases[index], outputs[index], events, progress)

    failed = work_through(cases, work, events, case_done=progress.case_done)
    complain_about(failed, len(cases), done="segmented", others="done")


def _segment_one(segmenter: Segmenter, given: InputCase, output: Output, events: Events, progress: _Progress) -> None:
    try:
        check_missing(given.available(segmenter.plan), segmenter.plan, trained=segmenter.missing_modalities)
        prepared = prepared_case(given, segmenter.plan, events)
        progress.case_has(segmenter.windows(prepared))
        result = segmenter(
            prepared,
            probabilities=output.probabilities is not None,
            case=given.case.name,
            on_windows=progress.windows_done,
        )
    except MemoryError:
        raise out_of_memory(given.case.name) from None
    affine = prepared.geometry.affine
    if output.probabilities is not None:
        write_image(output.probabilities, result.probabilities, affine)
    write_labels(output.labels, result.labels, affine)


def _check_options(overlap: float, batch: int | None) -> None:
    if not 0 <= overlap < 1:
        raise BadSettingError(
            f"overlap is {overlap:g}, but must be at least 0 and less than 1", hint="The usual value is 0.5."
        )
    if batch is not None and batch < 1:
        raise BadSettingError(f"batch is {batch}, but must be at least 1", hint="Leave it out.")


def out_of_memory(case: str) -> RunError:
    """Make the error for a volume, named after its case, that is too large for this machine."""
    return RunError(
        "there is not enough memory to segment the volume",
        hint="Use --device cpu, crop the volume, or a machine with more memory.",
        case=case,
    )
