"""Disks that are full or cannot be written to, and checkpoints that were damaged while nobody looked."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import children
import injections
import mounts
from comparison import leftovers
from records import Fault, Left
from world import KINDS, World

_ROOM = 400_000_000  # bytes; more than any of the commands needs


def full_disk(world: World) -> Iterator[Fault | Left]:
    """A disk that is full after n bytes, for many n; then there is room again, and the command is started again."""
    if not mounts.can_mount(world.fresh("").parent):
        yield Left("a disk that is full", "this user may not mount one; the limit on the size of files was used")
        return
    for kind, amount in zip(KINDS, (1, 1, 1) if world.quick else (5, 5, 2), strict=True):
        rng = world.random(f"full disk under {kind}")
        need = _bytes_of(world.reference(kind)) * (1 if kind == "segment" else 1.3)
        for part in sorted(rng.uniform(0.0, 1.0) for _ in range(amount)):
            with mounts.small_disk(world.fresh("disk").parent, int(part * need)) as disk:
                target = disk / "run"
                ended = world.run(kind, target)
                yield _after_refusal(
                    world, kind, target, Fault("disk full", kind, f"at {int(part * need):,} bytes"), ended,
                    "cannot write", "No space left", "Free some space",
                    again=lambda disk=disk: mounts.resize(disk, _ROOM),
                )  # fmt: skip


def limited_files(world: World) -> Iterator[Fault]:
    """Writes that fail in the middle of a file, for many sizes; what a child tells must always fit."""
    for kind in ("pretrain", "finetune"):
        rng = world.random(f"limited files of {kind}")
        largest = max(path.stat().st_size for path in world.reference(kind).rglob("*") if path.is_file())
        for _ in range(1 if world.quick else 4):
            limit = round(12_000 * (largest / 12_000) ** rng.random())
            target = world.fresh("run")
            ended = world.run(kind, target, [injections.files_limited_to(limit)])
            fault = Fault("a write fails half-way", kind, f"no file beyond {limit:,} bytes")
            yield _after_refusal(world, kind, target, fault, ended, "cannot write", again=lambda: None)


def read_only_folder(world: World) -> Iterator[Fault | Left]:
    """A run folder that cannot be written to, from the start or from some moment on."""
    folder = world.fresh("").parent
    if not mounts.can_mount(folder):
        yield Left("a run folder on a read-only disk", "this user may not mount one")
    for kind in ("pretrain", "finetune"):
        if mounts.can_mount(folder):
            with mounts.small_disk(world.fresh("disk").parent, _ROOM) as disk:
                target = disk / "run"
                world.run(kind, target, [injections.at_event(injections.saved(6), injections.killed())])
                before = _listing(target)
                mounts.make_read_only(disk)
                ended = world.run(kind, target)
                fault = Fault("run folder on a read-only disk", kind, "when it goes on")
                if _listing(target) != before:
                    fault.lost = "the folder was changed"
                yield _after_refusal(
                    world, kind, target, fault, ended, "cannot write", "Read-only file system",
                    again=lambda disk=disk: mounts.make_writable(disk),
                )  # fmt: skip
        target = world.fresh("run")

        def forbid(target: Path = target) -> None:
            for one in (target, target / "checkpoints"):
                one.chmod(0o555)

        ended = world.run(
            kind, target, [injections.without_privileges, injections.at_event(injections.saved(6), forbid)]
        )
        yield _after_refusal(
            world, kind, target, Fault("run folder becomes read-only", kind, "after the checkpoint of step 6"), ended,
            "cannot write", "Permission denied",
            again=lambda target=target: [one.chmod(0o755) for one in (target, target / "checkpoints")],
        )  # fmt: skip


def damaged_checkpoints(world: World) -> Iterator[Fault]:
    """Checkpoints that are not what was written; the one before is used, and the user is told."""
    damages = {
        "cut short": _cut,
        "one bit flipped": _flip,
        "empty": lambda path, rng: path.write_bytes(b""),
        "overwritten": lambda path, rng: path.write_bytes(rng.randbytes(path.stat().st_size)),
    }
    for kind in ("pretrain", "finetune"):
        rng = world.random(f"damaged checkpoints of {kind}")
        for name, damage in list(damages.items())[: 1 if world.quick else None]:
            for file in ("last", "best") if kind == "finetune" and not world.quick else ("last",):
                target = _killed_at(world, kind, 9)
                newest = max((target / "checkpoints").glob(f"{file}-*.pt"), key=lambda path: path.name)
                damage(newest, rng)
                ended, problem = world.finish(kind, target)
                fault = Fault(f"checkpoint {file} damaged", kind, f"{name} ({newest.name})")
                fault.lost, fault.different = (problem, "") if ended.code else ("", problem)
                warned = [event for event in ended.told("warning") if newest.name in event["message"]]
                fault.unclear = "" if warned or ended.code else "the damage was not told"
                yield fault
        if kind == "finetune" or not world.quick:
            yield _all_damaged(world, kind, damages["one bit flipped"], rng)


def _all_damaged(world: World, kind: str, damage: Callable[[Path, random.Random], object], rng) -> Fault:
    """Nothing to go on from: refused in a sentence, and nothing is removed."""
    target = _killed_at(world, kind, 9)
    for path in (target / "checkpoints").glob("last-*.pt"):
        damage(path, rng)
    fault = Fault("all checkpoints damaged", kind, "one bit flipped in each")
    for _ in range(2):  # asked twice, it must not begin from nothing behind the user's back
        fault.unclear = fault.unclear or world.run(kind, target).complaint("damaged", "another folder")
    if len(list((target / "checkpoints").glob("last-*"))) != 2:
        fault.lost = "the damaged files were removed"
    return fault


def _after_refusal(
    world: World,
    kind: str,
    target: Path,
    fault: Fault,
    ended: children.Ended,
    *words: str,
    again: Callable[[], object],
) -> Fault:
    """Judge a command that could not write, then make writing possible and let it go on."""
    if ended.code == 0:  # it needed no more than there was
        fault.where += " (enough)"
        fault.different = world.verdict(kind, target)
        return fault
    fault.unclear = ended.complaint(*words) if kind != "segment" else _told_each(ended, *words)
    fault.lost = world.integrity(kind, target) or leftovers(target)
    again()
    ended, problem = world.finish(kind, target)
    if ended.code != 0:
        fault.lost = fault.lost or problem
    else:
        fault.different = problem
    return fault


def _told_each(ended: children.Ended, *words: str) -> str:
    """Of several volumes: an error for each that failed, then how many did."""
    complaint = ended.complaint()
    sentences = [f"{event['message']} {event['hint']}" for event in ended.told("error")]
    missing = [word for word in words if not any(word in sentence for sentence in sentences)]
    return complaint or (f"told {sentences}, without {missing}" if missing else "")


def _killed_at(world: World, kind: str, step: int) -> Path:
    target = world.fresh("run")
    world.run(kind, target, [injections.at_event(injections.saved(step), injections.killed())])
    return target


def _cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(1, path.stat().st_size))


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*"))
