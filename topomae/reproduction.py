"""Training a network again from its own record, to see whether the same comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from topomae.classification.labels import volume_classes
from topomae.classification.splitting import split_classes
from topomae.config import ClassifySettings, FinetuneSettings, PretrainSettings, settings_from
from topomae.data.cases import Case, Dataset
from topomae.data.checks import check_case
from topomae.data.dataset import open_dataset
from topomae.data.fingerprint import content_fingerprint
from topomae.data.json_files import read_json
from topomae.data.plan import Plan
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import Events
from topomae.files import write_json_atomic
from topomae.models.folder import load_model
from topomae.models.pretrained import load_pretrained
from topomae.networks.factory import NetworkSpec
from topomae.parallel.devices import choose_device
from topomae.recipes.following import follow
from topomae.runs.folder import finished
from topomae.runs.provenance import Provenance, read_provenance
from topomae.training.classification import classes_digest, finetune_classifier
from topomae.training.finetuning import finetune, labelled_cases
from topomae.training.pretraining import pretrain, unlabelled_cases
from topomae.versions import code_state, machine, versions

_WEIGHTS = ("pretrained.safetensors", "models/model.safetensors")


@dataclass(frozen=True)
class Reproduction:
    """How a network that was trained again compares with the first one.

    Attributes:
        folder: of the network that was trained again.
        identical: whether all weights are equal to the bit.
        difference: length of the difference of all weights relative to the length of the first ones.
        largest: difference of any one weight.
        metrics: name to the value of the first network and of this one, where both were validated.
        environment: sentences on what is not as it was: versions, code, machine.
    """

    folder: Path
    identical: bool
    difference: float
    largest: float
    metrics: dict[str, tuple[float, float]]
    environment: tuple[str, ...]


def reproduce(
    model: str | Path,
    output: str | Path,
    *,
    data: str | Path | None = None,
    pretraining_data: str | Path | None = None,
    classes: str | Path | None = None,
    device: str | None = None,
    events: Events | None = None,
) -> Reproduction:
    """Train a network again as its record says, with the trainings it started from, and compare the weights.

    With the same versions on the same kind of CPU all weights are equal to the bit. May be started again after
    a stop.

    Args:
        model: a finished run, or a model folder.
        output: folder for the trainings, one run folder each, and `reproduction.json`.
        data: folder of the data set; by default the one that the run in `model` used.
        pretraining_data: folder of the data set of the trainings before, if it was another one.
        classes: CSV file with the class of each case, if a classification used one.
        device: `cpu` or `cuda`; by default the one of the record.
        events: told of everything that happens.
    Raises:
        BadSettingError: it began with weights of another program.
        BadDataError: the network has no record, or the data are not those it was trained on (naming a case).
        RunError: a training was stopped before its end.
    """
    model, output = Path(model), Path(output)
    events = events or Events()
    record = read_provenance(model)
    stages = record.stages()
    if any(stage.imported for stage in stages):
        raise BadSettingError(
            "the pre-training began with a file of weights of another program, which the record does not hold",
            hint="Train again by hand: topomae pretrain --init with that file, then topomae finetune.",
            path=model,
        )
    sources = [Path(pretraining_data or data or _data_of(model))] * (len(stages) - 1)
    sources.append(Path(data) if data is not None else _data_of(model))
    _check_network(record, model)
    environment = _changes(record, device)
    for change in environment:
        events.warning(f"not as in the first training: {change}")
    for stage, source in zip(stages, sources, strict=True):
        _check_data(stage, source, classes)
    before: Path | None = None
    for number, (stage, source) in enumerate(zip(stages, sources, strict=True), start=1):
        before = _train_again(stage, source, output / f"{number}-{stage.kind}", before, classes, device, events)
    found = _compare(model, before, environment)
    write_json_atomic(
        output / "reproduction.json",
        {
            "identical": found.identical,
            "difference": found.difference,
            "largest": found.largest,
            "metrics": {name: list(values) for name, values in found.metrics.items()},
            "environment": list(environment),
        },
    )
    return found


def _check_network(record: Provenance, model: Path) -> None:
    """Refuse a network that this version would build otherwise, before anything is trained.

    Raises:
        RunError: saying with which version it could be.
    """
    spec = (load_pretrained(model) if record.kind == "pretrain" else load_model(model, task=None)).spec
    if spec.architecture not in ("fused", "unetrpp"):
        return
    if spec.unetrpp_size != NetworkSpec.of(Plan.check(record.plan)).unetrpp_size:
        revision = (record.code.get("git_revision") or "").rstrip("+")
        raise RunError(
            "it was trained by an earlier version of TopoMAE, whose networks were built otherwise",
            hint="Reproduce it with that version" + (f": git checkout {revision}." if revision else "."),
            path=model,
        )


def _train_again(
    record: Provenance,
    data: Path,
    run: Path,
    init: Path | None,
    classes: str | Path | None,
    device: str | None,
    events: Events,
) -> Path:
    """Repeat one training, unless an earlier start of this command has; returns its run folder."""
    if finished(run):
        return run
    plan = Plan.check(record.plan)
    if not (run / "plan.json").exists():
        plan.save(run / "plan.json")
    common: dict[str, Any] = {
        "size": plan.size,
        "device": device or record.device,
        "modalities": record.data.modalities,
        "settings": _settings(record),
        "events": events,
    }
    if record.recipe is not None:
        common["recipe"] = record.recipe
    with _threads(record.machine.get("threads")):
        if record.kind == "pretrain":
            pretrain(data, run, leave_out_bad=True, **common)
        elif record.kind == "finetune":
            finetune(data, run, init=init or "scratch", **common)
        else:
            finetune_classifier(data, run, init=init or "scratch", classes=classes, **common)
    if not finished(run):
        raise RunError("stopped before its end", hint="Start the same command again to go on.", path=run)
    return run


def _settings(record: Provenance) -> PretrainSettings | FinetuneSettings | ClassifySettings:
    """The settings of a training.

    Raises:
        BadSettingError: they are not those of this version.
    """
    kinds = {"pretrain": PretrainSettings, "finetune": FinetuneSettings, "classification": ClassifySettings}
    return settings_from(kinds[record.kind], **record.settings)


def _check_data(record: Provenance, folder: Path, classes: str | Path | None) -> None:
    """Refuse data that are not those of the record, before anything is trained.

    Raises:
        BadDataError: naming the first case that is missing, new or changed.
    """
    dataset = open_dataset(folder, modalities=record.data.modalities)
    dataset = follow(record.recipe, dataset, labels_needed=record.kind == "finetune")
    cases = {case.name: case for case in _used_cases(record, dataset, classes)}
    hint = "Give the data set that it was trained on: --data, and --pretraining-data if that was another."
    for name in sorted(record.data.cases.keys() - cases.keys()):
        raise BadDataError("it was trained on this case, which is missing now", hint=hint, case=name, path=folder)
    for name in sorted(cases.keys() - record.data.cases.keys()):
        if check_case(dataset, cases[name], labels_needed=False).ok:  # a bad one had been left out
            raise BadDataError("it was not trained on this case", hint=hint, case=name, path=folder)
    known = [cases[name] for name in record.data.cases]
    now = content_fingerprint(dataset, known, with_labels=record.kind == "finetune")
    for name, content in record.data.cases.items():
        if now["cases"][name] != content.model_dump(mode="json"):
            raise BadDataError("its files have changed since the training", hint=hint, case=name, path=folder)


def _used_cases(record: Provenance, dataset: Dataset, table: str | Path | None) -> list[Case]:
    """The cases that a training with the settings of the record uses."""
    settings = _settings(record)
    if record.kind == "pretrain":
        return unlabelled_cases(dataset, settings)
    if record.kind == "finetune":
        train, val = labelled_cases(dataset, settings)
        return [*train, *val]
    classes = volume_classes(dataset, table)
    if classes_digest(classes) != record.classes:
        hint = "Give the table that it was trained with: --classes."
        raise BadDataError("the classes of the cases are not those of the training", hint=hint, path=dataset.folder)
    train, val = split_classes(dataset, classes, settings)
    return [*train, *val]


def _data_of(model: Path) -> Path:
    """The data set that the run in a folder was begun with.

    Raises:
        BadSettingError: the folder is no run folder.
    """
    for folder in (model, model.parent):
        if (folder / "settings.json").is_file():
            used = read_json(folder / "settings.json").get("settings", {}).get("data")
            if isinstance(used, str):
                return Path(used)
    raise BadSettingError("which data it was trained on is not known from this folder", hint="Give --data.")


def _changes(record: Provenance, device: str | None) -> tuple[str, ...]:
    """What decides the bits besides data and settings, and is not as it was."""
    now: dict[str, Any] = {**versions(), "code": code_state()["sha256"], **machine()}
    now["device"] = choose_device(device or record.device).kind
    then: dict[str, Any] = {**record.versions, "code": record.code.get("sha256"), **record.machine}
    then["device"] = record.device
    now.pop("threads"), then.pop("threads", None)  # these are set as they were
    changes = []
    for name, value in now.items():
        if value != then.get(name):
            told = "the code of TopoMAE" if name == "code" else f"{name} {value} (then {then.get(name)})"
            changes.append(told.replace("_", " "))
    if record.processes > 1:
        changes.append(f"one process (then {record.processes})")
    return tuple(changes)


def _compare(first: Path, second: Path, environment: tuple[str, ...]) -> Reproduction:
    old, new = (_weights(folder) for folder in (first, second))
    if old.keys() != new.keys() or any(old[name].shape != new[name].shape for name in old):
        raise RunError("another network came out", hint="It was trained by other code.", path=second)
    identical = all(torch.equal(old[name], new[name]) for name in old)
    pairs = [(old[name].double(), new[name].double()) for name in old if old[name].numel()]
    squares = sum(float((a - b).square().sum()) for a, b in pairs)
    length = sum(float(a.square().sum()) for a, _ in pairs)
    now = _metrics(second)
    metrics = {name: (value, now[name]) for name, value in _metrics(first).items() if name in now}
    return Reproduction(
        folder=second,
        identical=identical,
        difference=(squares / length) ** 0.5 if length else 0.0,
        largest=max((float((a - b).abs().max()) for a, b in pairs), default=0.0),
        metrics=metrics,
        environment=environment,
    )


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(path for path in _inside(folder, *_WEIGHTS)))


def _metrics(folder: Path) -> dict[str, float]:
    """How good a network is, by name; nothing where it was not validated."""
    for path in _inside(folder, "configs/metadata.json"):
        found = read_json(path).get("eval_metrics", {})
        return {name: value for name, value in found.items() if name != "step" and isinstance(value, (int, float))}
    return {}


def _inside(folder: Path, *names: str) -> Iterator[Path]:
    """The files of these names that a model folder, or the model of a run, has."""
    places = (place / name for place in (folder, folder / "model") for name in names)
    return (path for path in places if path.is_file())


@contextmanager
def _threads(count: object) -> Iterator[None]:
    """Compute with as many threads as then: how sums are split among them decides their last bits."""
    before = torch.get_num_threads()
    if isinstance(count, int) and 1 <= count <= 1024:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
