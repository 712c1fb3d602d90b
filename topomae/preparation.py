"""What happens before the first step: reading and checking the data, and settling the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case, Dataset
from topomae.data.checks import CaseReport, check_dataset, require_ok
from topomae.data.dataset import open_dataset
from topomae.data.plan import Plan
from topomae.data.planning import make_plan, plan_table
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
        events: told of progress, warnings and the plan.
    Returns:
        The plan.
    Raises:
        TopoMAEError: bad data or settings.
    """
    events = events or Events()
    where = choose_device(device)
    dataset = open_dataset(data, modalities=modalities)
    reports = check_cases(dataset, dataset.cases, labels_needed=False, events=events, leave_out_bad=leave_out_bad)
    made = make_plan(
        dataset,
        reports,
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
    cases = list(cases)
    if not cases:
        raise BadDataError("there are no cases to train on", hint="Check splits.json.", path=dataset.folder)
    progress = events.track(len(cases), "check data")
    reports = check_dataset(dataset, cases, labels_needed=labels_needed, progress=lambda *_: progress.advance())
    for report in reports:
        for warning in report.warnings:
            events.warning(warning, case=report.case.name)
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
