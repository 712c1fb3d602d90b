"""Kills, full disks, damaged checkpoints and rivals: a few of each; `Testing/faults/run.py` injects many more."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from topomae.errors import RunError
from topomae.files import atomic_path, temporary_path
from topomae.runs.checkpoints import Checkpoints
from topomae.runs.leftovers import remove_abandoned
from topomae.runs.locks import Lock

FAULTS = Path(__file__).resolve().parents[1] / "faults"
SCENARIOS = ("random kills", "limited files", "damaged checkpoints", "frozen process", "no memory")

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="the faults are injected into forked processes")


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> list[dict]:
    """What became of the faults of the chosen scenarios, played in a process that can be forked."""
    folder = tmp_path_factory.mktemp("faults")
    chosen = [part for name in SCENARIOS for part in ("--only", name)]
    command = [sys.executable, str(FAULTS / "run.py"), "--quick", *chosen, "--output", str(folder)]
    played = subprocess.run(
        [*command, "--work", str(folder)], capture_output=True, text=True, timeout=590, check=False
    )
    assert (folder / "faults.json").exists(), played.stderr[-3000:]
    assert "not survived" in played.stdout
    return json.loads((folder / "faults.json").read_text(encoding="utf-8"))["faults"]


@posix
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_run_is_lost_and_no_result_differs(faults, scenario):
    played = [fault for fault in faults if fault["scenario"] == scenario]
    assert len(played) >= 2
    assert not [fault for fault in played if fault.keys() & {"lost", "different", "unclear"}]


@posix
def test_kills_hit_trainings_and_segmentations_in_the_middle(faults):
    killed = {(fault["target"], fault["where"]) for fault in faults if fault["scenario"] == "random kills"}
    assert {target for target, _ in killed} == {"pretrain", "finetune", "segment"}
    assert any(where.startswith("after ") for _, where in killed)


def test_a_damaged_best_model_comes_back_from_its_copy(tmp_path):
    checkpoints, warnings = Checkpoints(tmp_path), []
    for step in (1, 2):
        saved = checkpoints.save({"at": step}, "best", step).path
    checkpoints.save({"at": 3}, "last", 3)
    saved.write_bytes(saved.read_bytes()[:-1])
    for _ in range(2):  # the second time nothing is wrong any more
        assert checkpoints.load("best", warnings.append) == ({"at": 2}, 2)
    assert len(warnings) == 1 and saved.name in warnings[0]
    checkpoints.forget_after(0)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".damaged"}


def test_an_array_that_a_full_disk_cuts_short_is_told_as_such(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with (
            pytest.raises(RunError, match=r"cannot write.*Free some space"),
            atomic_path(tmp_path / "array.npy") as temporary,
            temporary.open("wb") as file,
        ):
            np.lib.format.write_array(file, np.zeros(10_000), allow_pickle=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@posix
def test_the_comparison_sees_one_other_byte_and_half_a_file(tmp_path):
    """Else the suite could not fail."""
    code = (
        "import sys; from pathlib import Path; from comparison import difference, integrity, leftovers\n"
        "one, other = map(Path, sys.argv[1:])\n"
        "print(difference('segment', one, other), integrity('segment', other), leftovers(other), sep=',')"
    )

    def compared() -> str:
        command = [sys.executable, "-c", code, str(tmp_path / "one"), str(tmp_path / "other")]
        return subprocess.run(command, capture_output=True, text=True, cwd=FAULTS, check=True).stdout.strip()

    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "case.nii.gz").write_bytes(gzip.compress(b"labels"))
    assert compared() == ",,"
    (tmp_path / "other" / "case.nii.gz").write_bytes(gzip.compress(b"lavels"))
    (tmp_path / "other" / "second.nii.gz").write_bytes(gzip.compress(b"labels")[:-3])
    (tmp_path / "one" / "second.nii.gz").write_bytes(b"")
    (tmp_path / "other" / ".tmp-1").touch()
    seen = compared()
    assert "case.nii.gz is another one" in seen
    assert "second.nii.gz is half a file" in seen
    assert "left behind: .tmp-1" in seen


def test_a_lock_that_cannot_be_read_just_now_is_not_lost(tmp_path):
    lock = Lock(tmp_path / "lock")
    content = (tmp_path / "lock").read_bytes()
    (tmp_path / "lock").write_bytes(b"")  # such as a network drive gives it now and then
    lock.check()
    (tmp_path / "lock").write_bytes(content)
    lock.check()
    (tmp_path / "lock").unlink()
    other = Lock(tmp_path / "lock")
    with pytest.raises(RunError, match="taken over"):
        lock.check()
    other.check()


@posix
def test_only_temporary_files_of_dead_writers_of_this_machine_are_removed(tmp_path):
    code = "import sys; from topomae.files import temporary_path; from pathlib import Path; "
    code += "temporary_path(Path(sys.argv[1])).touch()"
    target = tmp_path / "case.nii.gz"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True, cwd=FAULTS.parents[1])
    (dead,) = tmp_path.iterdir()
    machine = dead.name.split("-")[1]
    other = "0" * 6 if machine != "0" * 6 else "1" * 6
    elsewhere = dead.with_name(dead.name.replace(machine, other))
    elsewhere.touch()
    (tmp_path / ".tmp-volumes.csv").touch()  # of another program
    alive = temporary_path(target)
    alive.touch()
    target.touch()
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {target.name, alive.name, elsewhere.name, ".tmp-volumes.csv"}
    remove_abandoned(tmp_path / "missing")
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        remove_abandoned(tmp_path)
    assert target.read_text() == "whole"
