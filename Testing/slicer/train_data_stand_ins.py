"""An engine that answers at once, and a panel's place, for the tests of data and plan."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAN = {
    "modalities": ["MR"],
    "labels": {"1": "Anterior", "2": "Posterior"},
    "normalization": [{"kind": "robust"}],
    "spacing": [1.0, 1.0, 1.0],
    "crop_size": [40, 56, 40],
    "patch_size": [8, 8, 8],
    "stem_stride": [2, 2, 2],
    "batch_size": 2,
    "size": "small",
    "mirror_axes": [0],
    "reasons": {"spacing": "every case has it", "crop_size": "holds the median volume"},
}


def useModuleFolders():
    """Make the libraries of the modules importable, as the application does."""
    for folder in ("TopoMAETrain", "TopoMAESegment"):
        if str(ROOT / folder) not in sys.path:
            sys.path.insert(0, str(ROOT / folder))


class StandInEngine:
    """Takes the place of `PlanProcess`; the test decides what it answers, and when."""

    def __init__(self):
        self.questions, self.cancelled = [], 0

    def __call__(self, interpreter, folder, onProgress, onFinished):
        self.onProgress, self.onFinished = onProgress, onFinished
        return self

    def start(self, question):
        self.questions.append(question)

    def cancel(self):
        self.cancelled += 1

    def answer(self, **fields):
        from TopoMAETrainLib.engine_plan import PlanAnswer

        self.onFinished(PlanAnswer(**fields))

    def accept(self, **changes):
        """Answer with the usual plan, fields changed."""
        overrides = dict(self.questions[-1].overrides)
        reasons = PLAN["reasons"] | dict.fromkeys(overrides, "set by the user")
        self.answer(plan=PLAN | {"reasons": reasons} | changes, device="CPU")


def aCase(name, labelled=True, errors=(), warnings=(), shape=(35, 51, 35)):
    from TopoMAETrainLib.engine_plan import CaseFound

    return CaseFound(name, labelled, shape, shape and (1.0, 1.0, 1.0), {1: 10}, tuple(errors), tuple(warnings))


def texts(table, row):
    """What stands in a row of a table."""
    items = [table.item(row, column) for column in range(table.columnCount)]
    return [item.text() if item is not None else "" for item in items]
