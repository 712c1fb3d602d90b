"""A real `topomae worker` process for tests, and files for it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
FINAL = ("result", "error", "cancelled")


class WorkerProcess:
    """Starts a worker; collects its answers in a thread.

    Args:
        path: folders put before everything else on the worker's PYTHONPATH.
    """

    def __init__(self, *path: Path):
        found = os.pathsep.join(map(str, (*path, REPOSITORY)))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "topomae", "worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": found},
        )
        self.log: list[str] = []
        self._answers: queue.Queue[dict | None] = queue.Queue()
        self._number = 0
        threading.Thread(target=self._collect, daemon=True).start()
        threading.Thread(target=self._collect_log, daemon=True).start()

    def line(self, text: str | bytes) -> None:
        """Send a line as it is."""
        self.process.stdin.write((text.encode() if isinstance(text, str) else text) + b"\n")
        self.process.stdin.flush()

    def send(self, do: str, **arguments) -> int:
        """Send a request and return its id."""
        self._number += 1
        self.line(json.dumps({"id": self._number, "do": do, **arguments}, default=str))
        return self._number

    def read(self, seconds: float = 60) -> dict | None:
        """The next answer; None at the end."""
        return self._answers.get(timeout=seconds)

    def until(self, wanted, seconds: float = 60) -> dict:
        """Read answers up to one for which `wanted(answer)` holds."""
        while not wanted(answer := self.read(seconds)):
            assert answer is not None, f"the worker ended: {self.log[-5:]}"
        return answer

    def ask(self, do: str, **arguments) -> tuple[dict, list[dict]]:
        """Send a request; its final answer, and what came before."""
        number = self.send(do, **arguments)
        before = []
        while (answer := self.read(120))["event"] not in FINAL or answer["id"] != number:
            before.append(answer)
        return answer, before

    def result(self, do: str, **arguments) -> dict:
        """Send a request that must succeed."""
        answer, _ = self.ask(do, **arguments)
        assert answer["event"] == "result", answer
        return answer

    def error(self, do: str, **arguments) -> dict:
        """Send a request that must fail with a clear message; the worker must go on."""
        answer, _ = self.ask(do, **arguments)
        assert answer["event"] == "error", answer
        assert answer["message"] and "\n" not in answer["message"] and "object at 0x" not in answer["message"]
        assert self.process.poll() is None
        return answer

    def end(self, seconds: float = 20) -> int:
        """Close its stdin and return its exit code."""
        self.process.stdin.close()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Be rid of it, whatever it does."""
        self.process.kill()
        self.process.wait()

    def _collect(self) -> None:
        for line in self.process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def _collect_log(self) -> None:
        for line in self.process.stderr:
            self.log.append(line.decode(errors="replace").rstrip())


def volume_file(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> dict:
    """Write a volume as requests want it."""
    np.save(path, array)
    return {"array": str(path), "affine": (np.eye(4) if affine is None else affine).tolist()}


def package_without_torch(folder: Path, code: str = "") -> Path:
    """A folder for PYTHONPATH in which `import torch` fails, after running `code`."""
    (folder / "torch").mkdir(parents=True)
    text = f'{code}\nraise ModuleNotFoundError("No module named \'torch\'", name="torch")\n'
    (folder / "torch" / "__init__.py").write_text(text, encoding="utf-8")
    return folder
