"""The doctor says what is wrong with a computer, and what to do, before hours are lost on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from topomae import doctor
from topomae.cli import app

Usage = namedtuple("Usage", "total used free")


def findings(name, folder="."):
    return [finding for finding in doctor.examine(folder) if finding.name == name]


def test_this_computer_can_train():
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "NO" not in result.output.split()


def test_findings_are_events_for_programs():
    result = CliRunner().invoke(app, ["doctor", "--events", "json"])
    told = [json.loads(line) for line in result.output.splitlines()]
    assert {"Python", "PyTorch", "disk", "main memory"} <= {event["name"] for event in told}
    assert all(event["state"] in ("good", "warning", "problem") for event in told)


def test_a_package_that_is_missing_or_too_old_is_named_with_the_command_that_mends_it(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "gudhi":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "nibabel" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    (missing,), (old,) = findings("gudhi"), findings("nibabel")
    assert missing.state == old.state == "problem"
    assert "not installed" in missing.found and "pip install" in missing.advice
    assert "0.1" in old.found
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


def test_a_graphics_card_that_torch_was_not_built_for_is_noticed(monkeypatch):
    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: "NVIDIA Card, driver 555.1")
    (card,) = findings("graphics card")
    assert card.state == "warning"
    assert "CPU" in card.found and "pytorch.org" in card.advice


def test_a_small_graphics_card_is_good_for_small_networks_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(name="Card", total_memory=4e9)
    )
    (card,) = findings("graphics card 0")
    assert card.state == "warning" and "--size small" in card.advice


@pytest.mark.parametrize(("free", "state"), [(1e9, "problem"), (10e9, "warning"), (500e9, "good")])
def test_room_on_the_disk_is_judged(monkeypatch, free, state):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: Usage(10**12, 0, free))
    assert findings("disk")[0].state == state


@pytest.mark.parametrize(("memory", "state"), [(4.0, "problem"), (8.0, "warning"), (32.0, "good"), (None, "warning")])
def test_memory_is_judged(monkeypatch, memory, state):
    monkeypatch.setattr(doctor, "total_memory", lambda: memory)
    assert findings("main memory")[0].state == state


def test_a_folder_that_does_not_exist_yet_is_judged_by_the_one_it_will_be_made_in(tmp_path):
    (disk,) = findings("disk", tmp_path / "runs" / "new")
    assert str(tmp_path) in disk.found
    assert not list(tmp_path.iterdir())


def test_a_check_that_fails_itself_does_not_hide_the_others(monkeypatch):
    def broken():
        raise OSError("no such counter")

    monkeypatch.setattr(doctor, "total_memory", broken)
    (memory,) = findings("main memory")
    assert memory.state == "problem" and "no such counter" in memory.found
    assert findings("disk")


def test_it_examines_a_python_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from topomae.doctor import examine\n"
        "found = {f.name: f.state for f in examine()}\n"
        "assert found['PyTorch'] == 'problem' and found['disk'], found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
