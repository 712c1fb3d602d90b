"""Kills: at random moments of a whole life, by the real command line, and around every kind of write."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import children
import injections
from comparison import last_step
from records import Fault
from world import KINDS, World

_MOST_IN_A_CHAIN = 4  # kills of one run before it may come to its end


def at_random_moments(world: World) -> Iterator[Fault]:
    """SIGKILL and SIGTERM at moments that are equally likely over the whole life of a forked child."""
    for kind, amount in zip(KINDS, (2, 2, 2) if world.quick else (12, 12, 8), strict=True):
        rng = world.random(f"random kills of {kind}")

        def disturb(target: Path, rng=rng, kind=kind) -> tuple[children.Child, int]:
            number = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
            child = world.start(kind, target)
            child.sleep(rng.uniform(0, 1.0) * world.seconds(kind))
            if child.running:
                child.signal(number)
            return child, number

        yield from _chains(world, kind, amount, disturb, "{} at a random moment")


def of_the_command_line(world: World) -> Iterator[Fault]:
    """The same with processes that start as those of a user do; a third of the kills hits the start."""
    for kind, amount in zip(KINDS, (0, 1, 0) if world.quick else (2, 2, 2), strict=True):
        rng = world.random(f"command line kills of {kind}")
        moments = [rng.uniform(0, 4.0) if n % 3 == 0 else None for n in range(100)]

        def disturb(target: Path, rng=rng, kind=kind, moments=moments) -> tuple[children.Child, int]:
            number = rng.choice((signal.SIGKILL, signal.SIGTERM))
            child = children.Child(world.command(kind, target), real=True)
            if (moment := moments.pop()) is None:
                child.wait_until(lambda event: event["event"] in ("start", "progress"), 120)
                moment = rng.uniform(0, world.seconds(kind))
            child.sleep(moment)
            if child.running:
                child.signal(number)
            return child, number

        yield from _chains(world, kind, amount, disturb, "{} of a real process")


def around_writes(world: World) -> Iterator[Fault]:
    """SIGKILL before, after, or half-way through an operation that changes the disk."""
    for kind, amount in zip(KINDS, (1, 2, 1) if world.quick else (8, 8, 4), strict=True):
        rng = world.random(f"kills around writes of {kind}")
        count = _operations(world, kind)

        def disturb(target: Path, rng=rng, kind=kind, count=count) -> tuple[children.Child, int]:
            chosen, before = rng.randint(1, count), rng.random() < 0.5
            kill = injections.at_operation(chosen, injections.killed(), before=before)
            return world.start(kind, target, [kill]), signal.SIGKILL

        yield from _chains(world, kind, amount, disturb, "SIGKILL around a write", most=2)


def in_each_phase(world: World) -> Iterator[Fault]:
    """SIGKILL right when a phase begins or something is told."""
    moments = {
        "pretrain": {
            "the data are checked": injections.phase("check data"),
            "the data are preprocessed": injections.phase("preprocess"),
            "a preview is written": lambda event: event["event"] == "preview",
            "the first checkpoint is saved": injections.saved(3),
            "the last checkpoint is saved": injections.saved(11),
        },
        "finetune": {
            "the data are preprocessed": injections.phase("preprocess"),
            "it validates": injections.phase("validate"),
            "the best model is saved": injections.saved(1, "best"),
            "the last checkpoint is saved": injections.saved(11),
        },
    }
    for kind, by_name in moments.items():
        for name, wanted in list(by_name.items())[: 1 if world.quick else None]:
            target = world.fresh("run")
            ended = world.run(kind, target, [injections.at_event(wanted, injections.killed())])
            if ended.code != -signal.SIGKILL:
                raise RuntimeError(f"{kind} was not killed when {name}: {ended.sentence}")
            fault = Fault("SIGKILL at a turning point", kind, f"when {name}", lost=world.integrity(kind, target))
            yield from _concluded(world, kind, target, [fault])


def _chains(
    world: World,
    kind: str,
    amount: int,
    disturb: Callable[[Path], tuple[children.Child, int]],
    words: str,
    *,
    most: int = _MOST_IN_A_CHAIN,
) -> Iterator[Fault]:
    """Disturb runs again and again, until so many kills have hit; each run then comes to its end."""
    hits = misses = 0
    while hits < amount and misses < 3 * amount + 5:
        target, chain = world.fresh("run"), []
        while len(chain) < min(most, amount - hits) and not _is_done(kind, target):
            step = -1 if kind == "segment" else last_step(target)
            child, number = disturb(target)
            ended = child.wait()
            if _came_to_its_end(ended, kind):
                misses += 1
                break
            fault = Fault(words.format(signal.Signals(number).name), kind, ended.last_words)
            fault.unclear = _rude(ended, number, kind)
            fault.lost = world.integrity(kind, target)
            if kind != "segment" and last_step(target) < step:
                fault.lost = f"the checkpoint of step {step} is gone"
            chain.append(fault)
        hits += len(chain)
        yield from _concluded(world, kind, target, chain)


def _concluded(world: World, kind: str, target: Path, chain: Sequence[Fault]) -> Sequence[Fault]:
    """Let a disturbed command come to its end; its faults then know what became of it."""
    if chain:
        ended, problem = (None, "") if _is_done(kind, target) else world.finish(kind, target)
        if ended is None:
            problem = world.verdict(kind, target)
        for fault in chain:
            if ended is not None and ended.code != 0:
                fault.lost = fault.lost or problem
            else:
                fault.different = problem
    return chain


def _is_done(kind: str, target: Path) -> bool:
    from topomae.runs.folder import finished

    return kind != "segment" and finished(target)


def _came_to_its_end(ended: children.Ended, kind: str) -> bool:
    """Whether the signal came too late."""
    return ended.code == 0 and any(event["status"] == "ok" for event in ended.told("end"))


def _rude(ended: children.Ended, number: int, kind: str) -> str:
    """What is wrong with how a signal was followed."""
    if "Traceback" in ended.errors:
        return f"a traceback: {ended.errors[-400:]}"
    begun, over = bool(ended.told("start")), bool(ended.told("end"))
    stopped = ended.code == 0 and over and ended.told("end")[-1]["status"] == "stopped"
    if number == signal.SIGTERM and kind != "segment" and begun and not over and not stopped:
        return f"SIGTERM was not followed by saving and stopping: exit code {ended.code} {ended.sentence}"
    return "" if stopped or ended.code == -number else f"exit code {ended.code}: {ended.sentence}"


def _operations(world: World, kind: str) -> int:
    """How many operations change the disk in an undisturbed life."""
    world.reference(kind)
    file = world.fresh("count")
    ended = world.run(kind, file.with_name("run"), [injections.counted(file)])
    if ended.code != 0:
        raise RuntimeError(f"undisturbed {kind} failed: {ended.sentence}")
    return int(file.read_text())
