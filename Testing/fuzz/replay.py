"""Give a target its seeds and the inputs kept of fuzzing once more, without atheris: `python replay.py TARGET`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import slicer_stub, targets
from fuzz.behaviour import inputs_of, misbehaviour

if __name__ == "__main__":
    if sys.argv[1] in targets.NEEDS_SLICER:
        slicer_stub.install()
    found = misbehaviour(targets.load(sys.argv[1]), inputs_of(sys.argv[1]))
    sys.stderr.write("\n".join(found)[-5000:])
    sys.exit(1 if found else 0)
