"""Several processes and one run folder, parents that die, and clocks that jump."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import children
import injections
from records import Fault
from world import World

_TRAININGS = ("pretrain", "finetune")


def two_on_one_folder(world: World) -> Iterator[Fault]:
    """A second process is refused with the name of the first, whichever comes when; the first goes on unharmed."""
    for kind in _TRAININGS[: 1 if world.quick else None]:
        target = world.fresh("run")
        paused = injections.at_event(injections.saved(6), injections.killed(signal.SIGSTOP))
        first = world.start(kind, target, [paused])
        first.wait_until(injections.saved(6))
        second = world.run(kind, target)
        first.signal(signal.SIGCONT)
        fault = Fault("second process on the run folder", kind, "while the first is at step 6")
        fault.unclear = second.complaint(f"in use by process {first.pid}")
        fault.lost = _failure(first.wait())
        fault.different = world.verdict(kind, target)
        yield fault
    for _ in range(1 if world.quick else 3):
        target = world.fresh("run")
        together = functools.partial(_wait_for, time.time() + 1.0)
        pair = [world.start("finetune", target, [together]) for _ in range(2)]
        ended = sorted((child.wait() for child in pair), key=lambda one: one.code)
        fault = Fault("two processes at the same instant", "finetune", lost=_failure(ended[0]))
        fault.unclear = ended[1].complaint("in use by process")
        fault.different = world.verdict("finetune", target)
        yield fault


def locks_left_behind(world: World) -> Iterator[Fault]:
    """Locks of processes that are dead, of a later process with the same id, of another machine, and half of one."""
    for kind in _TRAININGS[: 1 if world.quick else None]:
        for name in ("of a process id in use again", "half written", "of another machine"):
            target = _killed(world, kind)
            lock = target / "lock"
            owner = json.loads(lock.read_bytes())
            fault = Fault("lock left behind", kind, name)
            if name == "of another machine":
                lock.write_text(json.dumps({**owner, "host": "another-machine"}))
                refused = world.run(kind, target)
                fault.unclear = refused.complaint("on another-machine", "delete the file lock")
                lock.unlink()
            elif name == "half written":
                lock.write_bytes(lock.read_bytes()[:20])
            else:
                lock.write_text(json.dumps({**owner, "pid": os.getpid()}))
            ended, problem = world.finish(kind, target)
            fault.lost, fault.different = (problem, "") if ended.code else ("", problem)
            yield fault


def frozen_while_another_took_over(world: World) -> Iterator[Fault]:
    """A process that is frozen, its lock removed by hand, the run done by another; then it wakes up."""
    for kind in _TRAININGS[: 1 if world.quick else None]:
        for name in ("has ended", "is at step 10"):
            target = world.fresh("run")
            frozen = injections.at_event(injections.saved(9), injections.killed(signal.SIGSTOP))
            first = world.start(kind, target, [frozen])
            first.wait_until(injections.saved(9))
            (target / "lock").unlink()
            pause = injections.at_event(_at_step_10, injections.killed(signal.SIGSTOP))
            second = world.start(kind, target, [] if name == "has ended" else [pause])
            if name == "has ended":
                ended = second.wait()
            else:
                second.wait_until(_at_step_10)
            first.signal(signal.SIGCONT)
            awake = first.wait()
            if name != "has ended":
                second.signal(signal.SIGCONT)
                ended = second.wait()
            fault = Fault("frozen process wakes up", kind, f"when another {name}", lost=_failure(ended))
            fault.unclear = awake.complaint("taken over by another process")
            fault.different = world.verdict(kind, target)
            yield fault


def parents_that_die(world: World) -> Iterator[Fault]:
    """The program that started a training ends without a word: Slicer, whoever read its events, a terminal."""
    for kind in _TRAININGS[: 1 if world.quick else None]:
        for name in ("starts as Slicer does", "reads the events"):
            target = world.fresh("run")
            parent = _parent(world, kind, target, piped=name == "reads the events")
            while not (target / "status.json").exists() and parent.poll() is None:
                time.sleep(0.02)
            parent.kill()
            parent.wait()
            fault = Fault("the parent dies", kind, f"the one that {name}")
            fault.lost = _wait_until_done(target)
            fault.different = world.verdict(kind, target)
            yield fault
        target = world.fresh("run")
        hang_up = injections.at_event(injections.saved(6), injections.killed(signal.SIGHUP))
        closed = world.run(kind, target, [hang_up])
        stopped = closed.code == 0 and closed.told("end")[-1]["status"] == "stopped"
        fault = Fault("the terminal is closed", kind, "at step 6", unclear="" if stopped else _failure(closed))
        ended, problem = world.finish(kind, target)
        fault.lost, fault.different = (problem, "") if ended.code else ("", problem)
        yield fault


def clocks_that_jump(world: World) -> Iterator[Fault]:
    """Times of day, and those of files, that jump by years in both directions; a kill and a restart in between."""
    for kind in ("pretrain", "finetune", "segment")[: 2 if world.quick else None]:
        for n in range(1 if world.quick else 2):
            target = world.fresh("run")
            jumps = [functools.partial(_jumping_clock, random.Random(f"{world.seed} {kind} {n} {m}")) for m in (0, 1)]
            killed = [injections.at_event(injections.saved(9), injections.killed())] if kind != "segment" else []
            ended = world.run(kind, target, [jumps[0], *killed])
            fault = Fault("the clock jumps", kind, f"by up to 20 years, both ways ({n + 1})")
            ended = world.run(kind, target, [jumps[1]])
            fault.lost = _failure(ended) or world.integrity(kind, target)
            left = [event["seconds_left"] for event in ended.told("progress") if event["seconds_left"] is not None]
            if any(not 0 <= seconds < 3600 for seconds in left):
                fault.unclear = f"an estimate of {max(left, key=abs)} s"
            fault.different = world.verdict(kind, target)
            yield fault


def _at_step_10(event: dict[str, Any]) -> bool:
    return event["event"] == "metric" and event["step"] >= 10


def _wait_for(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _jumping_clock(rng: random.Random) -> None:
    """Let every look at the time of day, and every time of a file, be another one."""
    from topomae import events, files
    from topomae.runs import folder as runs
    from topomae.runs import stopping

    year = 365 * 24 * 3600.0
    now = time.time
    time.time = lambda: max(0.0, now() + rng.choice((0.0, 1.0, -1.0)) * rng.uniform(0, 20 * year))
    events.STARTED = stopping.STARTED = time.time()

    class Jumping(events.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

    events.datetime = runs.datetime = Jumping
    replace = os.replace

    def replacing(source, target, **options):
        os.utime(source, (time.time(),) * 2)
        replace(source, target, **options)

    files.os.replace = replacing


def _parent(world: World, kind: str, target: Path, *, piped: bool) -> subprocess.Popen:
    """A program that starts a training and waits for it, and prints nothing."""
    program = [sys.executable, str(Path(children.__file__).with_name("small_topomae.py"))]
    options = (
        "stdout=subprocess.PIPE" if piped else f"stdout=open({str(target)!r} + '.log', 'ab'), start_new_session=True"
    )
    code = (
        "import subprocess\n"
        f"child = subprocess.Popen({[*program, *world.command(kind, target)]!r}, stdin=subprocess.DEVNULL, {options},"
        " stderr=subprocess.STDOUT)\n"
        f"{'[line for line in child.stdout]' if piped else 'child.wait()'}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(children.PACKAGE)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def _wait_until_done(target: Path, seconds: float = 300.0) -> str:
    """Wait until the run is done; what is wrong if it is not."""
    deadline = time.monotonic() + seconds
    status = "nothing"
    while time.monotonic() < deadline:
        if (target / "status.json").exists():
            status = json.loads((target / "status.json").read_bytes())["status"]
        if status != "running" and not (target / "lock").exists():
            return "" if status == "ok" else f"the run is {status}"
        time.sleep(0.1)
    return f"after {seconds:.0f} s the run is {status}"


def _killed(world: World, kind: str) -> Path:
    target = world.fresh("run")
    world.run(kind, target, [injections.at_event(injections.saved(6), injections.killed())])
    return target


def _failure(ended: children.Ended) -> str:
    return "" if ended.code == 0 else f"exit code {ended.code}: {ended.sentence} {ended.errors[-400:]}"
