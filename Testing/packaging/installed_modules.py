"""Run by test_installed.py in a process of its own: use both modules from an installed folder, on the harness.

python installed_modules.py FOLDER    prints, as JSON, where things were found
"""

import importlib
import json
import sys
from pathlib import Path

import harness

MODULES = ("TopoMAESegment", "TopoMAETrain")


def main(folder: Path) -> dict:
    """Load both modules as the application does and import every Python file of theirs.

    Args:
        folder: the installed `qt-scripted-modules`.

    Returns: files of all that was imported, and where the modules find the engine and the list of its requirements.
    """
    harness.start()
    for name in MODULES:
        harness.load(name, folder)
    harness.pump()
    for path in sorted(folder.glob("TopoMAE*/**/*.py")):
        importlib.import_module(".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"))
    interpreter = importlib.import_module("TopoMAELib.interpreter")
    found = {
        "files": {name: module.__file__ for name, module in sys.modules.items() if name.startswith("TopoMAE")},
        "engine": interpreter.engineFolder(),
        "requirements": str(interpreter.REQUIREMENTS),
    }
    for name in reversed(MODULES):
        harness.unload(name)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
