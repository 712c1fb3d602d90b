"""Protocol L: the left atrium with 8 or 16 labels of 80, as the literature on few labels has it.

    python Testing/benchmarks/accuracy/left_atrium.py --device cuda --size base --budget-minutes 120
    python Testing/benchmarks/accuracy/left_atrium.py --steps 4 --labelled 8 --methods dynunet

Training and test cases are those of UA-MT's lists, the labelled ones the first 8 or 16 of its training list, and
pre-training sees the images of all 80. Like the literature, nothing is chosen by validation: the last weights are
tested. With --validation the last 8 of the 80 are labelled validation cases, which is no longer that protocol. Test
scores are given in voxels, as published numbers are, and in mm.

Written to the output folder: cells/*.json (one for each training), results.json, results.md, results.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from methods import about, common_arguments, conditions, method
from protocol import REPOSITORY, Cell, Protocol, Study, run_in_own_process
from tables import write_results
from voxel_metrics import scores_in_voxels_and_mm

DATA = REPOSITORY.parent / "shared" / "data" / "left_atrium"
LABELLED = (8, 16)


def main() -> None:
    """Compute the cells that are missing; write the tables after each."""
    given = parsed_arguments()
    shared = about(given) | {"validation": given.validation}
    study = Study(protocol(given.data, given.validation), given.output, shared, scores_in_voxels_and_mm)
    if given.cell:
        name, labelled, seed = given.cell
        cell = Cell(name, int(labelled), int(seed))
        study.cell(cell, method(name, conditions(given), given.nnunet_python))
        return
    for seed in given.seeds:
        for labelled in given.labelled:
            for name in given.methods:
                cell = Cell(name, labelled, seed)
                if not study.path(cell).exists():
                    print(f"{name}, {labelled} labelled cases, seed {seed}", flush=True)
                    run_in_own_process(__file__, sys.argv[1:], cell)
                write_results(study.rows(), given.output, title="Left atrium")


def parsed_arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_arguments(parser, data=DATA, output=Path("results/accuracy_left_atrium"))
    parser.add_argument("--labelled", nargs="+", type=int, default=list(LABELLED), help="labelled cases of the 80")
    parser.add_argument("--validation", action="store_true", help="choose weights by 8 more labelled cases")
    return parser.parse_args()


def protocol(data: Path, validation: bool) -> Protocol:
    """UA-MT's lists, which the data set's splits.json holds."""
    split = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    train = split["train"] if validation else split["literature_train_80"]
    for labelled in LABELLED:
        if train[:labelled] != split[f"labelled_{labelled}"]:
            raise ValueError(f"the first {labelled} training cases are not labelled_{labelled} of splits.json")
    val = split["val"] if validation else ()
    return Protocol("left atrium", data, tuple(train), tuple(val), tuple(split["literature_test_20"]))


if __name__ == "__main__":
    main()
