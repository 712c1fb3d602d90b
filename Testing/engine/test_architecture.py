"""The floors of the engine: an import only ever points down."""

from __future__ import annotations

import ast
from pathlib import Path

import topomae

ROOT = Path(topomae.__file__).parent
GROUND = {"data": {"errors", "files", "data"}}
GROUND["topology"] = GROUND["data"] | {"topology"}
GROUND["networks"] = GROUND["topology"] | {"networks"}
GROUND["alignment"] = GROUND["networks"] | {"alignment"}


def imports_of(path: Path) -> set[str]:
    """The parts of topomae that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("topomae."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "topomae":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("topomae.")}
    return names


def test_imports_point_down():
    wrong = [
        f"{path.relative_to(ROOT)} imports {', '.join(sorted(extra))}"
        for floor, allowed in GROUND.items()
        for path in (ROOT / floor).rglob("*.py")
        if (extra := imports_of(path) - allowed)
    ]
    assert not wrong


def test_the_worker_is_on_the_top_floor_beside_the_command_line():
    above = {"cli.py", "__main__.py", "commands", "worker"}
    below = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in above]
    assert not [str(path.relative_to(ROOT)) for path in below if imports_of(path) & {"cli", "commands", "worker"}]
    assert not [path.name for path in (ROOT / "worker").glob("*.py") if imports_of(path) & {"cli", "commands"}]


def test_the_engine_knows_nothing_of_slicer():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules.append(node.module)
            assert not {name.split(".")[0] for name in modules} & {"slicer", "qt", "ctk", "vtk"}, path


def test_files_have_one_purpose():
    long = {
        path.name: count for path in ROOT.rglob("*.py") if (count := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert not long
