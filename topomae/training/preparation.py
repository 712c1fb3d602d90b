"""What happens before the first step: reading and checking the data, and settling the plan."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from topomae.data.cache import PreprocessedCases
from topomae.data.case_report import CaseReport
from topomae.data.cases import Case, Dataset
from topomae.data.checks import check_each, require_ok, with_outliers
from topomae.data.dataset import discover_labels
from topomae.data.loading import order_of_use
from topomae.data.plan import Plan
from topomae.data.planning import make_plan, plan_table
from topomae.data.remembered import FILE_NAME, Remembered
from topomae.errors import BadDataError, RunError
from topomae.events import Events, Progress
from topomae.files import told_as_run_error
from topomae.parallel.devices import Device, choose_device
from topomae.parallel.distributed import barrier, from_main, gathered, is_main, own_share, processes
from topomae.recipes.following import check_volumes, follow, open_for, tell, tell_differences
from topomae.recipes.recipe import Recipe
from topomae.recipes.shelf import find_recipe
from topomae.runs.folder import Run

CACHE = "TOPOMAE_CACHE"  # in the environment: folder of a cache that all runs share
AHEAD = 1000  # cases that are prepared before the first step; the others when they are first needed
_MOST_WARNED = 100  # cases whose warnings are told one by one
_TOLD_FROM = 1e8  # bytes; less disk space is not worth a word
_SPARE = 1.05  # of the disk space that is needed: file headers and blocks


def plan(
    data: str | Path,
    *,
    output: str | Path | None = None,
    size: str | None = None,
    device: str = "auto",
    overrides: Mapping[str, Any] | None = None,
    modalities: Iterable[str] | None = None,
    leave_out_bad: bool = False,
    check_labels: bool = False,
    remember: str | Path | None = None,
    cache: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    events: Events | None = None,
) -> Plan:
    """Read every image of a data set and plan its pre-processing and network.

    Args:
        data: folder of the data set.
        output: file to write the plan to. A plan.json in a run folder is used by that run.
        size: `small` (CPU, laptop) or `base` (as published); that of the recipe by default, else `small`.
        device: `auto`, `cpu` or `cuda`; its memory decides the size of crops and batches.
        overrides: fields of the plan to set by hand, see `Plan`.
        modalities: names of the image channels where the data set does not name them, e.g. ["CT"].
        leave_out_bad: go on without the cases that cannot be read, with a warning each.
        check_labels: read the label maps as well: a bad one makes the case bad, and labels that the data set
            does not name are found.
        remember: file that keeps what was found. Given again, only files that are new or have changed are read.
        cache: folder that keeps what was found, and prepared volumes, for several runs; see `pretrain`.
        recipe: name of a recipe, or its JSON file; see `topomae.recipes`.
        events: told of progress, each case, warnings and the plan.
    Returns:
        The plan.
    Raises:
        TopoMAEError: bad data or settings.
    """
    events = events or Events()
    where = choose_device(device)
    events.start(kind="plan", device=where.reason)
    recipe = find_recipe(recipe)
    size = (overrides or {}).get("size") or size or (recipe.size if recipe else "small")
    dataset = open_for(recipe, data, modalities=None if modalities is None else list(modalities))
    dataset = follow(recipe, dataset, size=size, overrides=overrides)
    tell(dataset, events)
    with ExitStack() as opened:
        kept = remember or ((folder := shared_cache(cache)) and folder / FILE_NAME)
        remembered = opened.enter_context(Remembered(kept, events.warning)) if kept else None
        reports = read_cases(dataset, dataset.cases, labels_checked=check_labels, events=events, remembered=remembered)
    tell_cases(reports, events)
    check_volumes(dataset, reports, overrides or {}, events)
    good = usable_cases(reports, labels_needed=False, leave_out_bad=leave_out_bad, events=events)
    if check_labels:
        dataset = discover_labels(replace(dataset, cases=tuple(report.case for report in good)), good)
    made = make_plan(
        dataset,
        good,
        size=size,
        device=where.kind,
        memory_gb=memory_gb(where),
        overrides=dict(overrides or {}),
    )
    tell_plan(made, events)
    if output is not None:
        made.save(output)
    return made


def check_cases(
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    labels_needed: bool,
    events: Events,
    leave_out_bad: bool = False,
    remembered: Remembered | None = None,
    leave: Callable[[], None] = lambda: None,
) -> list[CaseReport]:
    """Read every file once, tell the warnings, and refuse what cannot be used.

    Args:
        dataset: the data set of the cases.
        cases: the cases to be used.
        labels_needed: whether each needs a label; without it no label file is opened.
        events: told of progress and warnings.
        leave_out_bad: go on without bad cases, with a warning each, if any good one is left.
        remembered: what earlier readings found.
        leave: called between cases; may raise to end the work.
    Returns:
        The reports of the good cases.
    Raises:
        BadDataError: naming the first bad case and how many others there are; or there are no cases.
    """
    reports = read_cases(
        dataset, cases, labels_needed=labels_needed, events=events, remembered=remembered, leave=leave
    )
    return usable_cases(reports, labels_needed=labels_needed, leave_out_bad=leave_out_bad, events=events)


def read_cases(
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    labels_needed: bool = False,
    labels_checked: bool = False,
    events: Events,
    remembered: Remembered | None = None,
    leave: Callable[[], None] = lambda: None,
) -> list[CaseReport]:
    """Read every file once and tell the warnings; see `check_dataset`. Several processes share the work.

    Args:
        dataset, cases, labels_needed, labels_checked, remembered: see `check_dataset`.
        events: told of progress and warnings.
        leave: called between cases; may raise to end the work.

    Raises:
        BadDataError: there are no cases.
    """
    cases = list(cases)
    if not cases:
        raise BadDataError("there are no cases to train on", hint="Check splits.json.", path=dataset.folder)
    progress: list[Progress] = []

    def tell(done: int, of: int) -> None:
        leave()
        if not done:
            progress.append(events.track(of, "check data"))
        else:
            progress[0].advance()

    own = check_each(
        dataset,
        own_share(cases),
        labels_needed=labels_needed,
        labels_checked=labels_checked,
        progress=tell,
        remembered=remembered,
    )
    reports = own
    if processes().world > 1:
        plain = gathered([report.to_plain() for report in own])
        reports = [CaseReport.from_plain(case, one) for case, one in zip(cases, plain, strict=True)]
    reports = with_outliers(reports)
    odd = [report for report in reports if report.warnings]
    for report in odd[:_MOST_WARNED]:
        for warning in report.warnings:
            events.warning(warning, case=report.case.name)
    if len(odd) > _MOST_WARNED:
        events.warning(
            f"{len(odd) - _MOST_WARNED} more cases look odd in some way; topomae plan --events json lists all"
        )
    return reports


def usable_cases(
    reports: list[CaseReport], *, labels_needed: bool, leave_out_bad: bool, events: Events
) -> list[CaseReport]:
    """The reports of the good cases; see `check_cases`.

    Raises:
        BadDataError: naming the first bad case and how many others there are.
    """
    good = [report for report in reports if report.ok]
    if not good or labels_needed or not leave_out_bad:
        try:
            require_ok(reports)
        except BadDataError as error:
            way_out = "" if labels_needed or not good else " Or go on without: --leave-out-bad."
            raise BadDataError(error.message, hint=error.hint + way_out, case=error.case, path=error.path) from None
    for report in reports:
        if not report.ok:
            error = report.errors[0]
            events.warning(f"left out: {error.message} ({error.path}). {error.hint}", case=report.case.name)
    return good


def tell_cases(reports: Iterable[CaseReport], events: Events) -> None:
    """Tell what was found of each case, good or bad, for a program that shows a table of them."""
    for report in reports:
        events.emit(
            "case",
            name=report.case.name,
            labelled=report.case.label is not None,
            shape=report.shape,
            spacing=report.spacing,
            labels=report.label_voxels,
            errors=[f"{error.message}. {error.hint}".strip() for error in report.errors],
            warnings=report.warnings,
        )


def settle_plan(
    run: Run,
    dataset: Dataset,
    reports: list[CaseReport],
    *,
    size: str,
    device: Device,
    overrides: Mapping[str, Any],
    adapt: Callable[[Plan], Plan] = lambda plan: plan,
) -> Plan:
    """The plan of a run: the one in its folder (made earlier, or edited by the user), else a new one.

    Several processes take that of the main one.

    Args:
        run: where it is kept.
        dataset: that is learnt from. reports: what was found in its cases.
        size: of the network, for a new plan. device: the same. overrides: fields set by the user, the same.
        adapt: what the task changes in a new plan.
    Raises:
        BadSettingError: the plan in the folder or an override is not valid.
        RunError: the plan in the folder was made for other modalities.
    """
    check_volumes(dataset, reports, overrides, run.events)
    plan = None
    if is_main():
        plan = _settled_plan(run, dataset, reports, size=size, device=device, overrides=overrides, adapt=adapt)
    plan = Plan.model_validate_json(from_main(plan and plan.model_dump_json()))
    tell_plan(plan, run.events)
    tell_differences(dataset, plan, run.events)
    return plan


def _settled_plan(
    run: Run,
    dataset: Dataset,
    reports: list[CaseReport],
    *,
    size: str,
    device: Device,
    overrides: Mapping[str, Any],
    adapt: Callable[[Plan], Plan],
) -> Plan:
    path = run.path("plan.json")
    if path.exists():
        plan = Plan.load(path)
        if len(plan.modalities) != len(dataset.modalities):
            raise RunError(
                f"the plan is for {', '.join(plan.modalities)}, the data have {', '.join(dataset.modalities)}",
                hint="Remove the plan, or choose another run folder.",
                path=path,
            )
    else:
        plan = make_plan(
            dataset,
            reports,
            size=size,
            device=device.kind,
            devices=processes().world,
            memory_gb=memory_gb(device),
            overrides=overrides,
        )
        plan = adapt(plan)
        plan.save(path)
    return plan


def prepare(run: Run, *groups: PreprocessedCases, samples: int | None = None, seed: int = 0) -> None:
    """Preprocess the cases that have not been yet, each of several processes its share.

    Of very many cases the rest is left for when it is first needed.

    Args:
        run: told of progress and of the disk space needed.
        groups: the training cases, then others.
        samples: how many samples training draws; training cases that none comes from are left alone.
        seed: of the order in which training draws them.

    Raises:
        BadDataError: a case cannot be read or preprocessed.
        RunError: the disk has not enough space.
    """
    missing = from_main(_missing(groups, samples, seed) if is_main() else [])
    _check_disk(run, groups, missing)
    if missing:
        ahead = missing[:AHEAD]
        if len(missing) > len(ahead):
            later = f"{len(missing) - len(ahead)} more cases are prepared on the way, when they are first needed"
            run.events.emit("note", message=later)
        own = own_share(ahead)
        for group, place in run.events.track(own, "preprocess"):
            run.leave_if_asked()
            groups[group].make(place)
    barrier()


def tell_plan(plan: Plan, events: Events) -> None:
    """Show every choice of a plan with its reason."""
    rows = plan_table(plan)
    events.emit(
        "plan",
        **{name.replace(" ", "_"): value for name, value, _ in rows},
        reasons={name.replace(" ", "_"): reason for name, _, reason in rows},
    )


def shared_cache(given: str | Path | None) -> Path | None:
    """The folder of a cache that runs share: as given, else named in the environment; None without."""
    named = given or os.environ.get(CACHE)
    return Path(named).absolute() if named else None


def memory_gb(device: Device) -> float | None:
    """Memory of a GPU in GB; None on a CPU, where the planner's careful default holds."""
    if device.kind != "cuda":
        return None
    return torch.cuda.get_device_properties(0).total_memory / 1e9


def _missing(groups: Sequence[PreprocessedCases], samples: int | None, seed: int) -> list[tuple[int, int]]:
    """Number of the group and place in it of the cases that are yet to be made, in the order of their use."""
    found = []
    for number, cases in enumerate(groups):
        lacking = cases.missing()
        if number == 0 and samples is not None:
            wanted = set(lacking)
            lacking = [place for place in order_of_use(len(cases), seed, samples) if place in wanted]
        found += [(number, place) for place in lacking]
    return found


def _check_disk(run: Run, groups: Sequence[PreprocessedCases], missing: Sequence[tuple[int, int]]) -> None:
    needed = _SPARE * sum(groups[group].bytes_needed(place) for group, place in missing)
    if not missing or not is_main():
        return
    folder = groups[0].folder
    with told_as_run_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise RunError(
            f"preparing {len(missing)} cases needs about {_gigabytes(needed)}, but only {_gigabytes(free)} are free",
            hint="Free some space, or name a folder on another disk with --cache.",
            path=folder,
        )
    if needed >= _TOLD_FROM:
        message = f"prepared volumes of {len(missing)} cases take about {_gigabytes(needed)} of disk space in {folder}"
        run.events.emit("note", message=message)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
