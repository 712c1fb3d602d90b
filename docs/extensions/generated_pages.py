"""What is put into pages while the site is built, so that it stands in one place only and cannot be out of date.

A page says `<!-- commands -->`, `<!-- functions -->`, `<!-- settings of PretrainSettings -->` or
`<!-- file SECURITY.md -->` where the text is wanted. Links to files at the top of the repository lead to the pages
that show them.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

from sphinx.application import Sphinx
from typer.models import ArgumentInfo, CommandInfo, OptionInfo, TyperInfo

import topomae
from topomae import config
from topomae.cli import app as commands

_MARK = re.compile(r"<!-- (commands|functions|settings of (\w+)|file ([\w.]+)) -->")
_PAGES = {"SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md", "README.md": "index.md"}
_LICENCE = "https://github.com/TopoMAE/SlicerTopoMAE/blob/main/LICENSE"
_ENTRY = re.compile(r"^ {4}(?=\S)", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, object]:
    """Register what is done to pages when they are read, and to docstrings before they are parsed."""
    app.connect("source-read", _fill_in)
    app.connect("autodoc-process-docstring", _escape, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    def text(mark: re.Match) -> str:
        if mark[1] in ("commands", "functions"):
            return command_reference() if mark[1] == "commands" else function_reference()
        return settings_table(getattr(config, mark[2])) if mark[2] else top_file(app.srcdir.parent / mark[3])

    up = "../" * (page.count("/") + 1)
    for name, shown in _PAGES.items():
        source[0] = source[0].replace(f"]({up}{name}", f"]({up[3:]}{shown}")
    source[0] = _MARK.sub(text, source[0])


def _escape(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """In docstrings, stars and bars stand for themselves."""
    lines[:] = [line.replace("*", "\\*").replace("|", "\\|") for line in lines]


def top_file(path: Path) -> str:
    """A file at the top of the repository as a page; its links are those of a page in docs."""
    text = path.read_text(encoding="utf-8").replace("](LICENSE)", f"]({_LICENCE})").replace("](docs/", "](")
    for name, shown in _PAGES.items():
        text = text.replace(f"]({name}", f"]({shown}")
    return text


def command_reference() -> str:
    """Every command of `topomae` with its options, as Markdown."""
    sections = [_section("topomae", command.callback, command) for command in commands.registered_commands]
    for group in commands.registered_groups:
        own = group.typer_instance.registered_callback.callback
        sections.append(_section("topomae", own, group))
        parts = group.typer_instance.registered_commands
        sections += [_section(f"topomae {group.name}", command.callback, command) for command in parts]
    return "\n".join(line for section in sections for line in section)


def _section(before: str, function: Callable, info: CommandInfo | TyperInfo) -> Iterator[str]:
    """What a command does, and a table of its options."""
    yield f"## {before} {info.name or function.__name__}\n"
    yield _fenced(inspect.cleandoc(function.__doc__)) + "\n"
    yield "| Option | Meaning |\n| --- | --- |"
    yield from _options(function)
    yield ""
    if isinstance(info.epilog, str):
        yield "Settings for `--set`: [what they mean](settings.md).\n"


def _options(function: Callable) -> Iterator[str]:
    """A row of the table for each option: its name, the kind of its value, what it is for, its default."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *about = get_args(hints[name]) or (hints[name],)
        if not about:  # what typer hands over, not the user
            continue
        info = about[0]
        required = parameter.default is inspect.Parameter.empty
        words = f"{info.help or ''}{' **Required.**' if required else _default(parameter.default)}"
        names = name.upper() if isinstance(info, ArgumentInfo) else ", ".join(_names(name, info))
        value = "" if kind is bool or isinstance(info, ArgumentInfo) else f" {info.metavar or _value(kind)}"
        yield f"| `{names}{value}` | {_cell(words)} |"


def _names(name: str, info: OptionInfo) -> list[str]:
    declared = (info.default, *(info.param_decls or ()))  # the first name stands where a default stood once
    given = [one for one in declared if isinstance(one, str) and one.startswith("-")]
    return given or [f"--{name.replace('_', '-')}"]


def _value(kind: object) -> str:
    """What the value of an option is, such as PATH, or which there are."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(one.value for one in kind)
    return {str: "TEXT", int: "NUMBER", float: "NUMBER"}.get(kind, "PATH")


def _default(value: object) -> str:
    value = getattr(value, "value", value)
    return "" if value is None or value is False else f" Default: `{value}`."


def function_reference() -> str:
    """The functions of the package, those of commands in the order of the commands."""
    order = [command.name or command.callback.__name__ for command in commands.registered_commands]
    functions = [name for name in topomae.__all__ if name[0].islower()]
    functions.sort(key=lambda name: order.index(name) if name in order else len(order))
    return "\n".join(["```{eval-rst}", *(f".. autofunction:: topomae.{name}" for name in functions), "```"])


def settings_table(kind: type[config.Settings]) -> str:
    """The settings of one class with defaults and meanings, as Markdown."""
    meanings = _documented(kind)
    rows = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for name, field in kind.model_fields.items():
        defaults = {size: values[name] for size, values in getattr(kind, "BY_SIZE", {}).items() if name in values}
        default = ", ".join(f"{size}: `{value}`" for size, value in defaults.items()) or f"`{field.default}`"
        rows.append(f"| `{name}` | {default} | {_cell(meanings[name])} |")
    return "\n".join(rows)


def _documented(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of what it derives from say of each attribute."""
    meanings: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        text = inspect.cleandoc(one.__dict__.get("__doc__") or "")
        if "Attributes:\n" in text:
            entries = _ENTRY.split(text.partition("Attributes:\n")[2])
            meanings |= {name: words for name, _, words in (entry.partition(": ") for entry in entries)}
    return meanings


def _cell(text: str) -> str:
    """Words in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _fenced(text: str) -> str:
    """Words and indented examples of a docstring, the examples as blocks of commands."""
    parts = re.split(r"\n\n(?= {4})|\n\n(?=\S)", text)
    return "\n\n".join(f"```text\n{inspect.cleandoc(one)}\n```" if one.startswith("    ") else one for one in parts)
