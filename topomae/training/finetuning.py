"""Fine-tuning: a segmentation network from a few labelled volumes and, if there is one, a pre-training run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from topomae.config import ClassifySettings, FinetuneSettings
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import discover_labels
from topomae.data.splits import split_dataset
from topomae.errors import BadDataError, BadSettingError
from topomae.events import Events
from topomae.networks.factory import Task
from topomae.parallel.devices import choose_device
from topomae.parallel.distributed import is_main, together
from topomae.recipes.following import follow, settings_by, tell
from topomae.recipes.recipe import Recipe
from topomae.recipes.shelf import find_recipe
from topomae.runs.folder import Run
from topomae.training.initialization import find_start
from topomae.training.preparation import settle_plan
from topomae.training.run_cases import checked_cases, open_run_dataset
from topomae.training.segmentation import SegmentationTraining

_CLASSIFY = "Add --task classification to learn them."


def finetune(
    data: str | Path,
    run: str | Path,
    *,
    init: str | Path = "scratch",
    task: Task = "segmentation",
    classes: str | Path | None = None,
    size: str | None = None,
    device: str = "auto",
    settings: FinetuneSettings | ClassifySettings | None = None,
    plan: dict | None = None,
    modalities: Iterable[str] | None = None,
    cache: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    events: Events | None = None,
) -> Path:
    """Train a segmentation network on the labelled cases, or go on with a run that was stopped or killed.

    Args:
        data: folder of the data set.
        run: run folder; holds everything the run writes, in the end `model/`.
        init: a pre-training run, a model folder (to go on training it), or `scratch`.
        task: `segmentation`, or `classification` of whole volumes.
        classes: for classification, a CSV file with the columns case and class; None reads them from dataset.json.
        size: `small` or `base`; that of `init` by default, else that of the recipe, else `small`.
        device: `auto`, `cpu` or `cuda`.
        settings: see `FinetuneSettings`; for classification `ClassifySettings`.
        plan: fields of the plan to set by hand, see `Plan`.
        modalities: names of the image channels where the data set does not name them, e.g. ["CT"].
        cache: folder that several runs share, see `pretrain`.
        recipe: name of a recipe, or its JSON file; see `topomae.recipes`. What is given here goes before it, and so
            does the plan of `init`.
        events: told of everything that happens; silent by default.
    Returns:
        The model folder (it does not exist yet if the run was stopped before its end).
    Raises:
        TopoMAEError: bad data, settings, `init` or run folder; nothing has been trained then.
    """
    recipe = find_recipe(recipe)
    if task == "classification":
        settings_by(recipe, ClassifySettings, settings, size)
        from topomae.training.classification import finetune_classifier

        given = {"init": init, "size": size, "device": device, "settings": settings, "plan": plan}
        given |= {"modalities": modalities, "cache": cache, "events": events}
        return finetune_classifier(data, run, classes=classes, **given)
    if classes is not None:
        raise BadSettingError("a table of classes is given, but the task is segmentation", hint=_CLASSIFY)
    where = choose_device(device)
    with together(where.kind):
        start = find_start(init, settings or FinetuneSettings())
        if start is None and recipe is not None:
            size = (plan or {}).get("size") or size or recipe.size
        settings = settings_by(recipe, FinetuneSettings, settings, size if start is None else start.weights.plan.size)
        overrides = dict(plan or {})
        dataset = open_run_dataset(run, data, modalities=modalities, recipe=recipe)
        dataset = follow(recipe, dataset, size=size, overrides=overrides, labels_needed=True)
        about = {
            "data": str(Path(data).resolve()),
            "init": str(init if start is None else start.folder),
            "size": size,
            "plan": {name: str(value) for name, value in overrides.items()},
            **({"recipe": recipe.name} if recipe else {}),
            **settings.model_dump(mode="json"),
        }
        with Run.open(
            run,
            "finetune",
            about,
            events,
            changeable=("data", "init", "workers", "precision"),
            device=where.reason,
        ) as opened:
            tell(dataset, opened.events, settings)
            train, val = labelled_cases(dataset, settings)
            dataset, reports = checked_cases(opened, dataset, [*train, *val], labels_needed=True, cache=cache)
            dataset = discover_labels(dataset, reports)
            if not dataset.labels:
                raise BadDataError("the label maps are all empty", hint="Label something first.", path=dataset.folder)
            if start is not None and is_main():
                start.write_plan(opened, dataset, size, overrides)
            settled = settle_plan(opened, dataset, reports, size=size or "small", device=where, overrides=overrides)
            SegmentationTraining(opened, dataset, train, val, settled, settings, where, start).finetune()
    return Path(run).resolve() / "model"


def labelled_cases(dataset: Dataset, settings: FinetuneSettings) -> tuple[list[Case], list[Case]]:
    """The labelled training cases (the first `settings.labelled` of them) and the validation cases.

    Raises:
        BadDataError: no training case has a label.
    """
    split = split_dataset(dataset, fold=settings.fold, folds=settings.folds, seed=settings.seed)
    train = [case for name in split.train if (case := dataset.case(name)).label is not None]
    val = [case for name in split.val if (case := dataset.case(name)).label is not None]
    if not train:
        raise BadDataError(
            "no training case has a label map",
            hint="Put label maps named like their images into labelsTr, or only pre-train on these volumes.",
            path=dataset.folder,
        )
    if settings.labelled is not None:
        if settings.labelled > len(train):
            raise BadDataError(
                f"labelled={settings.labelled} asks for more than the {len(train)} labelled training cases",
                hint="Use fewer.",
                path=dataset.folder,
            )
        train = train[: settings.labelled]
    return train, val
