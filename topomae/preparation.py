"""What happens before the first step: reading and checking the data, and settling the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.checks import CaseReport, check_dataset, require_ok
from topomae.data.dataset import discover_labels, open_dataset
from topomae.data.plan import Plan
from topomae.data.planning import make_plan, plan_table
from topomae.data.remembered import keep, recall
from topomae.errors import BadDataError, RunError
from topomae.events import Events
from topomae.runs import Run
from topomae.training import Device, choose_device


def plan(
    data: str | Path,
    *,
    output: str | Path | None = None,
    size: str = "small",
    device: str = "auto",
    overrides: Mapping[str, Any] | None = None,
    modalities: Iterable[str] | None = None,
    leave_out_bad: bool = False,
    check_labels: bool = False,
    remember: str | Path | None = None,
    events: Events | None = None,
) -> Plan:
    """Read every image of a data set and plan its pre-processing and network.

    Args:
        data: folder of the data set.
        output: file to write the plan to. A plan.json in a run folder is used by that run.
        size: `small` (CPU, laptop) or `base` (as published).
        device: `auto`, `cpu` or `cuda`; its memory decides the size of crops and batches.
        overrides: fields of the plan to set by hand, see `Plan`.
        modalities: names of the image channels where the data set does not name them, e.g. ["CT"].
        leave_out_bad: go on without the cases that cannot be read, with a warning each.
        check_labels: read the label maps as well: a bad one makes the case bad, and labels that the data set
            does not name are found.
        remember: file that keeps what was found. Where it already does, and no file of the data set has changed
            since, nothing is read again.
        events: told of progress, each case, warnings and the plan.
    Returns:
        The plan.
    Raises:
        TopoMAEError: bad data or settings.
    """
    events = events or Events()
    where = choose_device(device)
    events.start(kind="plan", device=where.reason)
    dataset = open_dataset(data, modalities=modalities)
    reports = remember and recall(Path(remember), dataset, labels_checked=check_labels)
    if not reports:
        reports = read_cases(dataset, dataset.cases, labels_checked=check_labels, events=events)
        if remember:
            keep(Path(remember), dataset, reports, labels_checked=check_labels)
    tell_cases(reports, events)
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
) -> list[CaseReport]:
    """Read every file once, tell the warnings, and refuse what cannot be used.

    Args:
        dataset: the data set of the cases.
        cases: the cases to be used.
        labels_needed: whether each needs a label; without it no label file is opened.
        events: told of progress and warnings.
        leave_out_bad: go on without bad cases, with a warning each, if any good one is left.
    Returns:
        The reports of the good cases.
    Raises:
        BadDataError: naming the first bad case and how many others there are; or there are no cases.
    """
    reports = read_cases(dataset, cases, labels_needed=labels_needed, events=events)
    return usable_cases(reports, labels_needed=labels_needed, leave_out_bad=leave_out_bad, events=events)


def read_cases(
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    labels_needed: bool = False,
    labels_checked: bool = False,
    events: Events,
) -> list[CaseReport]:
    """Read every file once and tell the warnings; see `check_dataset`.

    Raises:
        BadDataError: there are no cases.
    """
    cases = list(cases)
    if not cases:
        raise BadDataError("there are no cases to train on", hint="Check splits.json.", path=dataset.folder)
    progress = events.track(len(cases), "check data")
    reports = check_dataset(
        dataset,
        cases,
        labels_needed=labels_needed,
        labels_checked=labels_checked,
        progress=lambda *_: progress.advance(),
    )
    for report in reports:
        for warning in report.warnings:
            events.warning(warning, case=report.case.name)
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
) -> Plan:
    """The plan of a run: the one in its folder (made earlier, or edited by the user), else a new one.

    Raises:
        BadSettingError: the plan in the folder or an override is not valid.
        RunError: the plan in the folder was made for other modalities.
    """
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
            dataset, reports, size=size, device=device.kind, memory_gb=memory_gb(device), overrides=overrides
        )
        plan.save(path)
    tell_plan(plan, run.events)
    return plan


def prepare(run: Run, *groups: PreprocessedCases) -> None:
    """Preprocess every case that has not been yet."""
    progress = run.events.track(sum(len(cases) for cases in groups), "preprocess")
    for cases in groups:
        cases.prepare(lambda done, of: done and progress.advance())


def tell_plan(plan: Plan, events: Events) -> None:
    """Show every choice of a plan with its reason."""
    rows = plan_table(plan)
    events.emit(
        "plan",
        **{name.replace(" ", "_"): value for name, value, _ in rows},
        reasons={name.replace(" ", "_"): reason for name, _, reason in rows},
    )


def memory_gb(device: Device) -> float | None:
    """Memory of a GPU in GB; None on a CPU, where the planner's careful default holds."""
    if device.kind != "cuda":
        return None
    return torch.cuda.get_device_properties(0).total_memory / 1e9
