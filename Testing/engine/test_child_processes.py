"""Child processes open no window: under Windows a program without a console of its own flashes one otherwise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("topomae", "TopoMAESegment", "TopoMAETrain")
STARTERS = {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"}
# Ways that take no flags. The modules start everything else by QProcess, which opens no console for a window's child.
FORBIDDEN = re.compile(r"os\.(system|popen|spawn\w*)|.*\.(startDetached|create_subprocess_(exec|shell))")


def calls() -> Iterator[tuple[str, str, ast.Call, str]]:
    """(place, what is called, the call, source of the function or file around it) of engine and modules."""
    for path in sorted(one for part in PARTS for one in (REPOSITORY / part).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", f"{owner}.{node.func.attr}", node, text


def test_every_child_process_is_started_without_a_window():
    started, wrong = 0, []
    for place, name, call, text in calls():
        owner, _, attribute = name.partition(".")
        if owner == "subprocess" and attribute in STARTERS:
            started += 1
            flags = [ast.unparse(one.value) for one in call.keywords if one.arg == "creationflags"]
            by_parts = any(one.arg is None for one in call.keywords) and '"creationflags": ' in text
            if not (by_parts or any("CREATE_NO_WINDOW" in one for one in flags)) or "CREATE_NO_WINDOW" not in text:
                wrong.append(place)
        elif FORBIDDEN.fullmatch(name):
            wrong.append(f"{place} ({name})")
    assert started >= 5
    assert not wrong
