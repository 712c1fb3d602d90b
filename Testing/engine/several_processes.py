"""Starts several processes that train together on the CPU, as torchrun would."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PRELOADED = ["topomae.training.pretraining", "topomae.training.finetuning", "lightning_fabric"]


@dataclass
class Ended:
    """How one of the processes ended: with a value, an error, or without a word."""

    value: Any = None
    error: str | None = None
    exit_code: int | None = None


def compute_in_double() -> None:
    """Let this process train in 64 bit: rounding is then too small to grow into anything within some steps."""
    import torch

    from topomae.parallel import devices
    from topomae.training import loop
    from topomae.training.previews import Preview

    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # the networks ask for 32 bit in their last layers
    Preview.write = lambda *_, **__: {}  # looks with a network in 32 bit
    devices.chosen_precision = loop.chosen_precision = lambda *_: "64-true"


def start(world: int, function: Callable, *arguments: Any) -> list[tuple[multiprocessing.Process, Any]]:
    """Start `function(*arguments)` in `world` processes that find each other; give them to `ended`."""
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in range(world):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(rank, world, port, there, function, arguments))
        process.start()
        there.close()
        started.append((process, here))
    return started


def ended(started: list[tuple[multiprocessing.Process, Any]], timeout: float = 1200.0) -> list[Ended]:
    """Wait for all of them."""
    results = []
    for process, here in started:
        result = Ended()
        try:
            if here.poll(timeout):
                result = here.recv()
        except EOFError:  # killed
            pass
        process.join(timeout)
        result.exit_code = process.exitcode
        results.append(result)
    return results


def together(world: int, function: Callable, *arguments: Any) -> list[Any]:
    """What `function(*arguments)` returns in each of `world` processes; none may fail."""
    results = ended(start(world, function, *arguments))
    assert not any(result.error for result in results), results
    assert all(result.exit_code == 0 for result in results), results
    return [result.value for result in results]


def _work(rank: int, world: int, port: int, there: Any, function: Callable, arguments: tuple) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "GROUP_RANK": 0}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    os.environ.update({name: str(value) for name, value in place.items()})
    import torch

    torch.set_num_threads(1)
    try:
        there.send(Ended(function(*arguments)))
    except Exception as error:
        there.send(Ended(error=f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
