"""Fixtures of the module tests: a started harness, an empty scene, real data, trained runs."""

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import harness
from harness.trained_runs import trainedRuns

HEAVY_PACKAGES = ("torch", "monai", "gudhi", "topomae")

# Inside the application there is nothing to be stood in for.
collect_ignore_glob = ["test_harness_*.py"] if harness.insideApplication() else []


@pytest.fixture(scope="session", name="slicer")
def startedSlicer():
    """The module `slicer`, with scene, application and modules."""
    return harness.start()


@pytest.fixture(name="scene")
def emptyScene(slicer):
    """The scene, closed before and after the test, in the four-up layout."""
    slicer.mrmlScene.Clear(0)
    if slicer.app.layoutManager() is not None:
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(0)


@pytest.fixture(autouse=True)
def isolation(slicer):
    """A test's settings, answers, installations and modules are its own; uncaught errors fail it."""
    import qt
    import slicer.packaging

    if not harness.insideApplication():
        qt.QSettings().clear()
        slicer.packaging.reset()
    harness.answers.reset()
    harness.errors.clear()
    modules = set(slicer.app.moduleManager().modulesNames())
    packages = {name for name in HEAVY_PACKAGES if name in sys.modules}
    yield
    for name in set(slicer.app.moduleManager().modulesNames()) - modules:
        harness.unload(name)
    harness.pump()
    imported = {name for name in HEAVY_PACKAGES if name in sys.modules} - packages
    assert not imported, f"{', '.join(imported)} must not be imported into the Slicer process"
    assert not harness.errors, "errors in callbacks, which nothing could catch:\n" + "\n".join(harness.errors)


@pytest.fixture(scope="session")
def dataFolder():
    """The folder of real volumes; the test is skipped where there is none."""
    named = os.environ.get("TOPOMAE_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real volumes here; TOPOMAE_DATA names the folder that holds hippocampus/, dicom_ok/")
    return folder


@pytest.fixture(scope="session")
def hippocampusFile(dataFolder):
    """A hippocampus MR volume on disk (NIfTI, about 36x50x35 at 1 mm)."""
    files = sorted((dataFolder / "hippocampus" / "imagesTr").glob("hippocampus_*.nii.gz"))
    if not files:
        pytest.skip(f"no hippocampus volumes in {dataFolder}")
    return files[0]


@pytest.fixture(scope="session")
def hippocampusLabels(hippocampusFile):
    """The true label map of `hippocampusFile`: labels 1 (anterior) and 2 (posterior)."""
    return hippocampusFile.parents[1] / "labelsTr" / hippocampusFile.name


@pytest.fixture
def hippocampusVolume(scene, slicer, hippocampusFile):
    """A hippocampus MR volume in the scene, shown in the slice views."""
    return slicer.util.loadVolume(str(hippocampusFile), {})


@pytest.fixture(scope="session")
def hippocampusRuns(tmp_path_factory, dataFolder):
    """Folders of a pre-training and a fine-tuning run of the engine on hippocampus volumes.

    The environment variable TOPOMAE_TEST_RUNS may name a folder that holds well-trained ones, `pretrain` and
    `finetune`; else a few steps are trained, once per test session.
    """
    named = os.environ.get("TOPOMAE_TEST_RUNS")
    if named:
        return Path(named) / "pretrain", Path(named) / "finetune"
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    with onlyOne(shared / "training"):
        return trainedRuns(dataFolder, shared / "trained-runs")


@pytest.fixture(scope="session")
def hippocampusModel(hippocampusRuns):
    """The model folder of the fine-tuning run."""
    return hippocampusRuns[1] / "model"


@pytest.fixture(scope="session")
def hippocampusPretrained(hippocampusRuns):
    """The pre-training run."""
    return hippocampusRuns[0]


@contextmanager
def onlyOne(marker):
    """Let one test process at a time through; the marker is a folder that only one can make."""
    while True:
        try:
            marker.mkdir()
            break
        except FileExistsError:
            time.sleep(0.5)
    try:
        yield
    finally:
        marker.rmdir()
