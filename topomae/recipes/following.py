"""Following a recipe: does the data set fit, and what does the recipe say where the user says nothing?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from topomae.config import FinetuneSettings, PretrainSettings, Settings, SettingsType, settings_from
from topomae.data.case_report import CaseReport
from topomae.data.cases import Dataset, Prescription, Split, in_hounsfield_units
from topomae.data.dataset import open_dataset
from topomae.data.plan import Plan
from topomae.data.planning import SET_BY_USER, checked_fields
from topomae.errors import BadDataError, BadSettingError
from topomae.events import Events
from topomae.recipes.arranging import found_layout, some_of
from topomae.recipes.recipe import NetworkField, Recipe

_OF_LENGTH = ("checkpoint_every", "validate_every")  # settings that go with the number of steps
_FAR = 1.5  # times outside the range of voxel sizes
_FAT_HU = -50.0  # every body has denser and less dense tissue than that


def settings_by(
    recipe: Recipe | None, kind: type[SettingsType], given: Settings | None, size: str | None
) -> SettingsType:
    """The settings of a training: what the user set, then what the recipe says, then the defaults.

    Args:
        recipe: or None.
        kind: `PretrainSettings` or `FinetuneSettings`.
        given: by the user.
        size: of the network; what the recipe says of a training's length holds for its own size only.
    Raises:
        BadSettingError: recipes say nothing of this kind of training.
    """
    if recipe is None:
        return given or kind()
    if kind not in (PretrainSettings, FinetuneSettings):
        hint = "Leave out the recipe, or the task."
        raise BadSettingError("recipes are for segmentation, not for classes of whole volumes", hint=hint)
    values = recipe.values("pretrain" if kind is PretrainSettings else "finetune")
    if size != recipe.size:
        of_size = {*kind.BY_SIZE[recipe.size], *_OF_LENGTH}
        values = {name: value for name, value in values.items() if name not in of_size}
    own = {name: getattr(given, name) for name in given.model_fields_set} if given else {}
    return settings_from(kind, **{**values, **own})


def follow(
    recipe: Recipe | None,
    dataset: Dataset,
    *,
    size: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    labels_needed: bool = False,
) -> Dataset:
    """The data set with the recipe's split and names, and with what the recipe prescribes for its plan.

    A split that lies beside the data goes before that of the recipe. No file is read.

    Args:
        recipe: None leaves the data set as it is.
        dataset: as it was opened.
        size: of the network; None is the recipe's.
        overrides: fields of the plan that the user sets.
        labels_needed: whether every training and validation case needs a label map.
    Raises:
        BadDataError: it is another data set than the recipe's: cases, labels or modalities.
    """
    if recipe is None:
        return dataset
    dataset = replace(dataset, modalities=_modalities(recipe, dataset), labels=_labels(recipe, dataset))
    notes = [f"recipe {recipe.name}: {recipe.description}"]
    warnings: list[str] = []
    if dataset.fixed_split is None:
        _require_cases(recipe, dataset)
        warnings += _extra_cases(recipe, dataset)
        subjects = recipe.split.subject_of
        cases = tuple(replace(case, subject=subjects.get(case.name, case.subject)) for case in dataset.cases)
        dataset = replace(dataset, cases=cases, fixed_split=recipe.split.split)
        if dataset.folds:
            notes.append("the split of the recipe is used, not nnU-Net's folds that lie beside the data")
    elif _as_sets(dataset.fixed_split) != _as_sets(recipe.split.split):
        notes.append("the split that lies beside the data is used, not that of the recipe")
    warnings += _without_labels(recipe, dataset, labels_needed)
    if size not in (None, recipe.size):
        notes.append(
            f"crop, batch and lengths of training of the recipe are for size {recipe.size}; for {size} they are "
            "chosen anew"
        )
    plan = _plan_fields(recipe, size or recipe.size, overrides or {})
    reasons = {field: f"recipe {recipe.name}, {recipe.plan[field].reason}" for field in plan}
    prescribed = Prescription(recipe.model_dump(mode="json"), plan, reasons, tuple(notes), tuple(warnings))
    return replace(dataset, prescribed=prescribed)


def open_for(recipe: Recipe | None, folder: str | Path, *, modalities: Sequence[str] | None = None) -> Dataset:
    """Open a data set; of one that is to be arranged first for the recipe, say so.

    Args:
        recipe: or None.
        folder, modalities: see `open_dataset`.
    Raises:
        BadDataError: what the folder holds is no data set, or one as it is downloaded.
    """
    try:
        return open_dataset(folder, modalities=modalities)
    except BadDataError:
        if recipe is None or found_layout(recipe, Path(folder)) is None:
            raise
        hint = f"Arrange its files first: topomae recipes prepare {recipe.name} {folder} NEW_FOLDER."
        raise BadDataError("the data set lies here as it is downloaded", hint=hint, path=folder) from None


def tell(dataset: Dataset, events: Events, settings: Settings | None = None) -> None:
    """Tell which recipe is followed, what does not fit, and which settings of a training are the recipe's.

    Args:
        dataset: from `follow`.
        events: told.
        settings: of the training that is about to begin.
    """
    if dataset.prescribed is None:
        return
    for note in dataset.prescribed.notes:
        events.emit("note", message=note)
    for warning in dataset.prescribed.warnings:
        events.warning(warning)
    if settings is not None:
        recipe = Recipe.model_validate(dataset.prescribed.recipe)
        said = recipe.pretrain if isinstance(settings, PretrainSettings) else recipe.finetune
        for name, chosen in said.items():
            if getattr(settings, name) == chosen.value:
                events.emit("note", message=f"recipe {recipe.name}: {name} = {chosen.value} ({chosen.reason})")


def check_volumes(
    dataset: Dataset, reports: Sequence[CaseReport], overrides: Mapping[str, Any], events: Events
) -> None:
    """Refuse volumes that cannot be those of the recipe, before anything is prepared; tell odd ones.

    Args:
        dataset: from `follow`.
        reports: what reading the volumes found.
        overrides: fields of the plan that the user sets; who sets the voxel size has seen the volumes.
        events: told of odd voxel sizes.
    Raises:
        BadDataError: most voxels have another size, or intensities are not Hounsfield units where they should be.
    """
    if dataset.prescribed is None:
        return
    recipe = Recipe.model_validate(dataset.prescribed.recipe)
    read = [report for report in reports if report.ok and report.spacing is not None]
    for channel, name in enumerate(recipe.data.modalities):
        for report in read:
            found = report.intensities[channel]
            if in_hounsfield_units(name) and found is not None and found.minimum > _FAT_HU:
                raise BadDataError(
                    f"recipe {recipe.name} is for Hounsfield units, but no voxel is below {found.minimum:g}",
                    hint="Give the CT as published, not scaled to another range.",
                    case=report.case.name,
                    path=report.case.files[0],
                )
    if "spacing" in overrides:
        return
    odd = [report for report in read if not _is_near(report.spacing, recipe)]
    if 2 * len(odd) > len(read):
        raise BadDataError(
            f"recipe {recipe.name} is for voxels of {_range_in_words(recipe)}, but {len(odd)} of {len(read)} volumes "
            f"have others, such as {_in_words(odd[0].spacing)} mm",
            hint="Is it this data set, and are its axes in their order? Or set the plan's spacing: --set spacing=...",
            case=odd[0].case.name,
            path=odd[0].case.files[0],
        )
    for report in odd:
        told = f"voxels of {_in_words(report.spacing)} mm, where the recipe expects {_range_in_words(recipe)}"
        events.warning(told, case=report.case.name)


def tell_differences(dataset: Dataset, plan: Plan, events: Events) -> None:
    """Tell where a plan that was there before, of a pre-training or written by the user, is not the recipe's."""
    if dataset.prescribed is None:
        return
    for name, value in checked_fields(dataset.prescribed.plan).items():
        if getattr(plan, name) != value and plan.reasons.get(name) != SET_BY_USER:
            events.emit("note", message=f"{name} is that of the plan at hand, not that of the recipe")


def _modalities(recipe: Recipe, dataset: Dataset) -> tuple[str, ...]:
    """The data set's names of its channels; the recipe's where it has none."""
    wanted, found = recipe.data.modalities, dataset.modalities
    if len(found) != len(wanted):
        raise _unfit(
            recipe,
            dataset,
            f"is for {len(wanted)} image channel{'s'[: len(wanted) - 1]} ({', '.join(wanted)}), "
            f"the data set has {len(found)}: {', '.join(found)}",
        )
    if all(name == "image" or name.startswith("image ") for name in found):  # as `open_dataset` calls them
        return wanted
    if list(map(in_hounsfield_units, found)) != list(map(in_hounsfield_units, wanted)):
        raise _unfit(recipe, dataset, f"is for {', '.join(wanted)}, the data set has {', '.join(found)}")
    return found


def _labels(recipe: Recipe, dataset: Dataset) -> dict[int, str]:
    """The data set's names of its labels; the recipe's where it has none."""
    wanted, found = recipe.data.labels, dataset.labels
    if not found:
        return dict(wanted)
    if found.keys() != wanted.keys():
        raise _unfit(
            recipe,
            dataset,
            f"is for the labels {_labels_in_words(wanted)}, the data set has {_labels_in_words(found)}",
        )
    value_of = {name.casefold(): value for value, name in found.items()}
    for value, name in wanted.items():
        if value_of.get(name.casefold(), value) != value:
            raise _unfit(
                recipe, dataset, f"calls label {value} {name}, the data set label {value_of[name.casefold()]}"
            )
    return found


def _require_cases(recipe: Recipe, dataset: Dataset) -> None:
    there = {case.name for case in dataset.cases}
    missing = [name for name in recipe.split.cases if name not in there]
    if not missing:
        return
    of = len(recipe.split.cases)
    what = f"needs {of} cases, but the data set lacks {_listed(missing)}"
    if len(missing) == of:
        what = f"needs cases such as {recipe.split.cases[0]}, the data set has {some_of(sorted(there))}"
    hint = "Restore them, or write a splits.json beside the data, which then decides."
    raise _unfit(recipe, dataset, what, hint=hint)


def _extra_cases(recipe: Recipe, dataset: Dataset) -> list[str]:
    known = set(recipe.split.cases)
    extra = [case.name for case in dataset.cases if case.name not in known]
    if not extra:
        return []
    return [f"left out, as recipe {recipe.name} does not know them: {_listed(extra)}"]


def _without_labels(recipe: Recipe, dataset: Dataset, needed: bool) -> list[str]:
    """A warning of cases whose label map is missing; an error if they are to be learnt from now."""
    split = dataset.fixed_split
    lacking = [name for name in (*split.train, *split.val) if dataset.case(name).label is None]
    own = split == recipe.split.split
    if lacking and needed and own:
        raise _unfit(
            recipe,
            dataset,
            f"needs the label maps of {len(split.train) + len(split.val)} cases to train, but the data set has none "
            f"for {_listed(lacking)}",
            hint="Restore them, or write a splits.json beside the data, which then decides.",
        )
    lacking += [name for name in split.test if dataset.case(name).label is None]
    return [f"without a label map: {_listed(lacking)}"] if lacking and own else []


def _plan_fields(recipe: Recipe, size: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe says of the plan, without what depends on a size or a crop that the user has changed."""
    fields = recipe.values("plan")
    if size != recipe.size:
        fields = {name: value for name, value in fields.items() if name not in get_args(NetworkField)}
    if "crop_size" in overrides:
        crop = checked_fields({"crop_size": overrides["crop_size"]})["crop_size"]
        for name in ("patch_size", "stem_stride"):
            if name in fields and any(c % part for c, part in zip(crop, fields[name], strict=True)):
                del fields[name]
    return fields


def _is_near(spacing: Sequence[float], recipe: Recipe) -> bool:
    lower, upper = np.array(recipe.data.voxel_mm).T
    return bool(np.all((spacing >= lower / _FAR) & (spacing <= upper * _FAR)))


def _range_in_words(recipe: Recipe) -> str:
    axes = (f"{low:g}" if low == high else f"{low:g}–{high:g}" for low, high in recipe.data.voxel_mm)
    return " × ".join(axes) + " mm"


def _in_words(spacing: Iterable[float]) -> str:
    return " × ".join(f"{mm:.3g}" for mm in spacing)


def _labels_in_words(labels: Mapping[int, str]) -> str:
    return some_of([f"{value} {name}" for value, name in labels.items()], most=20)


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} case{'' if len(names) == 1 else 's'} ({some_of(names)})"


def _as_sets(split: Split) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(names) for names in (split.train, split.val, split.test))


def _unfit(recipe: Recipe, dataset: Dataset, what: str, *, hint: str = "") -> BadDataError:
    hint = hint or "Give the data set as published, or go without the recipe."
    return BadDataError(f"recipe {recipe.name} {what}", hint=hint, path=dataset.folder)
