"""The image that a model is to look at, of one file per modality."""

from __future__ import annotations

from collections.abc import Sequence

from topomae.data.plan import Plan
from topomae.data.volume import Volume
from topomae.inference.modalities import check_missing, check_modalities, join_modalities
from topomae.worker.arrays import read_image
from topomae.worker.requests import VolumeFile
from topomae.worker.tasks import Task


def read_modalities(files: Sequence[VolumeFile | None], plan: Plan, task: Task, *, may_lack: bool = False) -> Volume:
    """Read the modalities of a model, and join them.

    Args:
        files: one per modality of the model, in its order; None where it is missing.
        plan: of the model.
        task: told of what the user should know.
        may_lack: whether the model was trained to do without some.
    Returns:
        Volume with a finite float32 array (C, I, J, K) on the grid of the first file there is.
    Raises:
        BadDataError: they are not as many as the model's modalities, one that the model needs is missing, they
            lie on different grids, or one of them cannot be used.
        Cancelled: see there.
    """
    check_modalities(len(files), plan)
    check_missing([file is not None for file in files], plan, trained=may_lack)
    volumes = []
    for file, name in zip(files, plan.modalities, strict=True):
        task.check()
        volumes.append(None if file is None else read_image(file, name, task.warning))
    problems: list[str] = []
    image = join_modalities(volumes, plan, problems)
    for problem in problems:
        task.warning(problem)
    return image
