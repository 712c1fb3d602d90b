"""What the tests of trainings share: a quick stand-in for the engine, run folders on disk, waiting."""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
for folder in ("TopoMAESegment", "TopoMAETrain"):
    if str(REPOSITORY / folder) not in sys.path:
        sys.path.append(str(REPOSITORY / folder))


def engineInterpreter() -> object:
    """The Python of the tests, running the real engine on one core."""
    from TopoMAELib.interpreter import Interpreter

    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    return Interpreter(pythonOfTests(), str(REPOSITORY), environment)


def standInInterpreter(folder: Path) -> object:
    """The Python of the tests, running the stand-in of `train_run_engine.py`.

    Args:
        folder: empty folder to put the stand-in into.
    """
    from TopoMAELib.interpreter import Interpreter

    package = folder / "topomae"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("train_run_engine.py"), package / "__main__.py")
    return Interpreter(pythonOfTests(), str(folder), {**os.environ, "PYTHONPATH": str(folder)})


def pythonOfTests() -> str:
    """A Python that has the engine: that of the tests, or the one of TOPOMAE_PYTHON inside the application."""
    return os.environ.get("TOPOMAE_PYTHON") or sys.executable


def makeRun(folder: Path, status: str = "ok", kind: str = "pretrain", step: int = 20, **settings: object) -> Path:
    """A run folder as the engine leaves it.

    Args:
        folder: to make. status: of `status.json`. step: steps done. settings: of `settings.json`.
    """
    folder.mkdir(parents=True)
    whole = {"data": "/data", "size": "small", "plan": {}, "seed": 0, "steps": 40, **settings}
    writeJson(folder / "settings.json", {"format": 1, "kind": kind, "settings": whole})
    writeJson(folder / "status.json", {"status": status, "step": step, "time": ago(60).replace("+00:00", "Z")})
    events = [
        {"event": "start", "time": ago(100), "kind": kind, "device": "CPU"},
        {"event": "progress", "time": ago(90), "phase": kind, "step": step, "of": 40, "seconds_left": 2.5},
    ]
    if status != "running":
        events.append({"event": "end", "time": ago(60), "status": status, "step": step})
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (folder / "metrics.csv").write_text(f"step,phase,name,value\n10,{kind},loss,2.5\n20,{kind},loss,1.5\n")
    return folder


def writeJson(path: Path, content: dict) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")


def ago(seconds: float) -> str:
    """A moment in the past, as the engine writes it."""
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat()
