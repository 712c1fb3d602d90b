"""Run the module tests inside the real Slicer application.

    SLICER_EXECUTABLE=/path/to/Slicer python Testing/slicer/run_in_application.py [options of pytest]

Starts the application without a window, with both modules on its module path, and runs pytest in it; pytest must be
installed there (`PythonSlicer -m pip install pytest pytest-timeout`). The exit code is pytest's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parents[1]
OPTIONS = "TOPOMAE_PYTEST_OPTIONS"  # an environment variable, because Slicer takes options of its own


def startApplication(options: list[str]) -> int:
    """Start Slicer with this script; returns its exit code."""
    executable = os.environ.get("SLICER_EXECUTABLE")
    if not executable:
        print("The environment variable SLICER_EXECUTABLE must name the Slicer program.")
        return 2
    if not Path(executable).is_file():
        print(f"SLICER_EXECUTABLE names {executable}, which is not there.")
        return 2
    modules = [str(REPOSITORY / name) for name in ("TopoMAESegment", "TopoMAETrain")]
    command = [executable, "--no-splash", "--no-main-window", "--testing", "--additional-module-paths", *modules]
    command += ["--python-script", str(Path(__file__).resolve())]
    return subprocess.run(command, env={**os.environ, OPTIONS: json.dumps(options)}).returncode


def runTests() -> int:
    """Inside the application: run pytest; returns its exit code."""
    try:
        import pytest
    except ImportError:
        print("pytest is missing in Slicer's Python: PythonSlicer -m pip install pytest pytest-timeout")
        return 2
    options = json.loads(os.environ.get(OPTIONS, "[]"))
    named = any(not option.startswith("-") for option in options)
    return int(pytest.main([*options, *([] if named else [str(TESTS)]), "-p", "no:cacheprovider"]))


if __name__ == "__main__":
    if OPTIONS in os.environ:
        import slicer

        slicer.util.exit(runTests())
    else:
        sys.exit(startApplication(sys.argv[1:]))
