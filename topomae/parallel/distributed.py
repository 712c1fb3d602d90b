"""Several processes that train one network together; with one process, everything here does nothing.

Whoever starts the processes (torchrun, SLURM's srun, `topomae pretrain --devices N`) says in the environment which
one this is. They talk by torch.distributed: gloo for plain values and on CPUs, NCCL between GPUs. Every process
comes past each of these calls, in the same order. When one fails or is asked to stop while the others wait for
it, they learn why from a store that all of them see, and end as well.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from topomae.errors import BadSettingError, RunError, TopoMAEError
from topomae.parallel.started_processes import Processes, in_slurm_step, say_as_torchrun_would, started_processes

Item = TypeVar("Item")

TIMEOUT = "TOPOMAE_TIMEOUT"  # in the environment: minutes that a process waits for the others
_MINUTES = 30.0
_PATIENCE = 5.0  # seconds that a process waits for a word about a failure


class Stopping(Exception):
    """The run was asked to stop while nothing would be lost by leaving at once."""


_together: Processes | None = None  # while the processes are connected
_store: Any = None  # texts that all of them see


def processes() -> Processes:
    """The processes that work together now; a single one before and after `together`."""
    return _together or Processes()


def is_main() -> bool:
    """Whether this process is the one that writes files and talks to the user."""
    return processes().rank == 0


def own_share(items: Sequence[Item]) -> list[Item]:
    """Every item that is this process's to work on; `gathered` puts the results in order again."""
    return list(items[processes().rank :: processes().world])


def gathered(values: Sequence[Any]) -> list[Any]:
    """The results of every process for its `own_share`, in the order of the items.

    Args:
        values: plain values, one for each item of the own share. They travel as pickles, but only between
            the processes of this training.
    Raises:
        RunError: another process failed or was lost.
        Stopping: another process was asked to stop.
    """
    world = processes().world
    if world == 1:
        return list(values)
    import torch.distributed as dist

    shares: list[list[Any]] = [[] for _ in range(world)]
    with lost_processes_told():
        dist.all_gather_object(shares, list(values))
    return [shares[n % world][n // world] for n in range(sum(map(len, shares)))]


def from_main(value: Item) -> Item:
    """What the main process has for this plain value."""
    return gathered([value])[0]


def barrier() -> None:
    """Wait until every process is here."""
    gathered([])


def largest(values: Sequence[float]) -> list[float]:
    """For each number the largest that any process has; a truth counts as 1."""
    if processes().world == 1:
        return [float(value) for value in values]
    import torch

    shared = torch.tensor([float(value) for value in values], dtype=torch.float64)
    with lost_processes_told():
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return shared.tolist()


def cores() -> int:
    """Cores for this process: its share of the machine's."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bound = "SLURM_CPUS_PER_TASK" in os.environ and in_slurm_step()  # srun has dealt them out already
    return max(1, available if bound else available // processes().local_world)


@contextmanager
def together(device: str) -> Iterator[Processes]:
    """Connect the processes, and let them end together: none waits for one that failed. `Stopping` ends here.

    Args:
        device: `cpu` or `cuda`.
    Raises:
        BadSettingError: the environment contradicts itself, or there are fewer GPUs than processes.
        RunError: the processes do not find each other.
    """
    global _together
    started = started_processes()
    if _together is not None:  # connected already, by whoever called this function
        yield _together
        return
    if started.world == 1:
        with suppress(Stopping):
            yield started
        return
    _connect(started, device)
    _together = started
    try:
        yield started
        barrier()  # nobody leaves, and takes the store along, while others still need it
    except BaseException as error:
        _tell_others(error)
        if not isinstance(error, Stopping):
            raise
    finally:
        _together = None
        _disconnect()


@contextmanager
def lost_processes_told() -> Iterator[None]:
    """Around a collective operation: the reason why another process does not take part, instead of torch's error.

    Raises:
        RunError: another process failed (then its own message, and which it was), or was lost.
        Stopping: another process was asked to stop.
    """
    try:
        yield
    except RuntimeError as error:
        if _together is None or not _of_the_connection(error):
            raise
        raise _reason() from error


def several_asked_for() -> bool:
    """Whether this process was started as one of several."""
    return started_processes().world > 1


def silent() -> bool:
    """Whether this process was started as one that leaves talking to the main one."""
    with suppress(BadSettingError):
        return started_processes().rank > 0
    return False


def tell_on_stderr(error: BaseException) -> None:
    """In a process that leaves talking to the main one: tell an error that the main one cannot know of.

    What was told already is not told again, nor what happens to every process of a machine alike.
    """
    started = _together or started_processes()
    if _together is None and (started.local_rank > 0 or getattr(error, "left_to_others", False)):
        return
    print(f"process {started.rank} of {started.world}: {error}", file=sys.stderr, flush=True)


class LostProcessError(RunError):
    """Another process of the training is gone.

    Attributes:
        of: class of the error that it ended with; "" if that is not known.
    """

    of = ""


def _connect(started: Processes, device: str) -> None:
    global _store
    import torch
    import torch.distributed as dist

    if device == "cuda" and torch.cuda.device_count() < started.local_world:
        raise BadSettingError(
            f"{started.local_world} processes on this machine, but torch finds {torch.cuda.device_count()} GPUs",
            hint="Start one process for each GPU, and let each see all GPUs of its machine (SLURM: --gres=gpu:N).",
        )
    if "RANK" not in os.environ:
        say_as_torchrun_would(started)
    waiting = timedelta(minutes=_timeout())
    try:
        _store, *_ = next(dist.rendezvous("env://", started.rank, started.world, timeout=waiting))
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=_store, rank=started.rank, world_size=started.world, timeout=waiting)
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RunError(
            f"the {started.world} processes do not find each other at {address}: {_first_line(error)}",
            hint="Look whether all were started, and whether a firewall lies between the machines.",
        ) from error


def _timeout() -> float:
    text = os.environ.get(TIMEOUT, "")
    try:
        minutes = float(text or _MINUTES)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise BadSettingError(f"{TIMEOUT}={text} is no time", hint="Give minutes, such as 30.")
    return minutes


def _disconnect() -> None:
    global _store
    _leave_group()
    _store = None


def _leave_group() -> None:
    """Close the connections, which those who wait for this process notice; the store stays."""
    import torch.distributed as dist

    with suppress(RuntimeError):
        if dist.is_initialized():
            dist.destroy_process_group()


def _tell_others(error: BaseException) -> None:
    """Leave word of why this process ends; the others look for it when they miss it."""
    me = processes()
    word = {
        "rank": me.rank,
        "stopping": isinstance(error, (Stopping, KeyboardInterrupt)),
        "of": type(error).__name__,
    }
    if isinstance(error, TopoMAEError):
        fields = {"message": error.message, "hint": error.hint, "case": error.case}
        word |= {**fields, "path": "" if error.path is None else str(error.path)}
    else:
        word["message"] = f"{type(error).__name__}: {error}"
    own = not isinstance(error, LostProcessError) and not word["stopping"]
    told = False
    with suppress(RuntimeError):
        if not isinstance(error, LostProcessError) and _store.add("failures", 1) == 1:
            _store.set("failure", json.dumps(word))
        if own and me.rank == 0:
            _store.set("told", "1")  # what stopped all of them alike need not be told by each
    _leave_group()
    with suppress(RuntimeError):
        if me.rank == 0 and (own or getattr(error, "of", "") or word["stopping"]):  # the store may live here
            _wait_until(lambda: _store.add("heard", 0) >= me.world - 1)
        else:
            told = own and _wait_until(lambda: _store.check(["told"]))
            _store.add("heard", 1)
    if me.rank > 0 and own and not told:
        tell_on_stderr(error)
    error.left_to_others = True


def _wait_until(true: Any) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while not (come := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return come


def _of_the_connection(error: RuntimeError) -> bool:
    import torch.distributed as dist

    text = str(error).lower()  # gloo's errors have no class of their own
    return isinstance(error, dist.DistError) or any(word in text for word in ("gloo", "nccl", "connection"))


def _reason() -> Exception:
    """Why another process does not answer."""
    with suppress(RuntimeError):
        if _wait_until(lambda: _store.check(["failure"])):
            word = json.loads(_store.get("failure"))
            if word["stopping"]:
                return Stopping()
            if is_main():
                _store.set("told", "1")
            where = f"process {word['rank']} of {processes().world}: " if word["rank"] else ""
            lost = LostProcessError(
                where + word["message"],
                hint=word.get("hint", ""),
                case=word.get("case", ""),
                path=word.get("path") or None,
            )
            lost.of = word["of"]
            return lost
    return LostProcessError(
        f"another process of this training was killed, or was not heard of for {_timeout():g} minutes",
        hint="Start the same command again, with as many processes as you like: the run goes on from its last "
        "checkpoint.",
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
