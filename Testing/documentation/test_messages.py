"""The messages that the page of troubles quotes are those of the program."""

from __future__ import annotations

import ast
import re

from documents import DOCS, REPOSITORY

_QUOTED = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def texts_of_the_program():
    """Every text in the program's code, on a line of its own; what is filled in later becomes a new line."""
    found = []
    for path in [REPOSITORY / "dev.py", *(REPOSITORY / "topomae").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_quoted_messages_are_those_of_the_program():
    texts = texts_of_the_program()
    quoted = _QUOTED.findall((DOCS / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(quoted) >= 40
    missing = [
        f"{message!r}: {part!r}"
        for message in quoted
        for part in message.split("…")
        if part.strip() and part != "nan" and part.strip() not in texts
    ]
    assert not missing, "\n".join(missing)
