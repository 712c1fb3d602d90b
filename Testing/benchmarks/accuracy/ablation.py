"""What each part of the method brings, and what it costs in time, with few labels.

    python Testing/benchmarks/accuracy/ablation.py --protocol hippocampus --labelled 8 16
    python Testing/benchmarks/accuracy/ablation.py --protocol left_atrium --labelled 8 --device cuda --size base \\
        --pretraining-steps 20000 --steps 10000 --seeds 0 1 2

Every variant takes the same number of steps, so that the time of a step tells what a part costs: processor time on
a CPU, wall time on a GPU. Variants that only differ in fine-tuning share their pre-training. Cases, choice of weights
and scores are those of the two protocols.

Written to the output folder: cells/*.json (one for each training), results.json, results.md, results.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hippocampus
import left_atrium
import numpy as np
from engine_methods import Conditions, EngineMethod
from protocol import Cell, Study, run_in_own_process
from tables import picture, spread
from voxel_metrics import scores_in_voxels_and_mm

from topomae.files import write_json_atomic, write_text_atomic

_NO_KEY_POINTS = {"spatial_weight": 0, "spatial_consistency_weight": 0}


@dataclass(frozen=True)
class Variant:
    """What differs from the defaults.

    Attributes:
        meaning: in words.
        pretraining: settings of pre-training; None leaves it out.
        finetuning: settings of fine-tuning.
    """

    meaning: str
    pretraining: Mapping[str, Any] | None = field(default_factory=dict)
    finetuning: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shared_pretraining(self) -> str:
        """A name that variants with the same pre-training have in common."""
        return "-".join(f"{name}={value}" for name, value in sorted((self.pretraining or {}).items())) or "all"


VARIANTS = {
    "all": Variant("all parts (λ1 = 0.5)"),
    "scratch": Variant("no pre-training", pretraining=None),
    "no-topology": Variant("no topological loss (λ1 = 0)", {"topology_weight": 0}),
    "topology-0.1": Variant("λ1 = 0.1", {"topology_weight": 0.1}),
    "topology-1": Variant("λ1 = 1", {"topology_weight": 1}),
    "no-key-points": Variant("no key points", _NO_KEY_POINTS),
    "no-key-point-consistency": Variant("no consistency of the key points", {"spatial_consistency_weight": 0}),
    "no-image-consistency": Variant("no consistency of the reconstructions", {"reconstruction_consistency_weight": 0}),
    "reconstruction": Variant(
        "reconstruction alone", {"topology_weight": 0, **_NO_KEY_POINTS, "reconstruction_consistency_weight": 0}
    ),
    "vit-weights": Variant("only the ViT's weights are taken over", finetuning={"initialization": "vit-only"}),
    "unetrpp-weights": Variant("only UNETR++'s weights are taken over", finetuning={"initialization": "unetrpp-only"}),
    "unetrpp": Variant("UNETR++ alone, pre-trained", finetuning={"architecture": "unetrpp"}),
    "unetrpp-scratch": Variant("UNETR++ alone, from scratch", None, {"architecture": "unetrpp"}),
    "multi-scale": Variant("ViT added to all four stages", finetuning={"fused_stages": (0, 1, 2, 3)}),
}


def main() -> None:
    """Compute the cells that are missing; write the tables after each."""
    given = parsed_arguments()
    study = study_of(given)
    if given.cell:
        name, labelled, seed = given.cell
        study.cell(Cell(name, int(labelled), int(seed)), method(name, given))
        return
    for seed in given.seeds:
        for labelled in given.labelled:
            for name in given.variants:
                cell = Cell(name, labelled, seed)
                if not study.path(cell).exists():
                    print(f"{name}, {labelled} labelled cases, seed {seed}", flush=True)
                    run_in_own_process(__file__, sys.argv[1:], cell)
                write_ablation(study.rows(), given.output)


def parsed_arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=("hippocampus", "left_atrium"), default="hippocampus")
    parser.add_argument("--data", type=Path, help="folder of the data set")
    parser.add_argument("--output", type=Path, help="folder for everything that is written")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--labelled", nargs="+", type=int, default=[8], help="labelled training cases")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one cell for each")
    parser.add_argument("--pretraining-steps", type=int, default=500, help="of every pre-training")
    parser.add_argument("--steps", type=int, default=1000, help="of every fine-tuning")
    parser.add_argument("--validations", type=int, default=4, help="in each fine-tuning, to choose its weights by")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train")
    parser.add_argument("--size", choices=("small", "base"), default="small", help="of the networks")
    parser.add_argument("--cell", nargs=3, metavar=("VARIANT", "LABELLED", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.output = given.output or Path(f"results/ablation_{given.protocol}")
    return given


def study_of(given: argparse.Namespace) -> Study:
    """The protocol asked for, with its scores."""
    names = ("device", "size", "steps", "pretraining_steps", "validations")
    about = {name: getattr(given, name) for name in names}
    if given.protocol == "hippocampus":
        return Study(hippocampus.protocol(given.data or hippocampus.DATA), given.output, about)
    protocol = left_atrium.protocol(given.data or left_atrium.DATA, validation=False)
    return Study(protocol, given.output, about, scores_in_voxels_and_mm)


def method(name: str, given: argparse.Namespace) -> EngineMethod:
    """How a variant trains."""
    variant = VARIANTS[name]
    conditions = Conditions(
        folder=given.output,
        device=given.device,
        size=given.size,
        budget=None,
        steps=given.steps,
        pretraining_steps=given.pretraining_steps,
        validations=given.validations,
    )
    return EngineMethod(
        conditions, variant.pretraining, variant.finetuning, shared_pretraining=variant.shared_pretraining
    )


def write_ablation(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write results.json, results.md and results.png."""
    write_json_atomic(folder / "results.json", {"rows": list(rows)}, indent=1)
    write_text_atomic(folder / "results.md", ablation_table(rows))
    names = {name: variant.meaning for name, variant in VARIANTS.items()}
    picture(rows, folder / "results.png", "Parts of the method", names=names, bars=True)


def ablation_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: Dice, what is lost without the part, and seconds of a step of either training."""
    head = ["labelled", "variant", "Dice", "against all parts", "HD95 (mm)", "s per pre-training step", "s per step"]
    lines = [head, ["---"] * len(head)]
    for labelled in sorted({row["labelled"] for row in rows}):
        whole = _by_seed(rows, "all", labelled)
        for name, variant in VARIANTS.items():
            found = _by_seed(rows, name, labelled)
            if not found:
                continue
            paired = [found[seed]["scores"]["dice"] - whole[seed]["scores"]["dice"] for seed in found if seed in whole]
            before = [_per_step(row["pretraining"]) for row in found.values() if row["pretraining"]["steps"]]
            lines.append(
                [
                    str(labelled),
                    variant.meaning,
                    spread([row["scores"]["dice"] for row in found.values()]),
                    f"{np.mean(paired):+.3f}" if paired else "–",
                    spread([row["scores"]["hd95_mm"] for row in found.values()], 2),
                    f"{np.mean(before):.3f}" if before else "–",
                    f"{np.mean([_per_step(row['training']) for row in found.values()]):.3f}",
                ]
            )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _by_seed(rows: Sequence[dict[str, Any]], name: str, labelled: int) -> dict[int, dict[str, Any]]:
    return {row["seed"]: row for row in rows if (row["method"], row["labelled"]) == (name, labelled)}


def _per_step(part: dict[str, Any]) -> float:
    return part["seconds"] / part["steps"]


if __name__ == "__main__":
    main()
