"""The cases of a run: checked when it begins, and the same ones ever after, whatever becomes of the data folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from topomae.data.cache import changed, remove_old_leftovers
from topomae.data.case_report import CaseReport
from topomae.data.cases import Case, Dataset
from topomae.data.fingerprint import content_fingerprint, joined_fingerprint
from topomae.data.remembered import FILE_NAME, Remembered
from topomae.data.run_data import FILE_NAME as RUN_DATA
from topomae.data.run_data import RunData
from topomae.events import Events
from topomae.parallel.distributed import barrier, gathered, is_main, own_share
from topomae.recipes.following import open_for
from topomae.recipes.recipe import Recipe
from topomae.runs.folder import Run
from topomae.training.preparation import check_cases, shared_cache

_OLD = 24 * 3600.0  # seconds; what is younger in a shared cache may be another process's work


def open_run_dataset(
    run: str | Path, data: str | Path, *, modalities: Iterable[str] | None = None, recipe: Recipe | None = None
) -> Dataset:
    """The data set of a run: as it was when the run began if it has begun, else as it is in the folder.

    Args:
        run: run folder, which need not exist.
        data: folder of the data set; may be another one than when the run began if the files are the same.
        modalities: names of the image channels, where the data set does not name them.
        recipe: that is going to be followed, if any; knows how some data sets are downloaded.

    Raises:
        BadDataError: the folder holds no data set.
        RunError: what the run says of its data set cannot be read.
    """
    begun = RunData.load(Path(run) / RUN_DATA)
    if begun is None:
        return open_for(recipe, data, modalities=None if modalities is None else list(modalities))
    return begun.dataset(Path(data))


def checked_cases(
    run: Run,
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    labels_needed: bool,
    leave_out_bad: bool = False,
    cache: str | Path | None = None,
) -> tuple[Dataset, list[CaseReport]]:
    """Check the cases of a run before it begins, or see that they are what they were when it began.

    Files that have not changed since they were last read are not read again. When a run goes on, files that
    were merely copied or touched have not changed, and files that have vanished are told, but are no obstacle as
    long as they have been prepared.

    Args:
        run: the open run folder.
        dataset: from `open_run_dataset`.
        cases: the cases to be used.
        labels_needed: whether each needs a label; without it no label file is opened.
        leave_out_bad: begin without bad cases, with a warning each.
        cache: folder that keeps what was found, and prepared volumes, for several runs. None takes the one that
            `TOPOMAE_CACHE` names, else the run's own folder.

    Returns:
        The data set, which now knows the content of the files and where prepared volumes go; the reports of the
        cases to be used.

    Raises:
        BadDataError: a case cannot be used, or a file has changed since the run began.
    """
    path = run.path(RUN_DATA)
    begun = RunData.load(path)
    shared = shared_cache(cache)
    folder = shared or run.path("preprocessed")
    with Remembered(folder / FILE_NAME, run.events.warning) as remembered:
        if begun is None:
            reports = check_cases(
                dataset,
                cases,
                labels_needed=labels_needed,
                events=run.events,
                leave_out_bad=leave_out_bad,
                remembered=remembered,
                leave=run.leave_if_asked,
            )
            used = [report.case for report in reports]
            begun = RunData.of(dataset, reports, _content(dataset, used, labels_needed, remembered))
            if is_main():
                begun.save(path)
        else:
            cases = [case for case in cases if case.name in begun.fingerprint.cases]
            _assume_vanished(begun, cases, labels_needed, remembered, run.events)
            _refuse_changed(begun, cases, _content(dataset, cases, labels_needed, remembered), labels_needed)
            reports = check_cases(
                dataset,
                cases,
                labels_needed=labels_needed,
                events=run.events,
                remembered=remembered,
                leave=run.leave_if_asked,
            )
    if is_main():
        remove_old_leftovers(folder, seconds=_OLD if shared else 0)
    barrier()
    return begun.with_cache(dataset, folder, shared=shared is not None), reports


def _content(dataset: Dataset, cases: Sequence[Case], with_labels: bool, remembered: Remembered) -> dict[str, Any]:
    """The fingerprint of the cases' files, of which each of several processes looks at its share."""
    own = own_share(cases)
    found = content_fingerprint(dataset, own, with_labels=with_labels, sha256=remembered.sha256)["cases"]
    contents = gathered([found[case.name] for case in own])
    return joined_fingerprint({case.name: one for case, one in zip(cases, contents, strict=True)})


def _files(case: Case, content: Any, with_label: bool) -> list[tuple[Path, str]]:
    """Every file of a case with the SHA-256 that it had."""
    files = [*zip(case.images, content.images, strict=True)]
    files += [(case.label, content.label)] if with_label else []
    return [(path, digest) for path, digest in files if path is not None and digest is not None]


def _assume_vanished(
    begun: RunData, cases: Sequence[Case], with_label: bool, remembered: Remembered, events: Events
) -> None:
    """Let files that are gone hold what they held; tell how many they are."""
    vanished: dict[Path, str] = {}
    first = ""
    for case in cases:
        for path, digest in _files(case, begun.fingerprint.cases[case.name], with_label):
            if not path.exists():
                vanished[path] = digest
                first = first or case.name
    if vanished:
        name = next(iter(vanished)).name
        others = f" and {len(vanished) - 1} more files are gone" if len(vanished) > 1 else " is gone"
        events.warning(f"{name}{others}: the run goes on with what was prepared before", case=first)
    remembered.assume(vanished)


def _refuse_changed(begun: RunData, cases: Sequence[Case], now: dict[str, Any], with_label: bool) -> None:
    """Refuse to go on with a case whose files hold something else than when the run began.

    Raises:
        BadDataError: naming the first such case and file.
    """
    if now["sha256"] == begun.fingerprint.sha256:
        return
    for case in cases:
        then, found = begun.fingerprint.cases[case.name], now["cases"][case.name]
        held = [*found["images"], *([found["label"]] if with_label else [])]
        files = [*zip(case.images, then.images, strict=True), *([(case.label, then.label)] if with_label else [])]
        for (path, digest), content in zip(files, held, strict=True):
            if path is not None and digest != content:
                raise changed(case, path)
