"""The worker as a program meets it: every line gets a clear answer, and only its parent's end ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from worker_process import FINAL, REPOSITORY, WorkerProcess, package_without_torch, volume_file

from topomae.worker.protocol import Answers, BadRequest, parse, read_lines
from topomae.worker.server import Server
from topomae.worker.services import Services

IDENTITY = np.eye(4).tolist()


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory) -> Path:
    """For PYTHONPATH: torch is missing, and importing it prints on stdout and reads stdin."""
    code = "import os, sys; print('noise'); os.write(1, b'more noise\\n'); assert sys.stdin.read() == ''"
    return package_without_torch(tmp_path_factory.mktemp("without_torch"), code)


@pytest.fixture(scope="module")
def a_worker(without_torch):
    """A worker for everything that needs no torch. It must survive all tests of this file."""
    worker = WorkerProcess(without_torch)
    assert worker.read()["event"] == "ready"
    yield worker
    assert worker.end() == 0


@pytest.fixture
def a_new_worker(without_torch):
    """A worker that may be ended."""
    worker = WorkerProcess(without_torch)
    assert worker.read()["event"] == "ready"
    yield worker
    worker.kill()


@pytest.fixture
def a_volume(tmp_path) -> dict:
    return volume_file(tmp_path / "volume.npy", np.random.default_rng(0).random((12, 10, 9)))


@pytest.fixture
def a_long_request(tmp_path) -> dict:
    """Arguments of a request that takes some seconds, for most of which it looks up now and then."""
    labels = np.zeros((200, 40, 40), np.uint16)
    for value in range(200):  # rings
        labels[value, 4:36, 4:36] = value + 1
        labels[value, 10:30, 10:30] = 0
    return {"labels": volume_file(tmp_path / "rings.npy", labels.repeat(4, axis=0)), "output": str(tmp_path)}


def test_it_says_at_once_that_it_is_there(without_torch):
    began = time.monotonic()
    worker = WorkerProcess(without_torch)
    first = worker.read()
    assert time.monotonic() - began < 5  # 0.3 s on a machine with nothing else to do
    assert (first["event"], first["protocol"], first["pid"]) == ("ready", 1, worker.process.pid)
    assert first["versions"]["topomae"] and first["versions"]["numpy"]
    assert worker.end() == 0


WRONG_LINES = {
    "no JSON": ("what?", None, "not JSON"),
    "half an object": ('{"id": 1, "do": "hello"', None, "not JSON"),
    "not UTF-8": (b'{"id": 1, "do": "\xff"}', None, "not JSON"),
    "an array": ("[1, 2]", None, "not a JSON object"),
    "nested too deeply": ("[" * 200_000, None, "nested"),
    "a number too long": ('{"id": ' + "1" * 5000 + "}", None, "not JSON"),
    "nothing to do": ('{"id": 7}', 7, '"do" is nothing'),
    "an unknown request": ('{"id": 7, "do": "dance"}', 7, "'dance'"),
    "do is no text": ('{"id": "x", "do": 3}', "x", "3"),
    "no id": ('{"do": "hello"}', None, '"id" is missing'),
    "id true": ('{"id": true, "do": "hello"}', None, '"id"'),
    "id is a list": ('{"id": [1], "do": "hello"}', None, '"id"'),
    "a missing argument": ('{"id": 7, "do": "crop_size"}', 7, '"pretrained" is missing'),
    "an unknown argument": ('{"id": 7, "do": "hello", "loud": 1}', 7, '"loud" is no argument'),
    "text for a number": ('{"id": 7, "do": "feature", "handle": "d1", "dim": 1, "index": "0"}', 7, '"index"'),
    "a dimension too many": ('{"id": 7, "do": "feature", "handle": "d1", "dim": 3, "index": 0}', 7, '"dim"'),
    "an unknown device": ('{"id": 7, "do": "segment", "model": "m", "device": "tpu"}', 7, '"'),
    "cancel of nothing": ('{"id": 7, "do": "cancel"}', 7, '"request" is missing'),
}


@pytest.mark.parametrize("name", WRONG_LINES)
def test_a_line_that_is_no_request_is_refused_and_the_worker_goes_on(a_worker, name):
    line, identity, words = WRONG_LINES[name]
    a_worker.line(line)
    answer = a_worker.read()
    assert (answer["event"], answer["error"], answer["id"]) == ("error", "BadRequest", identity)
    assert words in answer["message"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"array": "volume.npy"}, "absolute"),
        ({"array": "/tmp/a\0b.npy"}, "NUL"),
        ({"array": 3}, "image > array"),
        ({"affine": IDENTITY[:3]}, "image > affine"),
        ({"affine": [[1, 0, 0, float("nan")], *IDENTITY[1:]]}, "image > affine"),
        ({"affine": [["1", 0, 0, 0], *IDENTITY[1:]]}, "image > affine"),
    ],
)
def test_a_volume_that_is_described_wrongly_is_refused(a_worker, a_volume, tmp_path, change, words):
    error = a_worker.error("persistence", image=a_volume | change, output=str(tmp_path))
    assert error["error"] == "BadRequest" and words in error["message"]


def test_a_line_longer_than_1_mb_is_refused_and_forgotten(a_worker):
    a_worker.line(b'{"id": 1, "do": "hello", "more": "' + b"x" * (3 << 20) + b'"}')
    answer = a_worker.read()
    assert (answer["error"], answer["id"]) == ("BadRequest", None) and "too long" in answer["message"]
    a_worker.line(b"")  # an empty line is nothing
    assert a_worker.error("dance")["error"] == "BadRequest"


def test_lines_are_found_wherever_the_pipe_cuts_them():
    source, sink = os.pipe()
    seen: list[bytes | None] = []
    reader = threading.Thread(target=lambda: seen.extend(read_lines(source)))
    reader.start()
    for piece in (b"o", b"ne\ntwo\r\n\n", b"x" * (1 << 20), b"yy", b"\nth", "rée\n".encode()[:2], b"e\nunfinished"):
        os.write(sink, piece)
    os.close(sink)
    reader.join(20)
    os.close(source)
    assert seen[:4] == [b"one", b"two\r", b"", None]
    assert len(seen) == 5 and seen[4].startswith(b"th") and seen[4].endswith(b"e")


def save_object(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def save_huge(path):
    """A header that claims 8 TB."""
    with open(path, "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10000, 10000, 10000)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\0" * 800)


def save_larger_than_its_file(path):
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<i2", "fortran_order": False, "shape": (1000, 1000, 900)}
        )
        file.write(b"\0" * 800)


def save_structured(path):
    np.save(path, np.zeros((3, 3, 3), [("r", "u1"), ("g", "u1")]))


BAD_FILES = {
    "missing": (lambda path: None, "does not exist"),
    "a folder": (lambda path: path.mkdir(), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "not an .npy file"),
    "no npy file": (lambda path: path.write_bytes(b"\x93NUMPY?" + b"x" * 99), "not an .npy file"),
    "a pickle": (save_object, "Python objects"),
    "only a pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "not an .npy file"),
    "huge": (save_huge, "impossible size"),
    "cut short": (save_larger_than_its_file, "more than this file"),
    "complex": (lambda path: np.save(path, np.zeros((3, 3, 3), complex)), "complex128"),
    "text": (lambda path: np.save(path, np.full((3, 3, 3), "a")), "not numbers"),
    "structured": (save_structured, "not numbers"),
    "two axes": (lambda path: np.save(path, np.zeros((3, 3))), "three axes"),
    "four axes": (lambda path: np.save(path, np.zeros((3, 3, 3, 2))), "three axes"),
    "no voxels": (lambda path: np.save(path, np.zeros((3, 0, 3))), "three axes"),
    "nothing but NaN": (lambda path: np.save(path, np.full((3, 3, 3), np.nan)), "no voxel is a finite number"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_volume_is_refused_before_memory_is_taken(a_worker, tmp_path, name):
    write, words = BAD_FILES[name]
    write(tmp_path / "volume.npy")
    image = {"array": str(tmp_path / "volume.npy"), "affine": IDENTITY}
    error = a_worker.error("persistence", image=image, output=str(tmp_path / "out"))
    assert error["error"] == "BadDataError" and words in error["message"] and error["hint"]
    assert not (tmp_path / "out").exists()


def test_an_affine_that_places_nothing_is_refused(a_worker, tmp_path):
    volume = volume_file(tmp_path / "volume.npy", np.arange(60.0).reshape(3, 4, 5))
    singular = np.diag([1.0, 1.0, 0.0, 1.0]).tolist()
    projective = [*IDENTITY[:3], [0.0, 0.0, 0.1, 1.0]]
    for affine, words in ((singular, "spacing"), (projective, "last row")):
        error = a_worker.error("persistence", image=volume | {"affine": affine}, output=str(tmp_path))
        assert error["error"] == "BadDataError" and words in error["message"]


def test_an_output_that_cannot_be_written_is_told(a_worker, a_volume, tmp_path):
    (tmp_path / "file").write_text("in the way")
    error = a_worker.error("persistence", image=a_volume, output=str(tmp_path / "file"))
    assert error["error"] == "RunError" and "cannot write" in error["message"]


def test_missing_torch_is_told_and_the_rest_works(a_worker, a_volume, tmp_path):
    error = a_worker.error("segment", model=str(tmp_path), images=[a_volume], output=str(tmp_path))
    assert error["error"] == "PackageError" and "torch is not installed" in error["message"]
    assert sys.executable in error["message"] and error["hint"]
    assert a_worker.error("hello")["error"] == "PackageError"
    assert {"noise", "more noise"} <= set(a_worker.log)  # of importing torch: not on stdout, between the answers
    assert a_worker.result("persistence", image=a_volume, output=str(tmp_path))["shown"] > 0


def test_two_requests_are_done_in_order(a_worker, a_volume, tmp_path):
    first = a_worker.send("persistence", image=a_volume, output=str(tmp_path))
    second = a_worker.send("persistence", image=a_volume, dims=[0], output=str(tmp_path))
    finals = [a_worker.until(lambda answer: answer["event"] in FINAL) for _ in range(2)]
    assert [(final["id"], final["event"]) for final in finals] == [(first, "result"), (second, "result")]
    assert list(finals[1]["features"]) == ["0"]


def test_running_and_queued_requests_are_cancelled_and_the_next_is_done(a_worker, a_long_request, a_volume, tmp_path):
    running = a_worker.send("betti", **a_long_request)
    queued = a_worker.send("betti", **a_long_request)
    last = a_worker.send("persistence", image=a_volume, output=str(tmp_path))
    a_worker.line(json.dumps({"id": running, "do": "hello"}))  # an id in use
    refused = a_worker.until(lambda answer: answer["event"] in FINAL)
    assert refused["id"] is None and "not yet answered" in refused["message"]
    a_worker.line(json.dumps({"do": "cancel", "request": queued}))
    answer = a_worker.until(lambda answer: answer["event"] in FINAL)
    assert answer == {"id": queued, "event": "cancelled"}  # although the first one still runs
    a_worker.until(lambda answer: answer["event"] == "progress" and answer["phase"] == "count")
    a_worker.line(json.dumps({"id": "c", "do": "cancel", "request": running}))
    answers = [a_worker.until(lambda answer: answer["event"] in FINAL) for _ in range(3)]
    assert {"id": "c", "event": "result", "found": True} in answers
    assert {"id": running, "event": "cancelled"} in answers
    assert (answers[2]["id"], answers[2]["event"]) == (last, "result")
    a_worker.line(json.dumps({"do": "cancel", "request": running}))  # too late: says nothing
    a_worker.line(json.dumps({"id": "d", "do": "cancel", "request": running}))
    assert a_worker.read() == {"id": "d", "event": "result", "found": False}


def leave_by_quit(worker):
    worker.line('{"do": "quit"}')


def leave_by_end_of_input(worker):
    worker.process.stdin.close()


def leave_by_signal(worker):
    worker.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("leave", [leave_by_quit, leave_by_end_of_input, leave_by_signal])
@pytest.mark.skipif(os.name == "nt", reason="SIGTERM kills at once on Windows")
def test_at_its_end_it_cancels_what_runs_and_what_waits(a_new_worker, a_long_request, leave):
    sent = [a_new_worker.send("betti", **a_long_request) for _ in range(3)]
    a_new_worker.until(lambda answer: answer.get("phase") == "count")
    leave(a_new_worker)
    answers = [a_new_worker.until(lambda answer: answer["event"] in FINAL) for _ in sent]
    assert answers == [{"id": number, "event": "cancelled"} for number in sent]
    assert a_new_worker.read() is None
    assert a_new_worker.process.wait(20) == 0
    assert not any("Traceback" in line or "Fatal" in line for line in a_new_worker.log)


def test_it_does_not_outlive_its_parent(without_torch):
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from worker_process import WorkerProcess;"
        "worker = WorkerProcess(sys.argv[2]); worker.read(); print(worker.process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(without_torch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while _lives(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_work_that_does_not_look_up_cannot_keep_it_alive():
    code = """
import time
from topomae.worker import server
class Stuck(server.Services):
    def start(self): pass
    def do(self, task): task.progress("stuck"); time.sleep(60)
server.Services, server._PATIENCE = Stuck, 0.3
server.serve()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b'{"id": 1, "do": "hello"}\n')
        process.stdin.flush()
        assert [json.loads(process.stdout.readline())["event"] for _ in range(2)] == ["ready", "progress"]
        process.stdin.close()
        assert process.wait(20) == 0


def _lives(pid: int) -> bool:
    """Whether a process works; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except ProcessLookupError:  # it ended while its entry was read
        return False
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    return state != "Z"


class Troubled(Services):
    """Fails as no service should."""

    def start(self):
        pass

    def do(self, task):
        raise {1: KeyError("oops"), 2: MemoryError(), 3: RecursionError("deep\nand deeper")}[task.request.id]


def test_an_unforeseen_error_is_an_answer_and_leaves_a_traceback(capfd):
    (source, requests), (answers, sink) = os.pipe(), os.pipe()
    server = Server(source, Answers(sink), Troubled())
    os.write(requests, b"".join(b'{"id": %d, "do": "hello"}\n' % number for number in (1, 2, 3)))
    worker = threading.Thread(target=server.run)
    worker.start()
    with open(answers, encoding="utf-8") as stream:
        told = [json.loads(stream.readline()) for _ in range(4)][1:]
        os.close(requests)
        worker.join(20)
        os.close(sink)
    os.close(source)
    assert [answer["error"] for answer in told] == ["KeyError", "MemoryError", "RecursionError"]
    assert "KeyError: 'oops'" in told[0]["message"] and "report" in told[0]["hint"]
    assert "not enough memory" in told[1]["message"] and "deep and deeper" in told[2]["message"]
    assert "Traceback" in capfd.readouterr().err


def test_a_reader_that_went_away_is_no_error():
    source, sink = os.pipe()
    os.close(source)
    answers = Answers(sink)
    for _ in range(2):
        answers.send("result", 1, value=float("nan"))
    os.close(sink)


def test_requests_keep_their_defaults_and_refuse_what_is_not_asked_for():
    request = parse(b'{"id": 1, "do": "feature", "handle": "d1", "dim": 1, "index": 0, "output": "/x"}')
    assert (request.do, request.dim, str(request.output)) == ("feature", 1, "/x")
    with pytest.raises(BadRequest, match="index"):
        parse(b'{"id": 1, "do": "feature", "handle": "d1", "dim": 1, "index": -1, "output": "/x"}')


def test_the_protocol_is_described_for_programmers():
    from topomae.worker.requests import REQUESTS

    text = (REPOSITORY / "docs" / "worker.md").read_text(encoding="utf-8")
    for name, kind in REQUESTS.items():
        section = text.split(f"### `{name}`")[1].split("\n#")[0]
        for argument in set(kind.model_fields) - {"id", "do"}:
            assert f"`{argument}`" in section, f"{name} takes {argument}"
