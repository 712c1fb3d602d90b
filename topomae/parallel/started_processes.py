"""Which of several processes this one is, as whoever started it says in the environment: torchrun, SLURM, we."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from topomae.errors import BadSettingError


@dataclass(frozen=True)
class Processes:
    """Which of the processes this one is.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
        local_rank: number of this process on its machine.
        local_world: number of processes on its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def started_processes() -> Processes:
    """What the environment says; a single process where it says nothing.

    Looked at are torchrun's variables, else those of a step that srun started.

    Raises:
        BadSettingError: it contradicts itself.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if "RANK" not in os.environ and in_slurm_step():
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
    elif not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return Processes()
    rank, world, local_rank, local_world = names
    try:
        number, count = int(os.environ[rank]), int(os.environ[world])
        here, beside = int(os.environ.get(local_rank, number)), os.environ.get(local_world, str(count))
        found = Processes(number, count, here, int(beside.partition("(")[0]))  # SLURM: 4(x2) on each of 2 machines
    except ValueError:
        raise _contradiction(names) from None
    if not (0 <= found.rank < found.world and 0 <= found.local_rank < found.local_world <= found.world):
        raise _contradiction(names)
    if found.world % found.local_world:
        raise BadSettingError(
            f"{found.world} processes, {found.local_world} of them on one machine, are not alike on all machines",
            hint="Start the same number of processes on each machine.",
        )
    return found


def _contradiction(names: Sequence[str]) -> BadSettingError:
    values = ", ".join(f"{name}={os.environ.get(name, '')}" for name in names)
    return BadSettingError(
        f"the environment does not say which of several processes this is: {values}",
        hint="Start them with torchrun, srun or --devices.",
    )


def in_slurm_step() -> bool:
    """Whether srun started this process as one of several."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1") or 1) > 1 and "SLURM_PROCID" in os.environ


def say_as_torchrun_would(started: Processes) -> None:
    """For a step of SLURM: where the first process is, and all other variables that Fabric and torch look at."""
    from lightning_fabric.plugins.environments import SLURMEnvironment

    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
    os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
    os.environ.setdefault("MASTER_PORT", str(20000 + int(os.environ.get("SLURM_JOB_ID", "0")[-4:])))
    os.environ.update(
        RANK=str(started.rank),
        WORLD_SIZE=str(started.world),
        LOCAL_RANK=str(started.local_rank),
        LOCAL_WORLD_SIZE=str(started.local_world),
        GROUP_RANK=os.environ.get("SLURM_NODEID", "0"),
    )
