"""What coverage-guided fuzzing found worth keeping, given to the parsers again, without atheris."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from topomae.errors import BadDataError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import corpora, targets
from fuzz.behaviour import inputs_of, misbehaviour
from fuzz.scratch import refused_or_done

sys.path.pop(0)  # or the folder `slicer` beside `fuzz` would be taken for a part of Slicer

REPOSITORY = Path(__file__).resolve().parents[2]
IN_PROCESS = sorted(targets.TARGETS.keys() - targets.NEEDS_SLICER)


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_parser_reads_or_refuses_everything_that_fuzzing_kept(name):
    assert misbehaviour(targets.load(name), inputs_of(name)) == []


@pytest.mark.parametrize("name", sorted(targets.NEEDS_SLICER))
def test_both_sides_read_or_refuse_every_folder_that_fuzzing_kept(name):
    """In a process of its own, because Slicer's modules need stand-ins that no other test may see."""
    command = [sys.executable, str(REPOSITORY / "Testing" / "fuzz" / "replay.py"), name]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    replay = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert replay.returncode == 0, replay.stderr


def test_misbehaviour_is_noticed():
    def unclear():
        raise BadDataError("")

    assert refused_or_done(lambda: 3) == 3
    assert refused_or_done(lambda: (_ for _ in ()).throw(BadDataError("odd", hint="Copy it."))) is None
    for leaking in (lambda: {}["a"], unclear):
        assert len(misbehaviour(lambda _, leaking=leaking: refused_or_done(leaking), [b"x"])) == 1


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_the_kept_inputs_are_small_and_few(name):
    file = corpora.packed_file(name)
    assert file.exists() and file.stat().st_size < 100_000
    assert max(len(content) for content in corpora.kept_inputs(name)) <= targets.TARGETS[name][1]
