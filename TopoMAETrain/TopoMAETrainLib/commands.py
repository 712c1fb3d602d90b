"""The command lines of trainings: made from what the user chose, or from what a run folder remembers."""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Mapping, Sequence

from slicer.i18n import tr as _

from TopoMAELib.run_folder import RunFolder
from TopoMAELib.run_records import KINDS

_FLAGS = ("--leave-out-bad",)
_OPTIONS = ("--data", "--size", "--device", "--init", "--modality", "--set", "--seed")


def pretrainCommand(
    dataFolder: str,
    settings: Mapping[str, object] | None = None,
    *,
    size: str = "small",
    device: str = "auto",
    modalityNames: Sequence[str] = (),
    planOverrides: Mapping[str, str] | None = None,
    leaveOutBad: bool = False,
) -> list[str]:
    """Kind and arguments of a pre-training.

    Args:
        dataFolder: folder of the data set.
        settings: settings of the engine by name, such as `{"steps": 500}`; None and lists are allowed.
        size: `small` or `base`. device: `auto`, `cpu` or `cuda`.
        modalityNames: names of the image channels, where the data set does not name them.
        planOverrides: fields of the plan set by hand.
        leaveOutBad: go on without images that cannot be read.
    """
    command = ["pretrain", "--data", os.path.abspath(dataFolder), "--size", size, "--device", device]
    return [
        *command,
        *(["--leave-out-bad"] if leaveOutBad else []),
        *_more(settings, modalityNames, planOverrides),
    ]


def finetuneCommand(
    dataFolder: str,
    init: str = "scratch",
    settings: Mapping[str, object] | None = None,
    *,
    size: str = "",
    device: str = "auto",
    modalityNames: Sequence[str] = (),
    planOverrides: Mapping[str, str] | None = None,
) -> list[str]:
    """Kind and arguments of a fine-tuning.

    Args:
        dataFolder: folder of the data set.
        init: run folder of a pre-training, model folder, or `scratch`.
        settings, device, modalityNames, planOverrides: see `pretrainCommand`.
        size: that of `init` if empty.
    """
    start = init if init == "scratch" else os.path.abspath(init)
    command = ["finetune", "--data", os.path.abspath(dataFolder), "--init", start, "--device", device]
    return [*command, *(["--size", size] if size else []), *_more(settings, modalityNames, planOverrides)]


def resumeCommand(run: RunFolder) -> list[str]:
    """The command that goes on with a run: that of its last start from Slicer, or one made from its settings.

    Only options of trainings are taken from the folder, and the run folder is never one of them.

    Raises:
        ValueError: the folder does not say how the run was begun.
    """
    launch = run.launch
    if launch is not None and launch.kind in KINDS and _areOfTraining(launch.arguments):
        return [launch.kind, *launch.arguments]
    settings = dict(run.settings)
    if not run.kind or not settings.get("data"):
        raise ValueError(_("{path} does not say how the run was begun.").format(path=run.path))
    command = [run.kind, "--data", str(settings.pop("data"))]
    if run.kind == "finetune":
        command += ["--init", str(settings.pop("init", "scratch"))]
    size = settings.pop("size", None)
    command += ["--size", str(size)] if size else []
    plan = settings.pop("plan", None)
    ofPlan = {name: _asTyped(text) for name, text in plan.items()} if isinstance(plan, dict) else {}
    given = {name: value for name, value in settings.items() if value is not None}
    return [*command, *_more(given, (), ofPlan)]


def parseSettings(text: str) -> dict[str, str]:
    """Settings as a user types them: `learning_rate=0.001 topology_dims=0,2`.

    Raises:
        ValueError: something is not of the form name=value.
    """
    settings = {}
    for word in shlex.split(text, posix=True):
        name, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(_("“{word}” is not a setting. Write settings as name=value.").format(word=word))
        settings[name] = value
    return settings


def _areOfTraining(arguments: Sequence[str]) -> bool:
    """Whether arguments found in a run folder are those that trainings are started with from here.

    The folder may come from elsewhere: another option, such as a second `--run`, could have any folder written to.
    """
    waiting = iter(arguments)
    return all(one in _FLAGS or (one in _OPTIONS and next(waiting, None) is not None) for one in waiting)


def _more(
    settings: Mapping[str, object] | None, modalityNames: Sequence[str], planOverrides: Mapping[str, str] | None
) -> list[str]:
    more = [part for name in modalityNames for part in ("--modality", name)]
    for name, value in {**(planOverrides or {}), **(settings or {})}.items():
        more += ["--set", f"{name}={_asText(value)}"]
    return more


def _asText(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ",".join(str(part) for part in value)
    return str(value)


def _asTyped(text: str) -> str:
    """A field of the plan as given to `--set`; `settings.json` holds lists as Python writes them."""
    try:
        value = ast.literal_eval(text) if text.startswith(("[", "(")) else text
    except (ValueError, SyntaxError):
        return text
    return _asText(value)
