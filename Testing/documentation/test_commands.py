"""Every command in the documents is one that the program understands, with its options and settings."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main
from documents import REPOSITORY, blocks, documents

import topomae
from topomae import config
from topomae.cli import app
from topomae.commands.assignments import settings_and_plan_fields

COMMANDS = typer.main.get_command(app).commands
SETTINGS = {
    "plan": config.PretrainSettings,
    "pretrain": config.PretrainSettings,
    "finetune": config.FinetuneSettings,
    "classification": config.ClassifySettings,
    "segment": config.SegmentSettings,
    "evaluate": config.EvaluateSettings,
}
_PROGRAM = re.compile(r"^(?:\S*=\S+ )*(?:python3? (?:dev\.py |-m )|py dev\.py )?topomae (?=\w)(.*)$")


def commands_in(document):
    """Words of every command line in a block, that is ours, without the first word."""
    for code in blocks(document, "", "sh", "bash", "console"):
        for line in code.replace("\\\n", " ").splitlines():
            found = _PROGRAM.match(line.partition("#")[0].strip().removeprefix("$ "))
            if found:
                yield shlex.split(found[1])


def understood(words):
    """Whether the program takes these words; fails with its reason otherwise."""
    name, *options = words
    assert name in COMMANDS, f"there is no command {name}"
    command = COMMANDS[name]
    if options and options[0] in getattr(command, "commands", {}):  # such as: topomae recipes show
        command, options = command.commands[options[0]], options[1:]
    try:
        given = command.make_context(name, list(options)).params
    except Exception as problem:
        pytest.fail(f"topomae {shlex.join(words)}: {getattr(problem, 'message', problem)}")
    task = getattr(given.get("task"), "value", given.get("task"))
    kind = SETTINGS.get("classification" if task == "classification" else name)
    if given.get("assignments"):
        settings_and_plan_fields(kind, given["assignments"], seed=0)


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_commands_are_understood(document):
    for words in commands_in(document):
        understood(words)


def test_commands_are_found():
    found = [words[0] for document in documents() for words in commands_in(document)]
    assert len(found) > 60
    assert set(found) >= {"plan", "pretrain", "finetune", "segment", "classify", "evaluate", "report", "reproduce"}


def test_a_wrong_command_would_be_noticed():
    for wrong in (["train"], ["plan"], ["plan", "--data", "x", "--fast"]):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            understood(wrong)
    with pytest.raises(topomae.TopoMAEError):
        understood(["pretrain", "--data", "x", "--run", "y", "--set", "speed=2"])
