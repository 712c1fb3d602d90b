"""What was found out about files is remembered: only what is new or has changed is read again."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data_sets import found, image_of, write_volume

from topomae.data.checks import check_dataset
from topomae.data.dataset import open_dataset
from topomae.data.remembered import Remembered

pytest_plugins = ("small_data_fixtures",)


def test_only_new_and_changed_files_are_read_again(five_cases, read, tmp_path):
    file = tmp_path / "found"
    expected = check_dataset(dataset := open_dataset(five_cases), dataset.cases, labels_needed=False)
    read.clear()
    assert found(five_cases, file) == expected
    assert len(read) == 5
    read.clear()
    assert found(five_cases, file) == expected
    assert read == []
    for n in range(5):
        os.utime(image_of(five_cases, f"case{n}"), (n, n))
    shutil.copytree(five_cases, tmp_path / "elsewhere")
    assert found(five_cases, file) == expected
    assert [replace(report, case=None) for report in found(tmp_path / "elsewhere", file)] == [
        replace(report, case=None) for report in expected
    ]
    assert read == []  # touched and copied files have not changed
    write_volume(image_of(five_cases, "case3"), 33)
    write_volume(image_of(five_cases, "case5"), 5)
    reports = found(five_cases, file)
    assert sorted(read) == ["case3", "case5"]
    assert [report == old for report, old in zip(reports, expected, strict=False)] == [True, True, True, False, True]


def test_a_header_changed_without_a_trace_in_size_and_time_is_noticed(five_cases, tmp_path):
    before = found(five_cases, tmp_path / "found")
    image = image_of(five_cases, "case1")
    status, content = image.stat(), bytearray(image.read_bytes())
    content[280:284] = np.float32(-2.0).tobytes()  # srow_x: the spacing from left to right
    image.write_bytes(content)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = found(five_cases, tmp_path / "found")
    assert before[1].spacing == (1, 1, 1)
    assert after[1].spacing == (2, 1, 1)


def test_label_maps_are_read_when_they_are_asked_for_and_images_known_from_then(five_cases, read, tmp_path):
    found(five_cases, tmp_path / "found")
    read.clear()
    labelled = found(five_cases, tmp_path / "found", labels=True)
    assert sorted(read) == ["case0", "case1", "case2"]
    assert [report.label_voxels for report in labelled] == [{1: 1024}, {1: 1280}, {1: 1536}, None, None]
    read.clear()
    assert found(five_cases, tmp_path / "found", labels=True) == labelled
    assert all(report.label_voxels is None for report in found(five_cases, tmp_path / "found"))
    assert read == []


def test_what_was_wrong_is_looked_at_anew(five_cases, read, tmp_path):
    image = image_of(five_cases, "case2")
    whole = image.read_bytes()
    image.write_bytes(whole[:9000])
    assert [report.ok for report in found(five_cases, tmp_path / "found")] == [True, True, False, True, True]
    read.clear()
    assert not found(five_cases, tmp_path / "found")[2].ok
    assert read == ["case2"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_whatever_is_damaged_in_the_database_the_findings_are_right(where, bit, cut, damaged_from):
    folder, pristine, expected = damaged_from
    file = pristine.with_name("damaged")
    content = bytearray(pristine.read_bytes())
    at = int(where * len(content))
    content[at] ^= 1 << bit
    file.write_bytes(content[:at] if cut else content)
    assert found(folder, file) == expected
    assert found(folder, file) == expected


@pytest.fixture(scope="module")
def damaged_from(tmp_path_factory):
    """A folder of two cases, a database of what was found in it, and what was found."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "images").mkdir()
    for n in range(2):
        write_volume(folder / "images" / f"case{n}.nii", n)
    return folder, folder / "found", found(folder, folder / "found")


def test_a_file_that_is_no_database_is_put_aside_and_said_so(five_cases, tmp_path):
    file, told = tmp_path / "found", []
    file.write_text("my only copy of something else")
    found(five_cases, file, told=told.append)
    (sentence,) = told
    assert "is damaged" in sentence
    assert "read again" in sentence
    assert (tmp_path / "found.damaged").read_text() == "my only copy of something else"
    found(five_cases, file, told=told.append)
    assert len(told) == 1


def test_without_a_place_for_the_database_the_check_goes_on_and_says_so(five_cases, read, tmp_path):
    told = []
    (tmp_path / "file").touch()
    assert all(report.ok for report in found(five_cases, tmp_path / "file" / "found", told=told.append))
    assert len(told) == 1
    assert "cannot be kept" in told[0]


WRITER = """
import itertools, sys, time
from topomae.data.remembered import Remembered
with Remembered(sys.argv[1], print) as remembered:
    for n in itertools.count():
        remembered.keep_report(f"{sys.argv[2]} {n}", {"n": n})
        if n % 50 == 49:
            remembered.flush()
            print(n, flush=True)
            time.sleep(0.01)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_writers_killed_beside_one_another_leave_whole_what_they_wrote(tmp_path):
    file = tmp_path / "found"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    for writer in writers:
        for line in writer.stdout:
            if int(line) >= 199:
                break
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
    written = [max([199, *map(int, writer.communicate()[0].split())]) for writer in writers]
    told = []
    with Remembered(file, told.append) as remembered:
        for name, last in zip(("one", "other"), written, strict=True):
            assert all(remembered.report(f"{name} {n}") == {"n": n} for n in range(last + 1))
    assert told == []
    assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchone() == ("ok",)
