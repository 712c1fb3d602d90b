"""A tiny data set, the commands that work on it, and what they leave behind when nothing disturbs them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import children
from comparison import difference, finished, integrity, leftovers

from topomae.data.phantoms import make_phantoms

KINDS = ("pretrain", "finetune", "segment")
_PLAN = ("crop_size=16,16,16", "patch_size=8,8,8", "spacing=5,5,5", "batch_size=2")
_STEPS = {
    "pretrain": ("steps=11", "checkpoint_every=3", "preview_every=5", *_PLAN),
    "finetune": ("steps=11", "checkpoint_every=3", "validate_every=4"),
}


class World:
    """Where the faults happen.

    Args:
        root: an empty folder.
        seed: of everything random.
        quick: as few faults as show that each kind is survived.
    """

    def __init__(self, root: Path, seed: int = 0, *, quick: bool = False):
        self.root, self.seed, self.quick = root, seed, quick
        self.data = make_phantoms(root / "data", cases=7, labelled=2)
        self._references: dict[str, tuple[Path, float]] = {}
        self._made = 0

    def random(self, name: str) -> random.Random:
        """Random numbers of one scenario, whatever the others draw."""
        return random.Random(f"{self.seed} {name}")

    def fresh(self, name: str) -> Path:
        """A path in a new, empty folder."""
        self._made += 1
        folder = self.root / f"{self._made:03d}"
        folder.mkdir()
        return folder / name

    def command(self, kind: str, target: Path, *more: str) -> list[str]:
        """Arguments of a command that writes into `target`; `more` are assignments."""
        if kind == "segment":
            model = self.reference("finetune")
            arguments = ["--model", str(model), "--input", str(self.data / "imagesTr"), "--output", str(target)]
        else:
            arguments = ["--data", str(self.data), "--run", str(target)]
            arguments += ["--init", str(self.reference("pretrain"))] if kind == "finetune" else []
        assignments = [part for one in (*_STEPS.get(kind, ()), *more) for part in ("--set", one)]
        return [kind, *arguments, *assignments, "--device", "cpu", "--events", "json"]

    def run(self, kind: str, target: Path, injections: Sequence[children.Injection] = ()) -> children.Ended:
        """Live a command to its end."""
        return children.run(self.command(kind, target), injections)

    def start(self, kind: str, target: Path, injections: Sequence[children.Injection] = ()) -> children.Child:
        """Start a command."""
        return children.Child(self.command(kind, target), injections)

    def reference(self, kind: str) -> Path:
        """What an undisturbed command leaves behind."""
        return self._reference(kind)[0]

    def seconds(self, kind: str) -> float:
        """How long the undisturbed command took."""
        return self._reference(kind)[1]

    def verdict(self, kind: str, target: Path) -> str:
        """What is wrong with the end of a disturbed command; empty if it is what the undisturbed one left."""
        return finished(kind, target) or difference(kind, self.reference(kind), target) or leftovers(target)

    def finish(self, kind: str, target: Path) -> tuple[children.Ended, str]:
        """Start a disturbed command again and compare what it leaves behind; how it ended, and what is wrong."""
        ended = self.run(kind, target)
        if ended.code != 0:
            return ended, f"does not go on: exit code {ended.code}: {ended.sentence} {ended.errors[-500:]}"
        return ended, self.verdict(kind, target)

    def integrity(self, kind: str, target: Path) -> str:
        """What a disturbed command must not leave behind, if it does."""
        return integrity(kind, target)

    def _reference(self, kind: str) -> tuple[Path, float]:
        if kind not in self._references:
            target = self.root / "undisturbed" / kind
            if kind == "pretrain":  # compiles what is not compiled yet
                children.run(self.command(kind, self.fresh("warm-up"), "steps=1"))
            began = time.monotonic()
            ended = children.run(self.command(kind, target))
            if ended.code != 0:
                raise RuntimeError(f"undisturbed {kind} failed: {ended.sentence} {ended.errors[-2000:]}")
            self._references[kind] = target, time.monotonic() - began
        return self._references[kind]


def is_root() -> bool:
    """Whether mounting and changing users may work."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
