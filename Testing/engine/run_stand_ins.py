"""A tiny training that uses a run folder as the real ones do, and what tests of run folders share."""

# ruff: noqa: NPY002 (the global generators are what is tested)

from __future__ import annotations

import multiprocessing
import random
import time

import numpy as np
import pytest
import torch

from topomae.runs.checkpoints import Checkpoints
from topomae.runs.folder import Run, rng_state, set_rng_state
from topomae.runs.locks import read_owner


class Recorder:
    """A sink that keeps events."""

    def __init__(self):
        self.events = []

    def write(self, event):
        self.events.append(event)

    def close(self):
        pass

    def of(self, kind):
        return [event for event in self.events if event["event"] == kind]


def open_run(folder, kind="pretrain", settings=None, events=None, **more):
    return Run.open(folder, kind, settings or {}, events, tensorboard=False, **more)


def train(folder, steps=120, pause=0.0):
    """A small training whose every step depends on all before it and on all random generators."""
    with open_run(folder, settings={"steps": steps}) as run:
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        state = run.load_checkpoint() or {"step": 0, "weights": torch.zeros(2000), "best": 1e9}
        if "rng" in state:
            set_rng_state(state["rng"])
        weights, best = state["weights"], state["best"]
        for step in run.events.track(range(state["step"] + 1, steps + 1), "train", done=state["step"]):
            weights = 0.9 * weights + torch.rand(2000) * random.random() + float(np.random.rand())
            loss = float(weights.std())
            run.log_metrics(step, "train", {"loss": loss, "nothing": float("nan")})
            if loss < best:
                best = loss
                run.save_checkpoint({"weights": weights}, "best", step=step)
            stop = run.stop_requested()
            if step % 3 == 0 or stop or step == steps:
                run.save_checkpoint({"step": step, "weights": weights, "best": best, "rng": rng_state()}, step=step)
            if stop:
                return
            time.sleep(pause)


def what_remains(folder):
    """All of a run that must not depend on how often it was interrupted."""
    last, best = (Checkpoints(folder / "checkpoints").load(name, pytest.fail) for name in ("last", "best"))
    metrics = (folder / "metrics.csv").read_bytes()
    return (
        metrics,
        last[1],
        last[0]["weights"].numpy().tobytes(),
        best[1],
        best[0]["weights"].numpy().tobytes(),
    )


def wait_for_owner(folder, child):
    while (owner := read_owner(folder / "lock")) is None or owner.pid != child.pid:
        assert child.is_alive()
        time.sleep(0.001)


def fast_processes():
    """Starts processes fast where forking from a clean server is possible, and anyhow elsewhere."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "topomae.runs.folder"])
    return context
