"""Protocol H: the hippocampus with few labels, the same budget for every method.

    python Testing/benchmarks/accuracy/hippocampus.py --budget-minutes 30 --fractions 0.05 0.1
    python Testing/benchmarks/accuracy/hippocampus.py --device cuda --size base --budget-minutes 60 --seeds 0 1 2

The split is the data set's own, by subject. Of the training cases the first 100, 25, 10 or 5 % are labelled, each
fraction holding the next; pre-training sees the images of all of them. Weights are chosen by the validation cases;
the test cases are segmented once. Stop it at any time: the same command goes on with the cells that are missing.

Written to the output folder: cells/*.json (one for each training), results.json, results.md, results.png.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from methods import about, common_arguments, conditions, method
from protocol import REPOSITORY, Cell, Protocol, Study, run_in_own_process
from tables import write_results

from topomae.data.dataset import open_dataset

FRACTIONS = (1.0, 0.25, 0.1, 0.05)
DATA = REPOSITORY.parent / "shared" / "data" / "hippocampus"


def main() -> None:
    """Compute the cells that are missing; write the tables after each."""
    given = parsed_arguments()
    study = Study(protocol(given.data), given.output, about(given))
    if given.cell:
        name, labelled, seed = given.cell
        cell = Cell(name, int(labelled), int(seed))
        study.cell(cell, method(name, conditions(given), given.nnunet_python))
        return
    for seed in given.seeds:
        for fraction in given.fractions:
            labelled = round(fraction * len(study.protocol.train))
            for name in given.methods:
                cell = Cell(name, labelled, seed)
                if not study.path(cell).exists():
                    print(f"{name}, {labelled} labelled cases, seed {seed}", flush=True)
                    run_in_own_process(__file__, sys.argv[1:], cell)
                write_results(study.rows(), given.output, title="Hippocampus")


def parsed_arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_arguments(parser, data=DATA, output=Path("results/accuracy_hippocampus"))
    parser.add_argument("--fractions", nargs="+", type=float, default=list(FRACTIONS), help="of the labels")
    return parser.parse_args()


def protocol(data: Path) -> Protocol:
    """The split beside the data."""
    split = open_dataset(data).fixed_split
    return Protocol("hippocampus", data, split.train, split.val, split.test)


if __name__ == "__main__":
    main()
