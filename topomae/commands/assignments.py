"""What follows `--set` on the command line, sorted into settings of the run and fields of the plan."""

from __future__ import annotations

from collections.abc import Iterable

from topomae.config import Settings, settings_from, split_assignments

_OF_SEVERAL_AXES = ("spacing", "crop_size", "patch_size", "stem_stride", "mirror_axes")


def settings_and_plan_fields(
    kind: type[Settings], assignments: Iterable[str] | None, seed: int
) -> tuple[Settings, dict[str, object]]:
    """Sort `key=value` texts into settings of a run and fields of the plan.

    Args:
        kind: class of the settings, such as `PretrainSettings`.
        assignments: as typed; where a name is known to both, it is a setting.
        seed: of everything random.
    Raises:
        BadSettingError: a setting that does not exist or has an impossible value.
    """
    from topomae.data.plan import Plan

    given = split_assignments(assignments or ())
    of_plan = {
        name: value for name, value in given.items() if name in Plan.model_fields and name not in kind.model_fields
    }
    of_run = [f"{name}={value}" for name, value in given.items() if name not in of_plan]
    return settings_from(kind, of_run, seed=seed), _with_lists(of_plan)


def plan_fields(assignments: Iterable[str] | None) -> dict[str, object]:
    """Fields of the plan from `key=value` texts.

    Raises:
        BadSettingError: a text without `=`.
    """
    return _with_lists(split_assignments(assignments or ()))


def _with_lists(fields: dict[str, str]) -> dict[str, object]:
    """Values as typed, those of several axes split at their commas."""
    return {
        name: [part for part in value.split(",") if part] if name in _OF_SEVERAL_AXES else value
        for name, value in fields.items()
    }
