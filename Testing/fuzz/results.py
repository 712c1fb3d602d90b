"""What fuzzing did: added up over slices, and written as JSON and as a table."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

Done = dict[str, dict[str, float]]


def load(work: Path) -> Done:
    """What earlier runs did with this working folder."""
    file = work / "done.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def save(work: Path, done: Done) -> None:
    """Keep what was done so far."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "done.json").write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")


def add(done: Done, name: str, told: dict[str, float]) -> None:
    """Add the numbers of one slice to those of a target."""
    whole = done.setdefault(name, {})
    for key in ("seconds", "processor_seconds", "executions"):
        whole[key] = whole.get(key, 0) + told.get(key, 0)
    for key in ("coverage", "features", "peak_mb"):
        whole[key] = max(whole.get(key, 0), told.get(key, 0))


def publish(done: Done, findings: int, folder: Path) -> None:
    """Write `fuzzing.json` and the same as a table in `README.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"atheris": version("atheris"), "python": platform.python_version(), "system": platform.system()}
    content = {"about": about, "open_findings": findings, "targets": done}
    (folder / "fuzzing.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    rows = [_row(name, one) for name, one in done.items()]
    text = (
        "# Coverage-guided fuzzing\n\n"
        "`python Testing/fuzz/run.py --seconds 600`, one process. Coverage counts the edges of our own code that "
        "were reached, features their combinations with counts (libFuzzer). Memory is that of the whole process, "
        "libraries included. Inputs are those kept in `Testing/fuzz/corpus`.\n\n"
        f"atheris {about['atheris']}, Python {about['python']}. Inputs that still make a parser misbehave: "
        f"{findings}.\n\n"
        "| target | minutes | of these on a processor, at least "
        "| executions | coverage | features | peak MB | inputs kept |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n" + "\n".join(rows) + "\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _row(name: str, one: dict[str, float]) -> str:
    minutes = [f"{one.get(key, 0) / 60:.1f}" for key in ("seconds", "processor_seconds")]
    numbers = [f"{one.get(key, 0):,}" for key in ("executions", "coverage", "features", "peak_mb", "inputs")]
    return f"| {' | '.join([f'`{name}`', *minutes, *numbers])} |"
