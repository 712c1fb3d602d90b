"""Time and memory of planning and of starting a training, against the number of cases.

    python Testing/benchmarks/big_data.py --counts 100,1000,10000 --output docs/results/big_data

For each count it makes a data set of tiny volumes (some that differ, and hard links to them), and runs the command
line as a user would: `plan` twice with a cache, `pretrain` until it is stopped after some steps, and `pretrain` again
to its end. Every command is a process of its own. Beside the time by the clock stands the time of the processor,
which other work on the machine does not lengthen. Written to the output folder: big_data.json, README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np

from topomae.data.cache import PreprocessedCases
from topomae.data.checks import check_dataset
from topomae.data.dataset import open_dataset
from topomae.data.fingerprint import content_fingerprint
from topomae.data.loading import PretrainingCrops, order_of_use
from topomae.data.planning import make_plan
from topomae.data.remembered import Remembered
from topomae.data.run_data import RunData

DIFFERENT = 50  # volumes; the other files are hard links to them
SHAPE = (16, 16, 16)
STEPS, STOP_AT = 40, 20
TRAINING = (
    *("--set", "crop_size=16,16,16", "--set", "patch_size=8,8,8", "--set", "batch_size=2"),
    *("--set", f"steps={STEPS}", "--set", "topology_weight=0", "--set", "preview_every=1000"),
)
ROWS = (
    ("first plan", "plan"),
    ("second plan", "plan again"),
    ("first start of pre-training, until the first step", "start"),
    ("second start, until its first step", "start again"),
)


class Command:
    """One run of the command line, observed while it tells what it does.

    Attributes:
        seconds: by the clock, from the start of the process to its end.
        processor: seconds of the processor in the same time.
        peak_mb: most memory that the process held at a time, in MB.
        marks: (event, seconds by the clock, seconds of the processor) of each event.
    """

    def __init__(self, *arguments: object, act: Callable[[dict], None] = lambda event: None):
        began = time.monotonic()
        command = [sys.executable, "-m", "topomae", *map(str, arguments), "--events", "json", "--device", "cpu"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.marks = []
        for line in process.stdout:
            event = json.loads(line)
            self.marks.append((event, time.monotonic() - began, _processor_seconds(process.pid)))
            act(event)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"failed: {' '.join(command)}\n{self.marks[-3:]}")
        self.seconds = time.monotonic() - began
        self.processor = usage.ru_utime + usage.ru_stime
        self.peak_mb = usage.ru_maxrss / 1024

    def at(self, kind: str, **fields: object) -> tuple[float, float]:
        """Seconds by the clock and of the processor when the first such event came."""
        for event, seconds, processor in self.marks:
            if event["event"] == kind and all(event.get(name) == value for name, value in fields.items()):
                return seconds, processor
        raise SystemExit(f"no event {kind} {fields}")


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="100,1000,10000", help="numbers of cases")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    arguments = parser.parse_args()
    rows = []
    for count in map(int, arguments.counts.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(count, Path(folder)))
        print(json.dumps(rows[-1]), flush=True)
        about = {"date": date.today().isoformat(), "machine": platform.platform(), "cores": os.cpu_count()}
        arguments.output.mkdir(parents=True, exist_ok=True)
        content = {**about, "shape": SHAPE, "different": DIFFERENT, "rows": rows}
        (arguments.output / "big_data.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (arguments.output / "README.md").write_text(page(content, arguments.counts), encoding="utf-8")


def measured(count: int, folder: Path) -> dict:
    """Everything for one number of cases."""
    data, run = folder / "data", folder / "run"
    make_volumes(data / "images", count)
    found = {"cases": count}

    def keep(name: str, command: Command, marks: tuple[float, float] | None = None) -> None:
        seconds, processor = marks or (command.seconds, command.processor)
        found[name] = {
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor, 2),
            "peak_mb": round(command.peak_mb),
        }

    for name in ("plan", "plan again"):
        keep(name, Command("plan", "--data", data, "--cache", folder / "cache"))

    def stop(event: dict) -> None:
        if event["event"] == "metric" and event["step"] == STOP_AT:
            (run / "stop").touch()

    first = Command("pretrain", "--data", data, "--run", run, *TRAINING, act=stop)
    keep("start", first, first.at("progress", phase="pretrain"))
    second = Command("pretrain", "--data", data, "--run", run, *TRAINING)
    keep("start again", second, second.at("progress", phase="pretrain"))
    (before, busy_before), (after, busy_after) = (second.at("metric", phase="pretrain", step=s) for s in (30, STEPS))
    found["steps_per_second"] = round((STEPS - 30) / (after - before), 2)
    found["processor_seconds_per_step"] = round((busy_after - busy_before) / (STEPS - 30), 4)
    found["milliseconds_per_sample"] = milliseconds_per_sample(data, folder / "volumes")
    found["disk_mb"] = round(sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) / 1e6, 1)
    return found


def milliseconds_per_sample(data: Path, folder: Path, samples: int = 100) -> float:
    """Time of the processor that loading takes for each sample when the volumes have been prepared."""
    dataset = open_dataset(data)
    with Remembered(folder / "found.sqlite") as remembered:
        reports = check_dataset(dataset, dataset.cases, labels_needed=False, remembered=remembered)
        fingerprint = content_fingerprint(dataset, dataset.cases, sha256=remembered.sha256)
    dataset = RunData.of(dataset, reports, fingerprint).with_cache(dataset, folder, shared=False)
    plan = make_plan(dataset, reports, overrides={"crop_size": SHAPE, "patch_size": (8, 8, 8)})
    cases = PreprocessedCases(folder, dataset, dataset.cases, plan, with_label=False)
    crops = PretrainingCrops(cases, plan, mask_ratio=0.75, seed=0)
    for place in order_of_use(len(cases), 0, samples):
        cases.make(place)
    began = time.process_time()
    for sample in range(samples):
        crops[sample]
    return round((time.process_time() - began) / samples * 1000, 3)


def make_volumes(folder: Path, count: int) -> None:
    """Write a folder of volumes, most of them hard links."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    sources = []
    for n in range(count):
        path = folder / f"case_{n:06d}.nii"
        if n < DIFFERENT:
            values = random.normal(size=SHAPE).astype(np.float32)
            nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1.0, 1.0, 1.0])), path)
            sources.append(path)
        else:
            os.link(sources[n % DIFFERENT], path)


def page(content: dict, counts: str) -> str:
    """The results as a page."""
    rows = content["rows"]
    lines = [
        "# Very many cases",
        "",
        f"`python Testing/benchmarks/big_data.py --counts {counts} --output docs/results/big_data`, "
        f"{content['date']}, {content['cores']} cores, {content['machine']}. Volumes of 16×16×16 voxels, most of them "
        "hard links, so that this is the cost per case and not per voxel. Seconds by the clock, in brackets those of "
        "the processor (other work was done on the machine at the same time); both contain the start of Python and "
        "its libraries.",
        "",
        "| | " + " | ".join(f"{row['cases']:,} cases" for row in rows) + " |",
        "| --- |" + " ---: |" * len(rows),
    ]

    def add(title: str, cell: Callable[[dict], str]) -> None:
        lines.append(f"| {title} | " + " | ".join(map(cell, rows)) + " |")

    for title, name in ROWS:
        add(title, lambda row, name=name: f"{row[name]['seconds']:.1f} s ({row[name]['processor_seconds']:.1f})")
    for title, name in (("peak memory of the first plan", "plan"), ("peak memory of pre-training", "start")):
        add(title, lambda row, name=name: f"{row[name]['peak_mb']:,} MB")
    add(
        "steps per second (processor per step)",
        lambda row: f"{row['steps_per_second']:.2f} ({row['processor_seconds_per_step']:.3f} s)",
    )
    add("loading a sample, processor", lambda row: f"{row['milliseconds_per_sample']:.2f} ms")
    add("run folder on disk", lambda row: f"{row['disk_mb']:g} MB")
    share = max(2 * row["milliseconds_per_sample"] / 1000 / row["processor_seconds_per_step"] for row in rows)
    lines += ["", f"Loading the two samples of a step is {share:.1%} of the step's processor time at the most."]
    return "\n".join(lines) + "\n"


def _processor_seconds(pid: int) -> float:
    """Seconds of the processor that a process has used; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    main()
