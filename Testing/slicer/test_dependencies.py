"""Installing the engine's packages: what is asked of whom, in which order, and what happens when it fails."""

from importlib import metadata
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace

import pytest

import harness
from stand_in_workers import POLITE, standInWorker
from TopoMAELib import dependencies
from TopoMAELib.check_interpreter import readRequirements
from TopoMAELib.dependencies import DependencyInstaller, InstallError, constraintLines
from TopoMAELib.interpreter import REQUIREMENTS

WANTED = ["torch>=9999", "numpy>=1.20", "monai-of-dreams>=1.5", "gudhi-of-dreams>=3.10"]


class Shop:
    """Stands for the PyTorch extension and for `slicer.packaging`: notes what is asked, and installs in name only."""

    def __init__(self, monkeypatch):
        self.asked, self.constraints = [], ""
        self.installed = {}
        self.torch = object()  # what installTorch gives; None if the user declines
        self.failure = None
        real = metadata.version
        monkeypatch.setattr(
            "TopoMAELib.check_interpreter.metadata.version", lambda name: self.installed.get(name) or real(name)
        )

    def installTorch(self, **options):
        self.asked.append(("torch", options))
        if isinstance(self.failure, ImportError):
            raise self.failure
        if self.torch is not None:
            self.installed["torch"] = "9999.1"
        return self.torch

    def pip_ensure(self, requirements, constraints, **options):
        self.asked.append(("pip", requirements, options))
        self.constraints = Path(constraints).read_text()
        if self.failure:
            raise self.failure
        self.installed.update(dict(one.split(">=") for one in requirements))


@pytest.fixture
def shop(monkeypatch):
    """See `Shop`."""
    return Shop(monkeypatch)


@pytest.fixture
def installer(shop, monkeypatch):
    """An installer that buys from the shop, where it also notes that the worker was ended."""
    monkeypatch.delenv("TOPOMAE_PYTHON", raising=False)
    return DependencyInstaller(
        requirements=WANTED,
        makePyTorchLogic=lambda: shop,
        packaging=shop,
        onInstalled=lambda: shop.asked.append(("worker ended",)),
    )


def test_the_requirements_are_those_of_the_engine():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    assert readRequirements(REQUIREMENTS) == project["dependencies"]


@pytest.mark.skipif(harness.insideApplication(), reason="the application may lack the packages")
def test_nothing_is_missing_where_the_tests_of_the_engine_run():
    assert DependencyInstaller().missing() == []
    assert DependencyInstaller().install(lambda question: pytest.fail("nothing is to be asked"))


def test_torch_comes_from_its_extension_and_the_rest_from_pip_after_one_question(installer, shop):
    questions = []
    assert installer.missing() == [WANTED[0], *WANTED[2:]]
    assert installer.install(lambda question: questions.append(question) or True)
    assert len(questions) == 1 and all(name in questions[0] for name in installer._requirements if "numpy" not in name)
    assert shop.asked == [
        ("torch", {"askConfirmation": True, "torchVersionRequirement": ">=9999"}),
        ("pip", WANTED[2:], {"prompt_install": False, "requester": "TopoMAE"}),
        ("worker ended",),
    ]


def test_pip_may_not_replace_what_slicer_came_with(installer, shop):
    installer.install(lambda _: True)
    held = shop.constraints.split()
    for name in ("numpy", "scipy", "SimpleITK", "packaging"):
        assert f"{name}=={metadata.version(name)}" in held
    assert constraintLines(["no-such-package"]) == []


def test_nothing_is_installed_unless_the_user_agrees(installer, shop):
    assert installer.install(lambda _: False) is False
    assert shop.asked == []


def test_declining_in_the_dialog_of_the_pytorch_extension_stops_the_installation(installer, shop):
    shop.torch = None
    assert installer.install(lambda _: True) is False
    assert [step[0] for step in shop.asked] == ["torch", "worker ended"]


def test_a_missing_pytorch_extension_is_explained(shop):
    installer = DependencyInstaller(requirements=WANTED, packaging=shop, onInstalled=lambda: None)
    with pytest.raises(InstallError, match=r'Extensions Manager, install "PyTorch", restart Slicer'):
        installer.install(lambda _: True)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (CalledProcessError(2, "pip"), "Packages could not be installed: pip ended with exit code 2"),
        (RuntimeError("User declined package installation"), "User declined"),
        (
            ImportError("libtorch.so: undefined symbol"),
            "PyTorch could not be installed: libtorch.so: undefined symbol",
        ),
    ],
)
def test_a_failed_installation_says_why(installer, shop, failure, said):
    shop.failure = failure
    with pytest.raises(InstallError, match=said):
        installer.install(lambda _: True)


def test_packages_that_are_still_missing_afterwards_are_named(installer, shop, monkeypatch):
    monkeypatch.setattr(shop, "pip_ensure", lambda *_, **__: None)  # as Slicer's in testing mode
    with pytest.raises(InstallError, match=r"still missing: monai-of-dreams>=1\.5, gudhi-of-dreams>=3\.10"):
        installer.install(lambda _: True)


def test_before_slicer_5_12_pip_install_of_slicer_util_is_used(installer, shop, slicer, monkeypatch):
    def pipInstall(arguments):
        option, constraints, *requirements = arguments
        assert option == "--constraint" and isinstance(arguments, list)
        shop.pip_ensure(requirements, constraints)

    monkeypatch.setattr(slicer.util, "pip_install", pipInstall)
    installer._packaging = None
    assert installer.install(lambda _: True)
    assert f"numpy=={metadata.version('numpy')}" in shop.constraints


def test_a_slicer_whose_own_numpy_is_too_old_is_told_before_anything_is_downloaded(shop):
    installer = DependencyInstaller(requirements=["numpy>=9999", "torch>=9999"], packaging=shop)
    with pytest.raises(InstallError, match=r"comes with numpy .* numpy>=9999 is needed"):
        installer.install(lambda _: pytest.fail("it cannot work"))
    assert shop.asked == []


def test_an_intel_build_on_a_mac_is_told_that_there_is_no_torch(installer, shop, monkeypatch):
    monkeypatch.setattr(dependencies, "platform", SimpleNamespace(system=lambda: "Darwin", machine=lambda: "x86_64"))
    with pytest.raises(InstallError, match="another Python interpreter"):
        installer.install(lambda _: pytest.fail("it cannot work"))
    assert shop.asked == []


def test_nothing_is_installed_into_another_interpreter_but_the_user_is_told_how(tmp_path):
    installer = DependencyInstaller(standInWorker(tmp_path, POLITE), WANTED)
    with pytest.raises(InstallError, match="-m pip install -r"):
        installer.install(lambda _: True)


def test_slicers_own_packaging_module_is_used_where_there_is_one(slicer, shop, monkeypatch):
    import slicer.packaging

    installer = DependencyInstaller(requirements=WANTED, makePyTorchLogic=lambda: shop, onInstalled=lambda: None)
    with pytest.raises(InstallError, match="still missing"):
        installer.install(lambda _: True)
    if hasattr(slicer.packaging, "calls"):
        assert [call.requirements for call in slicer.packaging.calls] == [WANTED[2:]]
