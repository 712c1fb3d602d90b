"""Recipes: which there are, what one says, and arranging a downloaded data set for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from topomae.commands.options import EventsOption, EventsTo
from topomae.commands.telling import told
from topomae.console import LastingConsole
from topomae.harmless import printable

if TYPE_CHECKING:
    from topomae.recipes.recipe import Chosen, Recipe

RecipeArgument = Annotated[str, typer.Argument(help="Name of a recipe, or its JSON file.", show_default=False)]
app = typer.Typer(rich_markup_mode="markdown", context_settings={"help_option_names": ["-h", "--help"]})


@app.callback(invoke_without_command=True)
def recipes(context: typer.Context, events: EventsOption = EventsTo.auto) -> None:
    """Recipes of well-known data sets: split, voxel size, window, crop and training.

    Without a command it lists them; `--recipe NAME` of plan, pretrain, finetune and demo follows one:

        topomae recipes

        topomae recipes show synapse

        topomae recipes prepare synapse Abdomen DATA
    """
    if context.invoked_subcommand is not None:
        return
    with told(events) as to:
        if events is EventsTo.auto:
            print_recipes()
        for recipe in _all():
            counts = {side: len(getattr(recipe.split, side)) for side in ("train", "val", "test")}
            about = recipe.model_dump(mode="json", include={"name", "description", "size"})
            to.emit("recipe", **about, cases=counts, where=recipe.data.where, licence=recipe.data.licence)


@app.command()
def show(recipe: RecipeArgument, events: EventsOption = EventsTo.auto) -> None:
    """Show everything that a recipe says.

    Each number comes with its source, or with the reason for our choice:

        topomae recipes show synapse
    """
    from topomae.recipes.shelf import find_recipe

    with told(events) as to:
        found = find_recipe(recipe)
        if events is EventsTo.auto:
            _print(found)
        to.emit("recipe", **found.model_dump(mode="json"))


@app.command()
def prepare(
    recipe: RecipeArgument,
    source: Annotated[
        Path, typer.Argument(help="Folder that the downloaded archive was unpacked to.", show_default=False)
    ],
    output: Annotated[Path, typer.Argument(help="Folder to be made, for --data.", show_default=False)],
    events: EventsOption = EventsTo.auto,
) -> None:
    """Arrange the files of a downloaded data set for all other commands, with the recipe's split.

    Files are linked where the disk allows that, else copied; the source stays as it is.

        topomae recipes prepare synapse Abdomen DATA
    """
    from topomae.recipes.arranging import arrange
    from topomae.recipes.shelf import find_recipe

    with told(events) as to:
        found = find_recipe(recipe)
        arrange(found, source, output, events=to)
        message = f"{len(found.split.cases)} cases in {output}; next: topomae plan --data {output} --recipe {recipe}"
        to.emit("note", message=message)


def print_recipes() -> None:
    """Print a table of the recipes."""
    table = Table(title="Recipes, for --recipe")
    for heading in ("name", "what", "train / val / test", "voxel size in mm", "crop in voxels"):
        wraps = heading in ("what", "train / val / test")
        table.add_column(heading, no_wrap=not wraps, overflow="fold")
    for recipe in _all():
        counts = " / ".join(str(len(getattr(recipe.split, side))) for side in ("train", "val", "test"))
        sizes = (_plain(recipe.plan[name].value) for name in ("spacing", "crop_size"))
        table.add_row(recipe.name, recipe.description, counts, *sizes)
    LastingConsole(highlight=False).print(table)


def _all() -> Iterator[Recipe]:
    from topomae.recipes.shelf import find_recipe, recipe_names

    return (find_recipe(name) for name in recipe_names())


def _print(recipe: Recipe) -> None:
    data, split = recipe.data, recipe.split
    lines = [
        (recipe.name, recipe.description),
        ("data", data.title),
        ("where", data.where),
        ("licence", data.licence),
        ("cite", data.cite),
        ("modalities", ", ".join(data.modalities)),
        ("labels", ", ".join(f"{value} {name}" for value, name in data.labels.items())),
        ("scored", ", ".join(recipe.evaluated.values())),
        ("split", f"{len(split.train)} train, {len(split.val)} validate, {len(split.test)} test. {split.source}"),
        ("orientation", recipe.orientation),
        ("network size", recipe.size),
        *(_line(name, chosen) for name, chosen in recipe.plan.items()),
        *(_line(f"pre-training: {name}", chosen) for name, chosen in recipe.pretrain.items()),
        *(_line(f"fine-tuning: {name}", chosen) for name, chosen in recipe.finetune.items()),
        ("scoring", recipe.scoring),
    ]
    console = LastingConsole(highlight=False)
    for name, text in lines:
        console.print(Text(printable(f"{name.replace('_', ' ')}: {text}")), soft_wrap=True)


def _line(name: str, chosen: Chosen) -> tuple[str, str]:
    return name, f"{_plain(chosen.value)} ({chosen.reason})"


def _plain(value: object) -> str:
    """A value of a recipe in a few characters."""
    if isinstance(value, (list, tuple)):
        numbers = all(isinstance(one, (int, float)) for one in value)
        return ("×" if numbers else ", ").join(map(_plain, value))
    if isinstance(value, dict):
        return " ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
