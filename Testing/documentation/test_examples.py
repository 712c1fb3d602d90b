"""The examples in Python run as they stand, one page after the other, on a phantom data set and short trainings."""

from __future__ import annotations

import shutil

import pytest
from documents import DOCS, blocks, documents

from topomae.data.phantoms import PHANTOM_SHAPE, make_phantoms

PAGES = ("guides/python.md", "topology.md")
# Pages whose examples are run by tests of their own, or need what no test has.
ELSEWHERE = ("slicer.md", "data.md", "worker.md", "ecosystem.md", "recipes.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the examples name: DATA and SCANS."""
    folder = tmp_path_factory.mktemp("examples")
    make_phantoms(folder / "DATA", cases=5, labelled=2, shape=PHANTOM_SHAPE)
    (folder / "SCANS").mkdir()
    for case in sorted((folder / "DATA" / "imagesTr").iterdir()):
        shutil.copy(case, folder / "SCANS")
    return folder


def test_the_examples_run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {}
    for page in PAGES:
        found = blocks(DOCS / page, "python")
        assert found
        for code in found:
            for steps in ("steps=500", "steps=1000", "steps=20"):
                code = code.replace(steps, "steps=2")
            exec(compile(code, f"docs/{page}", "exec"), names)
    told = capsys.readouterr().out
    assert "mean Dice" in told and "there is no such model folder" in told and "dice" in told
    assert (folder / "report.html").is_file() and (folder / "labels.nii.gz").is_file()


def test_every_page_with_examples_is_run_somewhere():
    pages = {str(page.relative_to(DOCS)) for page in documents() if DOCS in page.parents and blocks(page, "python")}
    assert pages <= {*PAGES, *ELSEWHERE}
