"""From a data set's fingerprint to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from topomae.data import plan_rules as rules
from topomae.data.cases import Dataset
from topomae.data.checks import CaseReport
from topomae.data.plan import Normalization, Plan
from topomae.errors import BadDataError, BadSettingError

SET_BY_USER = "set by the user"
_AXES = ("left-right", "posterior-anterior", "inferior-superior")
_FINITE = ConfigDict(allow_inf_nan=False)


def make_plan(
    dataset: Dataset,
    reports: Sequence[CaseReport],
    *,
    size: rules.Size = "small",
    memory_gb: float | None = None,
    device: rules.Device = "cpu",
    devices: int = 1,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan how to train on a data set. The same input always gives the same plan.

    Args:
        dataset: for name, modalities and labels, and for what its recipe prescribes.
        reports: what `check_dataset` found; cases that are not ok are left out.
        size: network size.
        memory_gb: memory of the device in GB; None for a careful guess.
        device: where the training will run.
        devices: how many of them share each step.
        overrides: plan fields to take as they are, also against a recipe; fields that follow from them are planned
            to fit.
    Raises:
        BadDataError: no case is usable.
        BadSettingError: an override is not a field of the plan, or has an impossible value.
    """
    usable = [report for report in reports if report.ok]
    if not usable:
        raise BadDataError("no case can be used", hint="Solve the problems named above.", path=dataset.folder)
    given = {
        "dataset": dataset.name,
        "modalities": dataset.modalities,
        "labels": dataset.labels,
        "size": size,
    }
    prescribed = {} if dataset.prescribed is None else dataset.prescribed.plan
    chosen = checked_fields({**prescribed, **(overrides or {})})
    values: dict[str, Any] = given | chosen
    reasons = {"size": "the published size" if size == "base" else "fits a CPU or a laptop"}
    fingerprint = rules.Fingerprint(
        shapes=np.array([report.foreground_shape for report in usable], float),
        spacings=np.array([report.spacing for report in usable], float),
        size=values["size"],
        device=device,
        devices=devices,
        memory_gb=memory_gb or rules.DEFAULT_MEMORY_GB[device],
    )

    def decide(field: str, rule: Callable[..., tuple[Any, str]], *arguments: Any) -> None:
        if field not in chosen:
            values[field], reasons[field] = rule(*arguments)

    decide("spacing", rules.choose_spacing, fingerprint)
    decide("normalization", rules.choose_normalization, values["modalities"], usable)
    decide("crop_size", rules.choose_crop, fingerprint, values["spacing"])
    decide("patch_size", rules.choose_patch, values["crop_size"], values["size"])
    decide("stem_stride", rules.choose_stem, values["crop_size"], values["size"], values["spacing"])
    decide("batch_size", rules.choose_batch, values["crop_size"], fingerprint)
    decide("mirror_axes", rules.choose_mirror_axes, values["labels"])
    reasons |= dict.fromkeys(chosen, SET_BY_USER)
    if dataset.prescribed is not None:
        reasons |= {field: why for field, why in dataset.prescribed.reasons.items() if field not in (overrides or {})}
    ordered = {field: reasons[field] for field in Plan.model_fields if field in reasons}
    return Plan.check({**values, "reasons": ordered})


def plan_table(plan: Plan) -> list[tuple[str, str, str]]:
    """Rows (setting, value, reason) for printing, in the order of the plan's fields."""
    shown = [field for field in Plan.model_fields if field not in ("version", "reasons")]
    return [
        (field.replace("_", " "), _in_words(field, plan), plan.reasons.get(field, "read from the data set"))
        for field in shown
    ]


def checked_fields(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Some fields of a plan as its own types.

    Args:
        overrides: value by name of the field.
    Raises:
        BadSettingError: naming the field.
    """
    fields = {name: info for name, info in Plan.model_fields.items() if name not in ("version", "reasons")}
    checked = {}
    for name, value in overrides.items():
        if name not in fields:
            known = ", ".join(fields)
            raise BadSettingError(f'the plan has no field "{name}"', hint=f"Its fields are {known}.")
        try:
            checked[name] = TypeAdapter(fields[name].rebuild_annotation(), config=_FINITE).validate_python(value)
        except ValidationError as error:
            problem = "; ".join(str(part["msg"]) for part in error.errors())
            raise BadSettingError(f"{name} = {value!r} is not valid: {problem}") from None
    return checked


def _in_words(field: str, plan: Plan) -> str:
    value = getattr(plan, field)
    units = {"spacing": " mm", "crop_size": " voxels", "patch_size": " voxels"}
    if field == "labels":
        return ", ".join(f"{number} {name}" for number, name in value.items()) or "none"
    if field == "normalization":
        return "; ".join(map(_window_in_words, value))
    if field == "mirror_axes":
        return ", ".join(_AXES[axis] for axis in value) or "none"
    if field == "modalities":
        return ", ".join(value)
    text = "×".join(f"{n:g}" for n in value) if isinstance(value, tuple) else str(value)
    return text + units.get(field, "")


def _window_in_words(how: Normalization) -> str:
    if how.kind == "robust":
        return "robust"
    return f"{how.lower:g} to {how.upper:g} HU, mean {how.mean:g}, sd {how.sd:g}"
