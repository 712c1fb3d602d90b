"""Trouble inside the training itself: no numbers, no memory; and data files that vanish or change meanwhile."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import children
import injections
import nibabel as nib
import numpy as np
import torch
from comparison import difference
from records import Fault
from world import World

from topomae.runs.checkpoints import Checkpoints

_TRAININGS = ("pretrain", "finetune")


def no_numbers(world: World) -> Iterator[Fault]:
    """Losses that are not numbers: the step is left out and told; if that goes on, the last checkpoint is good."""
    for kind in _TRAININGS[: 1 if world.quick else None]:
        for name, steps in {"loss": (4, 5, 9), "gradient": (7, 8)}.items():
            inject = _spoiled(name, steps)
            expected, target = world.fresh("run"), world.fresh("run")
            alone = world.run(kind, expected, [inject])
            fault = Fault(f"{name} is not a number", kind, f"in {len(steps)} steps; SIGKILL after step 9")
            told = {event["message"] for event in alone.told("warning") if "left out" in event["message"]}
            if len(told) != len(steps):
                fault.unclear = f"{len(told)} of {len(steps)} steps were told to be left out"
            world.run(kind, target, [inject, injections.at_event(injections.saved(9), injections.killed())])
            again = world.run(kind, target, [inject])
            fault.lost = _failure(alone) or _failure(again) or _not_finite(target)
            fault.different = difference(kind, expected, target)
            yield fault
        target = world.fresh("run")
        stopped = world.run(kind, target, [_spoiled("loss", range(1, 11))])
        fault = Fault("every loss from some step on is not a number", kind, "from step 2 on")
        fault.unclear = stopped.complaint("in a row", "The last checkpoint is good")
        ended, problem = world.finish(kind, target)  # whatever it was, it is over
        fault.lost = _not_finite(target) or (problem if ended.code else "")
        yield fault


def no_memory(world: World) -> Iterator[Fault]:
    """The memory of a GPU does not suffice: once, the work is done in smaller parts; again, a clear error."""
    for kind in _TRAININGS[: 1 if world.quick else None]:
        target = world.fresh("run")
        goes_on = world.run(kind, target, [_out_of_memory_in_step(5, times=1)])
        fault = Fault("out of memory on the GPU, once", kind, "in step 6 (simulated)", lost=_failure(goes_on))
        warned = [event for event in goes_on.told("warning") if "memory" in event["message"]]
        fault.unclear = "" if len(warned) == 1 or goes_on.code else f"told {len(warned)} times"
        fault.lost = fault.lost or _not_finite(target)
        yield fault
        target = world.fresh("run")
        refused = world.run(kind, target, [_out_of_memory_in_step(5, times=99)])
        fault = Fault("out of memory on the GPU, always", kind, "from step 6 on (simulated)")
        fault.unclear = refused.complaint("memory", "batch_size", "crop_size")
        ended, problem = world.finish(kind, target)
        fault.lost, fault.different = (problem, "") if ended.code else ("", problem)
        yield fault
    for name, times in {"once": 1, "always": 99}.items():
        target = world.fresh("result")
        windows = ["--set", "batch=2"]  # more than one, as on a GPU: there is something to be made smaller
        ended = children.run([*world.command("segment", target), *windows], [_out_of_memory_in_segmentation(times)])
        fault = Fault(f"out of memory on the GPU, {name}", "segment", "(simulated)")
        if times == 1:
            fault.lost = _failure(ended)
            warned = [event for event in ended.told("warning") if "memory" in event["message"]]
            fault.unclear = "" if warned or ended.code else "it was not told"
            fault.different = world.verdict("segment", target)
        else:
            fault.unclear = ended.complaint("could not be segmented")
            told = ended.told("error")
            if not told or "not enough memory" not in told[0]["message"]:
                fault.unclear = fault.unclear or "the reason was not told"
            fault.different = world.finish("segment", target)[1]
        yield fault


def data_that_vanish_or_change(world: World) -> Iterator[Fault]:
    """Files of the data set that are removed, changed, copied or touched while a run runs or rests."""
    for kind in _TRAININGS[: 1 if world.quick else None]:
        folders = ("imagesTr", "labelsTr") if kind == "finetune" else ("imagesTr",)
        for folder in folders:
            for name, harm in {"vanishes": _remove, "changes": _change}.items():
                data, file = _own_data(world, folder)
                target = world.fresh("run")
                act = injections.at_event(injections.saved(6), lambda harm=harm, file=file: harm(file))
                ended = children.run(_on(world, kind, target, data), [act])
                fault = Fault(f"a data file {name} while training", kind, f"{folder}, after step 6", _failure(ended))
                fault.different = world.verdict(kind, target) if not fault.lost else ""
                yield fault
            yield from _while_it_rests(world, kind, folder)
        data, file = _own_data(world, "imagesTr")
        target = world.fresh("run")
        vanish = injections.at_event(injections.phase("preprocess"), lambda file=file: _remove(file))
        refused = children.run(_on(world, kind, target, data), [vanish])
        fault = Fault("a data file vanishes before it was preprocessed", kind, "imagesTr")
        fault.unclear = refused.complaint() or _names_case(refused, file)
        shutil.copytree(world.data, data, dirs_exist_ok=True, copy_function=shutil.copyfile)
        yield _judged(fault, world, kind, target, children.run(_on(world, kind, target, data)))


def _while_it_rests(world: World, kind: str, folder: str) -> Iterator[Fault]:
    """A run is killed at step 6; the data are another before it goes on."""
    for name, harm in {"vanished": _remove, "was touched": _touch, "was copied": _copy, "changed": _change}.items():
        data, file = _own_data(world, folder)
        original = file.read_bytes()
        target = world.fresh("run")
        kill = injections.at_event(injections.saved(6), injections.killed())
        children.run(_on(world, kind, target, data), [kill])
        harm(file)
        ended = children.run(_on(world, kind, target, data))
        fault = Fault(f"a data file {name} while the run rested", kind, folder)
        if name == "changed":
            fault.unclear = ended.complaint() or _names_case(ended, file)
            file.write_bytes(original)
            ended = children.run(_on(world, kind, target, data))
        elif name == "vanished" and not ended.code:
            warned = any(_case_of(file) in json.dumps(event) for event in ended.told("warning"))
            fault.unclear = "" if warned else "it was not told"
        yield _judged(fault, world, kind, target, ended)


def _judged(fault: Fault, world: World, kind: str, target: Path, ended: children.Ended) -> Fault:
    fault.lost = _failure(ended)
    fault.different = "" if fault.lost else world.verdict(kind, target)
    return fault


def _on(world: World, kind: str, target: Path, data: Path) -> list[str]:
    return [str(data) if part == str(world.data) else part for part in world.command(kind, target)]


def _own_data(world: World, folder: str) -> tuple[Path, Path]:
    """A copy of the data set, and a file in it that every training uses."""
    world.reference("pretrain")
    data = shutil.copytree(world.data, world.fresh("data"))
    trained = json.loads((data / "splits.json").read_text(encoding="utf-8"))["train"]
    name = next(name for name in trained if (data / "labelsTr" / f"{name}.nii.gz").exists())
    return data, data / folder / f"{name}.nii.gz"


def _remove(file: Path) -> None:
    file.unlink()


def _touch(file: Path) -> None:
    os.utime(file, (1e9, 1e9))


def _copy(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)


def _change(file: Path) -> None:
    image = nib.load(file)
    array = np.asarray(image.dataobj).copy()
    array[tuple(n // 2 for n in array.shape)] += 1
    content = nib.Nifti1Image(array, image.affine, image.header)
    changed = file.with_name("changed.nii.gz")
    nib.save(content, changed)
    os.replace(changed, file)


def _case_of(file: Path) -> str:
    return file.name.partition(".")[0]


def _names_case(ended: children.Ended, file: Path) -> str:
    named = any(_case_of(file) in f"{event['case']} {event['message']}" for event in ended.told("error"))
    return "" if named else f"the case is not named: {ended.sentence}"


def _spoiled(what: str, steps: Any) -> children.Injection:
    """Make loss or gradient of some steps (from 0) not a number."""

    def inject() -> None:
        from topomae.training.pretraining import Pretraining
        from topomae.training.segmentation import SegmentationTraining

        for kind in (Pretraining, SegmentationTraining):

            def spoiled(self, batch, step, loss=kind.loss):
                total, values = loss(self, batch, step)
                if step not in steps:
                    return total, values
                if what == "loss":
                    return total * float("nan"), values
                total.register_hook(lambda gradient: gradient * float("nan"))
                return total, values

            kind.loss = spoiled

    return inject


def _out_of_memory_in_step(step: int, times: int) -> children.Injection:
    """Let the memory not suffice from a step (from 0) on, so many times."""

    def inject() -> None:
        from topomae.training.pretraining import Pretraining
        from topomae.training.segmentation import SegmentationTraining

        count = 0
        for kind in (Pretraining, SegmentationTraining):

            def failing(self, batch, at, loss=kind.loss):
                nonlocal count
                if at >= step and count < times:
                    count += 1
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return loss(self, batch, at)

            kind.loss = failing

    return inject


def _out_of_memory_in_segmentation(times: int) -> children.Injection:
    def inject() -> None:
        from topomae.inference.segmentation import Segmenter

        compute, left = Segmenter._compute, [times]

        def failing(self, *arguments: Any, **options: Any) -> Any:
            if left[0] > 0:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory")
            return compute(self, *arguments, **options)

        Segmenter._compute = failing

    return inject


def _not_finite(target: Path) -> str:
    """Weights in the last checkpoint that are no numbers."""
    found = Checkpoints(target / "checkpoints").load("last", print)
    if found is None:
        return "there is no checkpoint"
    bad = [name for name, weight in found[0]["network"].items() if not bool(torch.isfinite(weight.float()).all())]
    return f"{bad[0]} is not finite" if bad else ""


def _failure(ended: children.Ended) -> str:
    return "" if ended.code == 0 else f"exit code {ended.code}: {ended.sentence} {ended.errors[-400:]}"
