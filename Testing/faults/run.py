"""Inject faults into trainings and segmentations, and see what becomes of them.

    python Testing/faults/run.py                       all; writes docs/results/faults
    python Testing/faults/run.py --only kills          scenarios whose name holds "kills"
    python Testing/faults/run.py --quick --output DIR  few of each kind

Needs Linux or macOS (forks). As root, disks are mounted that are full or can only be read; otherwise those scenarios
make do with the limits that the system offers. Exit code 1 if anything was lost, different or not told clearly.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import children  # first: it decides the number of threads
import torch
from records import Fault, Left, markdown, table
from scenarios import SCENARIOS
from world import World

_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "faults"


def main() -> int:
    """Play the scenarios; return the exit code."""
    options = _options()
    began = time.monotonic()
    names = [name for name in SCENARIOS if not options.only or any(part in name for part in options.only)]
    shares = [share for n in range(options.jobs) if (share := names[n :: options.jobs])]
    if len(shares) > 1:
        with ThreadPoolExecutor(len(shares)) as jobs:
            parts = [options.output / f"part{n}" for n in range(len(shares))]
            played = list(jobs.map(lambda share, part: _play_apart(share, options, part), shares, parts))
        faults, left = ([one for part in played for one in part[n]] for n in (0, 1))
    else:
        faults, left = _play(names, options, began)
    faults.sort(key=lambda fault: _order(fault.scenario))
    _write(options, began, faults, left)
    bad = [fault for fault in faults if not fault.survived]
    print(f"{len(faults)} faults, {len(bad)} not survived")
    return 1 if bad or not faults else 0


def _play(names: list[str], options: argparse.Namespace, began: float) -> tuple[list[Fault], list[Left]]:
    """Play scenarios one after the other, and print what becomes of each fault."""
    children.small_networks()
    faults: list[Fault] = []
    left: list[Left] = []
    with tempfile.TemporaryDirectory(prefix="topomae-faults-", dir=options.work) as root:
        world = World(Path(root), options.seed, quick=options.quick)
        for name in names:
            for one in SCENARIOS[name](world):
                one.scenario = name
                outcome = f"left out: {one.reason}" if isinstance(one, Left) else one.problem or "survived"
                about = "" if isinstance(one, Left) else f"{one.kind}, {one.target}, {one.where}: "
                print(f"{time.monotonic() - began:7.1f} s  {name}: {about}{outcome}", flush=True)
                (left if isinstance(one, Left) else faults).append(one)
            _write(options, began, faults, left)  # in case that this does not come to its end
    return faults, left


def _play_apart(names: list[str], options: argparse.Namespace, output: Path) -> tuple[list[Fault], list[Left]]:
    """The same in a process of its own, which writes into `output`."""
    command = [sys.executable, __file__, "--seed", str(options.seed), "--output", str(output)]
    command += [part for name in names for part in ("--only", name)]
    command += ["--quick"] if options.quick else []
    command += ["--work", str(options.work)] if options.work else []
    subprocess.run(command, check=False)
    content = json.loads((output / "faults.json").read_text(encoding="utf-8"))
    shutil.rmtree(output)
    return [Fault(**fault) for fault in content["faults"]], [Left(**one) for one in content["left_out"]]


def _order(scenario: str) -> int:
    return list(SCENARIOS).index(scenario)


def _write(options: argparse.Namespace, began: float, faults: list[Fault], left: list[Left]) -> None:
    """Write what is known up to now."""
    about = {
        "command": "python Testing/faults/run.py"
        + (" --quick" if options.quick else "")
        + (f" --jobs {options.jobs}" if options.jobs > 1 else ""),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}",
        "minutes": round((time.monotonic() - began) / 60, 1),
        "seed": options.seed,
    }
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        **about,
        "table": table(faults),
        "left_out": [vars(one) for one in left],
        "faults": [fault.plain() for fault in faults],
    }
    (folder / "faults.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(markdown(faults, left, about), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="PART", help="scenarios whose name holds PART")
    parser.add_argument("--quick", action="store_true", help="few faults of each kind")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios played at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for the runs (default: the system's temporary one)")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="where faults.json and README.md go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
