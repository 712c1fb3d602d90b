"""Fuzz our parsers by coverage: `python Testing/fuzz/run.py --seconds 600`.

Needs atheris, which has wheels for Linux only and is therefore no part of the extra `test`:
`pip install atheris==3.0.0`. The kept corpus is replayed without it by `Testing/engine/test_fuzz_corpus.py`.

Targets take turns, a slice of time each, so that all have had about the same when it is interrupted. What
is found in between lies in `build/fuzz` (git ignores it); findings of misbehaviour in `build/fuzz/findings`.
With `--keep` the corpus of every target is minimised into `Testing/fuzz/corpus` at the end, and what was done
is written to `docs/results/fuzzing`.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from fuzz import corpora, results, seeds, targets  # noqa: E402

_MEGABYTES = 1500  # of one process, its libraries included: inputs are of some kilobytes
_TIMEOUT = 10  # seconds that one input may take
_SHARED_MEMORY = "/dev/shm"
_KEPT = 60_000  # bytes of corpus per target in the repository


def main() -> int:
    """Fuzz, minimise and report; the exit code is 1 if a parser misbehaved."""
    arguments = _arguments()
    work = arguments.work.resolve()
    names = arguments.targets or list(targets.TARGETS)
    done = results.load(work)
    while True:
        name = min(names, key=lambda one: done.get(one, {}).get("seconds", 0))
        left = arguments.seconds - done.get(name, {}).get("seconds", 0)
        if left <= 0:
            break
        told = fuzz(name, work, max(5, min(arguments.slice, left)))
        results.add(done, name, told)
        results.save(work, done)
        print(name, told, flush=True)
    found = sorted(path.name for path in (work / "findings").glob("*/*.input"))
    if not arguments.keep:
        return 1 if found else 0
    for name in names:
        inputs, covered = minimise(name, work)
        whole = done.setdefault(name, {})
        whole |= {"inputs": corpora.pack(name, inputs, _KEPT), "coverage": max(covered, whole.get("coverage", 0))}
        results.save(work, done)
    results.publish(done, len(found), REPOSITORY / "docs" / "results" / "fuzzing")
    return 1 if found else 0


def fuzz(name: str, work: Path, seconds: float) -> dict[str, float]:
    """One slice of fuzzing; what libFuzzer says of it."""
    corpus = work / "corpus" / name
    corpora.unpack([*seeds.seeds(name), *corpora.kept_inputs(name)], corpus)
    findings = work / "findings" / name
    findings.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds:.0f}",
        f"-max_len={targets.TARGETS[name][1]}",
        f"-timeout={_TIMEOUT}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={findings}/native-",
        "-print_final_stats=1",
    ]
    began, before = time.monotonic(), _seconds_of_children()
    told, output = _run([name, str(findings), *options, str(corpus)], seconds + 120)
    for artifact in findings.glob("native-*"):
        if artifact.suffix != ".input":
            artifact.with_suffix(".txt").write_text(output[-4000:], encoding="utf-8")
            artifact.rename(artifact.with_suffix(".input"))
    took = round(min(seconds, time.monotonic() - began), 1)  # less where the process ended early
    return {"seconds": took, "processor_seconds": round(_seconds_of_children() - before, 1), **told}


def minimise(name: str, work: Path) -> tuple[list[bytes], int]:
    """A small set of inputs that covers what the whole corpus does, and how many edges that is."""
    corpus, small = work / "corpus" / name, work / "small" / name
    if not corpus.exists():
        return corpora.kept_inputs(name), 0
    small.mkdir(parents=True, exist_ok=True)
    for old in small.iterdir():
        old.unlink()
    limits = [f"-max_len={targets.TARGETS[name][1]}", f"-rss_limit_mb={_MEGABYTES}", "-merge=1"]
    _, output = _run([name, str(work / "findings" / name), *limits, str(small), str(corpus)], 900)
    covered = re.findall(r"cov: (\d+)", output) or re.findall(r"(\d+) new coverage edges", output)
    return [path.read_bytes() for path in small.iterdir()], int(covered[-1]) if covered else 0


def _run(arguments: list[str], patience: float) -> tuple[dict[str, float], str]:
    """Run a fuzzing process; its last numbers, and all it said."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(HERE / "fuzz_one.py"), *arguments]
    # In memory, where the system has such a place; libFuzzer ends its process without any cleaning up.
    with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if Path(_SHARED_MEMORY).is_dir() else None) as folder:
        environment["TMPDIR"] = folder
        try:
            process = subprocess.run(command, env=environment, capture_output=True, timeout=patience, check=False)
            output = (process.stderr + process.stdout).decode("utf-8", "replace")
        except subprocess.TimeoutExpired as expired:
            output = (expired.stderr or b"").decode("utf-8", "replace")
    numbers = {
        "executions": re.findall(r"(?:stat::number_of_executed_units: *|^#)(\d+)", output, re.M),
        "coverage": re.findall(r"cov: (\d+)", output),
        "features": re.findall(r"ft: (\d+)", output),
        "peak_mb": re.findall(r"stat::peak_rss_mb: *(\d+)", output) or re.findall(r"rss: (\d+)Mb", output),
    }
    return {name: int(found[-1]) for name, found in numbers.items() if found}, output


def _seconds_of_children() -> float:
    """Time on a processor of the fuzzing processes so far: on a busy machine far less than the clock says."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of: {', '.join(targets.TARGETS)}")
    parser.add_argument("--seconds", type=float, default=600, help="for each target, earlier runs included")
    parser.add_argument("--slice", type=float, default=120, help="seconds until it is another target's turn")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "fuzz", help="where inputs are collected")
    parser.add_argument("--keep", action="store_true", help="minimise into Testing/fuzz/corpus, report to docs")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(targets.TARGETS):
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
