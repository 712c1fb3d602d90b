"""Fuzz one target with atheris: `python fuzz_one.py TARGET FINDINGS [options of libFuzzer] [corpus folders]`.

An input that makes a parser misbehave is written to the folder FINDINGS, the first of each kind only, and
fuzzing goes on. Hangs, too much memory and crashes of native code end the process: libFuzzer keeps those.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
import traceback
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import slicer_stub, targets
from fuzz.json_mutator import mutate_json


class Findings:
    """Keeps the first input of each kind of misbehaviour: the error's type and the lines it went through."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._known = {path.stem for path in folder.glob("*.txt")}

    def keep(self, data: bytes, error: Exception) -> None:
        """Write the input and the traceback, unless there is one of the same kind."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "topomae" in frame.filename.lower()] or frames
        lines = "".join(f"{frame.filename}:{frame.name}:{frame.line}" for frame in own[-3:])
        kind = f"{type(error).__name__}-{hashlib.sha256(lines.encode()).hexdigest()[:8]}"
        if kind in self._known:
            return
        self._known.add(kind)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{kind}.input").write_bytes(data)
        told = "".join(traceback.format_exception(error))
        (self._folder / f"{kind}.txt").write_text(told, encoding="utf-8", errors="backslashreplace")


def main() -> None:
    """Run libFuzzer; it ends the process itself."""
    name, folder, *arguments = sys.argv[1:]
    if name in targets.NEEDS_SLICER:
        slicer_stub.install()
    with atheris.instrument_imports(include=["topomae", "TopoMAELib"]):
        target = targets.load(name)
    findings = Findings(Path(folder))

    def once(data: bytes) -> None:
        try:
            target(data)
        except Exception as error:
            findings.keep(data, error)

    change = {}
    if targets.TARGETS[name][2]:
        change["custom_mutator"] = lambda data, longest, seed: mutate_json(data, longest, seed, atheris.Mutate)
    # To minimise a corpus libFuzzer starts itself again, by a shell: the first argument is this whole command.
    myself = shlex.join([sys.executable, str(Path(__file__).resolve()), name, folder])
    atheris.Setup([myself, *arguments], once, **change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
