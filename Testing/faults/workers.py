"""The worker: killed in the middle of a request, fed with garbage, left alone by its parent."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import children
import nibabel as nib
import numpy as np
from records import Fault
from world import World

_FINAL = ("result", "error", "cancelled")


def worker(world: World) -> Iterator[Fault]:
    """Whatever happens to a worker, the next one gives the same labels, and no half of a file is left."""
    requests = _Requests(world)
    expected = requests.labels(_Client())
    rng = world.random("worker")
    for number in (signal.SIGKILL, signal.SIGTERM)[: 1 if world.quick else None]:
        for _ in range(1 if world.quick else 2):
            client = _Client()
            request = requests.send(client)
            client.read_until(lambda answer: answer["event"] == "progress" and answer["phase"] == "segment")
            time.sleep(rng.uniform(0, 0.5))
            client.process.send_signal(number)
            began = time.monotonic()
            ended = client.wait(20)
            fault = Fault(f"{signal.Signals(number).name} in the middle of a request", "worker")
            if ended is None or time.monotonic() - began > 15:
                fault.lost = "it does not end"
            elif number == signal.SIGTERM and ended != 0:
                fault.unclear = f"exit code {ended}"
            fault.lost = fault.lost or _halves(request["output"])
            fault.different = _compared(requests.labels(_Client()), expected)
            yield fault
    yield _left_alone(requests)
    yield from _garbage(requests, expected, rng, 10 if world.quick else 40)
    yield _exchange_folder_gone(requests, expected)


def _left_alone(requests: _Requests) -> Fault:
    """Slicer is killed: the worker's stdin ends, and it ends, too."""
    client = _Client()
    request = requests.send(client)
    client.read_until(lambda answer: answer["event"] == "progress" and answer["phase"] == "segment")
    client.process.stdin.close()
    client.process.stdout.close()
    fault = Fault("the parent dies in the middle of a request", "worker")
    fault.lost = "" if client.wait(20) is not None else "it does not end"
    fault.lost = fault.lost or _halves(request["output"])
    return fault


def _garbage(requests: _Requests, expected: np.ndarray, rng: random.Random, amount: int) -> Iterator[Fault]:
    """Lines that no program sends, each answered with an error; then a good request."""
    client = _Client()
    for n in range(amount):
        name, line = _nonsense(rng, n)
        client.line(line)
        fault = Fault("garbage for the worker", "worker", name)
        answer = client.read(60)
        if answer is None:
            fault.lost = "it ended"
        elif answer["event"] != "error" or not answer["message"] or "something went wrong" in answer["message"]:
            fault.unclear = f"answered {json.dumps(answer)[:300]}"
        yield fault
        if fault.lost:
            return
    yield Fault("a request after garbage", "worker", different=_compared(requests.labels(client), expected))


def _exchange_folder_gone(requests: _Requests, expected: np.ndarray) -> Fault:
    """The folder for the results can no longer be made: an error, and the next request is done."""
    client = _Client()
    blocked = requests.world.fresh("file")
    blocked.write_text("not a folder")
    requests.send(client, output=blocked / "result")
    answer = client.read_until(lambda answer: answer["event"] in _FINAL)
    fault = Fault("the folder for results is gone", "worker")
    if answer["event"] != "error" or "something went wrong" in answer["message"]:
        fault.unclear = f"answered {json.dumps(answer)[:300]}"
    fault.different = _compared(requests.labels(client), expected)
    return fault


class _Requests:
    """Requests for the segmentation of one volume."""

    def __init__(self, world: World):
        self.world = world
        self._model = world.reference("finetune")
        image = nib.load(sorted((world.data / "imagesTr").glob("*.nii.gz"))[0])
        self._array = world.fresh("image.npy")
        # Large enough to be in the middle of it for a while.
        np.save(self._array, np.tile(np.asarray(image.dataobj, np.float32), (3, 3, 3)))
        self._affine = image.affine.tolist()

    def send(self, client: _Client, output: Path | None = None) -> dict[str, Any]:
        """Ask for a segmentation; the request."""
        request = {
            "id": 1,
            "do": "segment",
            "model": str(self._model),
            "images": [{"array": str(self._array), "affine": self._affine}],
            "output": str(output or self.world.fresh("result")),
            "device": "cpu",
        }
        client.line(json.dumps(request).encode())
        return request

    def labels(self, client: _Client) -> np.ndarray | str:
        """The labels of the volume, or why there are none; the worker ends afterwards."""
        self.send(client)
        answer = client.read_until(lambda answer: answer["event"] in _FINAL)
        client.process.stdin.close()
        client.wait(20)
        return np.load(answer["labels"]) if answer["event"] == "result" else json.dumps(answer)


class _Client:
    """A worker process and its answers."""

    def __init__(self):
        program = [sys.executable, str(Path(children.__file__).with_name("small_topomae.py")), "worker"]
        environment = {**os.environ, "PYTHONPATH": str(children.PACKAGE)}
        self.process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._collect, daemon=True).start()
        self.read_until(lambda answer: answer["event"] == "ready")

    def line(self, content: bytes) -> None:
        """Send a line."""
        self.process.stdin.write(content + b"\n")
        self.process.stdin.flush()

    def read(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None if the worker has ended."""
        return self._answers.get(timeout=seconds)

    def read_until(self, wanted, seconds: float = 300) -> dict[str, Any]:
        """Read up to an answer."""
        while True:
            answer = self.read(seconds)
            if answer is None:
                raise RuntimeError("the worker ended")
            if wanted(answer):
                return answer

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None if it had to be killed."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def _collect(self) -> None:
        try:
            for line in self.process.stdout:
                self._answers.put(json.loads(line))
        except ValueError:  # closed, or cut by a kill
            pass
        self._answers.put(None)


def _nonsense(rng: random.Random, n: int) -> tuple[str, bytes]:
    """A name and a line of one of several kinds; none has a line end or is blank."""
    kinds = (
        ("random bytes", rng.randbytes(rng.randint(1, 3000)).replace(b"\n", b"?") + b"?"),
        ("half of a request", b'{"id": 5, "do": "segment", "model": "/a'),
        ("not an object", rng.choice((b"7", b"null", b"[[]]", b'"text"', b"NaN"))),
        ("no such kind", json.dumps({"id": n, "do": "explode"}).encode()),
        ("arguments of the wrong kind", json.dumps({"id": n, "do": "segment", "model": 5, "images": {}}).encode()),
        ("a strange id", json.dumps({"id": {"a": [1]}, "do": "hello"}).encode()),
        ("deep nesting", b'{"id":1,"do":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
        ("a line that is too long", b'{"id": 1, "do": "' + b"x" * 2_000_000 + b'"}'),
        ("a number that is too large", b'{"id": 1e999, "do": "hello"}'),
        ("no UTF-8", b'{"id": 1, "do": "\xff\xfe"}'),
    )
    return kinds[n % len(kinds)]


def _halves(output: str) -> str:
    """Files in the folder of a request that was cut short and are not whole."""
    for path in Path(output).glob("*.npy"):
        if not path.name.startswith("."):
            try:
                np.load(path)
            except (OSError, ValueError, EOFError):
                return f"{path.name} is half a file"
    return ""


def _compared(labels: np.ndarray | str, expected: np.ndarray) -> str:
    if isinstance(labels, str):
        return f"no labels: {labels}"
    return "" if np.array_equal(labels, expected) else "other labels"
