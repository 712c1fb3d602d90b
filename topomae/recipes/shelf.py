"""The recipes that there are, and those that users write."""

from __future__ import annotations

from pathlib import Path

from topomae.data.json_files import read_json, validated
from topomae.errors import BadSettingError
from topomae.recipes.recipe import Recipe

_FOLDER = Path(__file__).parent
_HINT = "See docs/recipes.md for what a recipe holds."


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with TopoMAE."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def find_recipe(given: str | Path | Recipe | None) -> Recipe | None:
    """The recipe of that name, or in that file; None if none is asked for.

    Args:
        given: one of `recipe_names`, or a JSON file of the same form.
    Raises:
        BadSettingError: there is no such recipe.
        BadDataError: the file is no recipe (the message names what is wrong in it).
    """
    if given is None or isinstance(given, Recipe):
        return given
    name = str(given)
    if name in recipe_names():
        path = _FOLDER / f"{name}.json"
    elif name.lower().endswith(".json"):
        path = Path(given)
        if not path.is_file():
            raise BadSettingError("there is no such file of a recipe", hint="Check the path.", path=path)
    else:
        hint = f"There are {', '.join(recipe_names())}; or give a JSON file."
        raise BadSettingError(f"there is no recipe {name!r}", hint=hint)
    return validated(Recipe, read_json(path), path, _HINT)
