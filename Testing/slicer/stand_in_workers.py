"""Workers that misbehave: a package `topomae` whose `python -m topomae worker` does as a test wants."""

import os
import sys
import textwrap
from pathlib import Path

import harness

harness.start()
MODULE_FOLDER = str(Path(__file__).resolve().parents[2] / "TopoMAESegment")
if MODULE_FOLDER not in sys.path:  # the application does this for the modules that it knows
    sys.path.append(MODULE_FOLDER)

# What every stand-in can use. `answer` speaks the protocol; `requests` gives what is asked, until stdin ends.
_PROTOCOL = """
import json, os, sys, time

def answer(event, number=None, **fields):
    print(json.dumps({"event": event, "id": number, **fields}), flush=True)

def ready(**fields):
    print(json.dumps({"event": "ready", "protocol": 1, "pid": os.getpid(), "versions": {}, **fields}), flush=True)

def requests():
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            return
        yield request

assert sys.argv[1:] == ["worker"]
"""

POLITE = """
ready()
for request in requests():
    if request["do"] != "cancel":
        answer("progress", request["id"], phase="work", fraction=0.5, seconds_left=1.5)
        answer("warning", request["id"], message="only a stand-in")
        answer("result", request["id"], pid=os.getpid(), given=request.get("given"))
"""

# Does "slow" requests only when it is told to cancel them, and others at once.
PATIENT = """
ready()
for request in requests():
    if request["do"] == "cancel":
        answer("cancelled", request["request"])
    elif request["do"] != "slow":
        answer("result", request["id"], pid=os.getpid())
"""


def standInWorker(folder, script, program=sys.executable, origin="setting"):
    """Make an interpreter whose engine is a script.

    Args:
        folder: an empty folder for it.
        script: what `python -m topomae worker` does.
        program: the Python, or a launcher of it.
        origin: how the interpreter was found.

    Returns: an `Interpreter`.
    """
    from TopoMAELib.interpreter import Interpreter

    package = folder / "topomae"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(_PROTOCOL + textwrap.dedent(script))
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    return Interpreter(str(program), str(folder), environment, origin)


def launcher(folder):
    """A program that starts Python as its child and waits for it, as PythonSlicer does.

    Args:
        folder: where to write it.

    Returns: its path.
    """
    program = folder / "PythonStandIn"
    program.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent("""
            import subprocess, sys
            code = subprocess.run([sys.executable, *sys.argv[1:]]).returncode
            if code < 0:
                print("error: [python-real] exit abnormally - Report the problem.", file=sys.stderr)
            sys.exit(1 if code < 0 else code)
        """)
    )
    program.chmod(0o755)
    return program


def isAlive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends between the opening and the reading
        return False
