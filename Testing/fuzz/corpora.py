"""The corpus of a target in the repository: one text file, an input in base64 per line."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def packed_file(target: str) -> Path:
    """Where the inputs of a target are kept."""
    return CORPUS / target / "inputs.base64"


def kept_inputs(target: str) -> list[bytes]:
    """The inputs kept of earlier fuzzing, shortest first; none if there was none."""
    file = packed_file(target)
    return [base64.b64decode(line) for line in file.read_text(encoding="ascii").splitlines()] if file.exists() else []


def pack(target: str, inputs: list[bytes], at_most: int) -> int:
    """Keep inputs, the shortest first as long as the file has at most so many bytes; returns how many."""
    lines: list[str] = []
    size = 0
    for content in sorted(set(inputs), key=lambda one: (len(one), one)):
        line = base64.b64encode(content).decode("ascii")
        size += len(line) + 1
        if size > at_most:
            break
        lines.append(line)
    packed_file(target).parent.mkdir(parents=True, exist_ok=True)
    packed_file(target).write_text("".join(line + "\n" for line in lines), encoding="ascii", newline="\n")
    return len(lines)


def unpack(inputs: list[bytes], folder: Path) -> None:
    """Write inputs as files named by their content."""
    folder.mkdir(parents=True, exist_ok=True)
    for content in inputs:
        (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)
