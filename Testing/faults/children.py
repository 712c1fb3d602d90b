"""Children that live the life of a `topomae` command, and may be disturbed.

Everything is imported once, here; a forked child then needs milliseconds where a new Python needs seconds. Whoever
imports this module must not compute with torch itself: its threads do not survive a fork.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # the order of sums depends on the number of threads

import lightning_fabric  # noqa: F401 (these are imported here so that no child has to)
import numpy as np
import torch
import torch.utils.tensorboard

import topomae
import topomae.inference.segmentation
import topomae.training.finetuning
import topomae.training.pretraining
from topomae import events
from topomae.cli import main
from topomae.networks import factory
from topomae.networks.masked_vit import VitSize
from topomae.networks.unetrpp import UnetrppSize
from topomae.runs import stopping

PACKAGE = Path(topomae.__file__).resolve().parents[1]
_FORKING = multiprocessing.get_context("fork")
_PATIENCE = 600.0  # seconds; a child that takes longer hangs
Injection = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: exit code; negative: the signal that killed it.
        events: what it told, as JSON.
        errors: what it printed on stderr.
        seconds: how long it lived.
    """

    code: int
    events: list[dict[str, Any]]
    errors: str
    seconds: float

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Its events of a kind."""
        return [event for event in self.events if event["event"] == kind]

    @property
    def last_words(self) -> str:
        """Phase and step of the last thing it told."""
        if not self.events:
            return "before it told anything"
        last = self.events[-1]
        parts = (last["event"], last.get("phase") or last.get("name") or "", last.get("step", ""))
        return "after " + " ".join(str(part) for part in parts if part != "")

    @property
    def sentence(self) -> str:
        """The error that it told, with its hint; empty if none."""
        told = self.told("error")
        return f"{told[-1]['message']} {told[-1]['hint']}" if told else ""

    def complaint(self, *words: str) -> str:
        """What is wrong with how it failed: it must tell an error with these words, and nothing like a traceback."""
        if self.code != 1:
            return f"exit code {self.code} instead of 1"
        if "Traceback" in self.errors or "something went wrong inside" in self.sentence:
            return f"a traceback reached the user: {self.sentence} {self.errors[-600:]}"
        missing = [word for word in words if word not in self.sentence]
        return f"told {self.sentence!r}, without {missing}" if missing else ""


class Child:
    """A running `topomae` command.

    Args:
        arguments: of the command line.
        injections: called in the child before the command; see `injections`.
        real: a process of its own from the start, as a user has it (without injections).
    """

    def __init__(self, arguments: Sequence[str], injections: Sequence[Injection] = (), *, real: bool = False):
        self._folder = tempfile.TemporaryDirectory(prefix="topomae-child-")
        self._output, self._errors = (Path(self._folder.name) / name for name in ("output", "errors"))
        self._began = time.monotonic()
        if real:
            command = [sys.executable, str(Path(__file__).with_name("small_topomae.py")), *arguments]
            environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
            with open(self._output, "wb") as output, open(self._errors, "wb") as errors:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment
                )
        else:
            life = (list(arguments), self._output, self._errors, list(injections))
            self._process = _FORKING.Process(target=_live, args=life)
            self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still lives."""
        return self._code() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def events(self) -> list[dict[str, Any]]:
        """What it has told up to now."""
        lines = self._output.read_bytes().split(b"\n")[:-1] if self._output.exists() else []
        return [json.loads(line) for line in lines]

    def wait_until(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = _PATIENCE) -> bool:
        """Wait for an event; False if the child ended without it."""
        deadline = time.monotonic() + seconds
        while True:
            ended = not self.running
            if any(wanted(event) for event in self.events()):
                return True
            if ended or time.monotonic() > deadline:
                return False
            time.sleep(0.02)

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until it ends."""
        self._wait(seconds)

    def wait(self, seconds: float = _PATIENCE) -> Ended:
        """Wait for its end; one that does not end is killed, and its code is that of SIGKILL."""
        self._wait(seconds)
        if self.running:
            self.signal(signal.SIGKILL)
            self._wait(60)
        ended = Ended(
            self._code(),
            self.events(),
            self._errors.read_text(errors="replace"),
            time.monotonic() - self._began,
        )
        self._folder.cleanup()
        return ended

    def _code(self) -> int | None:
        return self._process.poll() if isinstance(self._process, subprocess.Popen) else self._process.exitcode

    def _wait(self, seconds: float) -> None:
        if isinstance(self._process, subprocess.Popen):
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return
        else:
            self._process.join(seconds)


def run(arguments: Sequence[str], injections: Sequence[Injection] = (), *, real: bool = False) -> Ended:
    """Live a command to its end."""
    return Child(arguments, injections, real=real).wait()


def small_networks() -> None:
    """Make the networks of all later children so small that saving one takes no longer than a step."""
    factory.UNETRPP_SIZES["small"] = UnetrppSize(
        channels=(8, 8, 16, 16),
        blocks=(1, 1, 1, 1),
        projected=(8, 8, 8, 8),
        projected_decoder=8,
        convolution_channels=8,
        heads=2,
        dropout=0.1,
        norm="instance",
    )
    factory.VIT_SIZES["small"] = VitSize(
        hidden=48, layers=2, heads=2, decoder_hidden=24, decoder_layers=1, decoder_heads=2
    )


def _live(arguments: list[str], output: Path, errors: Path, injections: list[Injection]) -> None:
    """A child's life: what a new process would have anew is made anew, then the command."""
    for number, path, mode in ((0, os.devnull, os.O_RDONLY), (1, output, None), (2, errors, None)):
        descriptor = os.open(path, mode if mode is not None else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
    events.STARTED = stopping.STARTED = time.time()
    random.seed(), np.random.seed(), torch.seed()  # noqa: NPY002 (what nobody seeds must differ from child to child)
    torch.set_num_threads(1)
    sys.argv = ["topomae", *arguments]
    for inject in injections:
        inject()
    main()
