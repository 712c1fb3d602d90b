"""The floors of the engine: an import only ever points down."""

from __future__ import annotations

import ast
from pathlib import Path

import topomae

ROOT = Path(topomae.__file__).parent
# From the ground up. A floor may import what is below it, and its neighbours on the same line.
FLOORS = (
    ("harmless",),
    ("errors",),
    ("files", "bounded_reading", "config", "versions"),
    ("events", "console"),
    ("data", "topology", "parallel"),
    ("networks", "recipes"),
    ("alignment", "classification"),
    ("models",),
    ("runs",),
    ("inference", "exporting"),
    ("evaluation",),
    ("training",),
    ("reporting", "doctor"),
    ("course", "reproduction"),
    ("__init__",),
    ("worker",),
    ("commands",),
    ("cli",),
    ("__main__",),
)


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


def is_left_behind(path: Path) -> bool:
    """Whether a file is no part of the engine: caches, and what says that there are types or what is packaged."""
    return path.name in {"__pycache__", "py.typed", "CMakeLists.txt"}


def test_every_part_has_its_floor():
    there = {path.stem if path.suffix == ".py" else path.name for path in ROOT.iterdir() if not is_left_behind(path)}
    assert there == {name for floor in FLOORS for name in floor}


def test_imports_point_down():
    height = {name: level for level, floor in enumerate(FLOORS) for name in floor}
    wrong = []
    for path in ROOT.rglob("*.py"):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        above = sorted(name for name in imports_of(path) if height.get(name, -1) > height[part])
        if above:
            wrong.append(f"{path.relative_to(ROOT)} imports {', '.join(above)}")
    assert not wrong


def test_the_ground_knows_no_runs_and_no_settings():
    """What reads data, measures topology and builds networks is of use without the rest."""
    ground = {"harmless", "errors", "files", "bounded_reading", "data", "topology", "networks", "alignment"}
    for part in ("data", "topology", "networks", "alignment"):
        for path in (ROOT / part).rglob("*.py"):
            assert imports_of(path) <= ground, path


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
