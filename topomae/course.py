"""The whole course in one call: plan, pre-train, fine-tune, segment, evaluate, report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import open_dataset
from topomae.data.phantoms import PHANTOM_SHAPE, make_phantoms
from topomae.data.splits import split_dataset
from topomae.evaluation.segmentation import Evaluation, evaluate
from topomae.events import Events
from topomae.inference.segmentation import segment
from topomae.recipes.following import follow
from topomae.recipes.recipe import Recipe
from topomae.recipes.shelf import find_recipe
from topomae.reporting.report import write_report
from topomae.runs.folder import finished
from topomae.training.finetuning import finetune
from topomae.training.pretraining import pretrain

PHANTOM_STEPS = {"pretrain": 50, "finetune": 280}  # about five minutes together on two CPU cores


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves behind.

    Attributes:
        model: folder of the model. predictions: folder of the label maps of the held-out cases.
        evaluation: their scores. report: the HTML page.
    """

    model: Path
    predictions: Path
    evaluation: Evaluation
    report: Path


def demo(
    output: str | Path,
    *,
    data: str | Path | None = None,
    size: str | None = None,
    device: str = "auto",
    pretrain_steps: int | None = None,
    finetune_steps: int | None = None,
    modalities: Iterable[str] | None = None,
    recipe: str | Path | Recipe | None = None,
    seed: int = 0,
    events: Events | None = None,
) -> DemoResult | None:
    """Run the whole course on a data set, or on phantoms made for the purpose.

    What an earlier, interrupted call has finished is not done again.

    Args:
        output: folder for everything: `phantoms/`, `pretrain/`, `finetune/`, `predictions/`, `evaluation/`,
            `report.html`.
        data: folder of the data set; phantoms if None.
        size: `small` or `base`; that of the recipe by default, else `small`. device: `auto`, `cpu` or `cuda`.
        pretrain_steps: optimizer steps; None takes those of the phantoms, or the default of the size.
        finetune_steps: the same for fine-tuning.
        modalities: names of the image channels where the data set does not name them.
        recipe: name of a recipe for the data set, or its JSON file; see `topomae.recipes`.
        seed: of everything random.
        events: told of everything that happens.
    Returns:
        The result; None if it was stopped on the way.
    Raises:
        TopoMAEError: something is wrong with the data, the settings or a folder.
    """
    events = events or Events()
    output = Path(output)
    phantoms = data is None
    if phantoms:
        events.emit("note", message=f"phantom volumes: {output / 'phantoms'}")
        data = make_phantoms(output / "phantoms", seed=seed, shape=PHANTOM_SHAPE)
    runs = {"pretrain": output / "pretrain", "finetune": output / "finetune"}
    wanted = {"pretrain": pretrain_steps, "finetune": finetune_steps}
    own = {name: {"steps": count} for name, count in PHANTOM_STEPS.items()} if phantoms else {}
    own |= {name: {"steps": count} for name, count in wanted.items() if count}  # else recipe or size decide
    recipe = find_recipe(recipe)
    common = {"device": device, "modalities": modalities, "recipe": recipe, "events": events}
    if not finished(runs["pretrain"]):
        settings = PretrainSettings(seed=seed, **own.get("pretrain", {}))
        pretrain(data, runs["pretrain"], size=size, settings=settings, **common)
        if not finished(runs["pretrain"]):
            return None
    if not finished(runs["finetune"]):
        settings = FinetuneSettings(seed=seed, **own.get("finetune", {}))
        finetune(data, runs["finetune"], init=runs["pretrain"], settings=settings, **common)
        if not finished(runs["finetune"]):
            return None

    dataset = follow(recipe, open_dataset(data, modalities=modalities))
    predictions = output / "predictions"
    segment(runs["finetune"], held_out(dataset, seed), predictions, device=device, events=events)
    scored = recipe.evaluated if recipe else None
    evaluation = evaluate(predictions, data, output / "evaluation", label_names=scored, events=events)
    report = write_report(
        output,
        title=f"TopoMAE demo: {dataset.name}",
        pretrain=runs["pretrain"],
        finetune=runs["finetune"],
        evaluation=evaluation,
    )
    return DemoResult(runs["finetune"] / "model", predictions, evaluation, report)


def held_out(dataset: Dataset, seed: int) -> list[Case]:
    """The labelled test cases, or the validation cases where there are none."""
    split = split_dataset(dataset, seed=seed)
    cases = [dataset.case(name) for name in (split.test or split.val)]
    return [case for case in cases if case.label is not None]
