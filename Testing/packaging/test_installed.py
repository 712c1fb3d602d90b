"""Configure, build and install the extension with a stand-in for Slicer's CMake macros; use what was installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from update_lists import FOLDERS, REPOSITORY, files_listed

MACROS = Path(__file__).resolve().parent / "slicer_macros"
HARNESS = REPOSITORY / "Testing" / "slicer"


@pytest.fixture(scope="module")
def cmake():
    """Runs CMake; with a folder of sources and one for the build, configures."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program, ninja, make = (shutil.which(name, path=places) for name in ("cmake", "ninja", "make"))
    if program is None or not (ninja or make):
        pytest.skip("the extension is built with CMake and Ninja or Make, which are missing: pip install cmake ninja")

    def run(*arguments, source=None, build=None):
        if source is not None:
            generator = ["Ninja", ninja] if ninja else ["Unix Makefiles", make]
            arguments = [
                *("-S", source, "-B", build, "-G", generator[0], f"-DCMAKE_MAKE_PROGRAM={generator[1]}"),
                *(f"-DSlicer_DIR={MACROS}", f"-DCMAKE_TOOLCHAIN_FILE={MACROS / 'NoCompiler.cmake'}", *arguments),
            ]
        return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8")

    return run


@pytest.fixture(scope="module")
def build(cmake, tmp_path_factory):
    """Folder of a finished build of the extension."""
    folder = tmp_path_factory.mktemp("TopoMAE-build")
    entry = json.loads((REPOSITORY / "TopoMAE.json").read_text(encoding="utf-8"))
    # What Slicer's factories pass on from the catalogue.
    from_catalogue = {
        "EXTENSION_CATEGORY": entry["category"],
        "EXTENSION_TIER": entry["tier"],
        "EXTENSION_WC_URL": entry["scm_url"],
        "EXTENSION_WC_REVISION": entry["scm_revision"],
    }
    variables = [f"-D{name}={value}" for name, value in from_catalogue.items()]
    for done in (cmake(*variables, source=REPOSITORY, build=folder), cmake("--build", folder, "--parallel", 2)):
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def prefix(cmake, build, tmp_path_factory):
    """Folder that the extension is installed into."""
    folder = tmp_path_factory.mktemp("3D Slicer")
    done = cmake("--install", build, "--prefix", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(prefix):
    """The installed folder of the modules and the engine, which Slicer puts on Python's search path."""
    return prefix / "lib" / "Slicer-5.12" / "qt-scripted-modules"


def python(*arguments, search_path, folder):
    """Run this Python with nothing of the repository on its search path but what is named."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TOPOMAE"))}
    variables.update(PYTHONPATH=str(search_path), PYTHONDONTWRITEBYTECODE="1", PYTHONUTF8="1")
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, encoding="utf-8")


def test_all_listed_files_are_installed_and_nothing_else(installed):
    wanted = set()
    for name in FOLDERS:
        for paths in files_listed(REPOSITORY / name).values():
            wanted |= {f"topomae/{path}" if name == "topomae" else path for path in paths}
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert found == wanted
    for path in found & {"TopoMAESegment.py", "topomae/cli.py", "Resources/UI/TopoMAESegment.ui"}:
        source = REPOSITORY / ("" if path.startswith("topomae/") else "TopoMAESegment") / path
        assert (installed / path).read_bytes() == source.read_bytes()


def test_the_generated_description_is_the_one_in_the_repository(prefix):
    places = prefix / "share" / "Slicer-5.12" / "TopoMAE.s4ext", REPOSITORY / "TopoMAE.s4ext"
    texts = [place.read_text(encoding="utf-8") for place in places]
    generated, ours = ([line.strip() for line in text.splitlines() if line and line[0] != "#"] for text in texts)
    assert generated == ours


def test_the_application_will_run_the_tests_of_the_modules_and_none_of_the_engine(build):
    texts = [path.read_text(encoding="utf-8") for path in build.rglob("CTestTestfile.cmake")]
    names = [name for text in texts for name in re.findall(r"add_test\(\W*(\w+)", text)]
    modules = ("TopoMAESegment", "TopoMAETrain")
    generic = [f"py_nomainwindow_qSlicer{module}ModuleGenericTest" for module in modules]
    assert sorted(names) == sorted([*generic, *(f"py_{module}" for module in modules)])


def test_the_installed_engine_runs(installed, tmp_path):
    where = python("-c", "import topomae; print(topomae.__file__)", search_path=installed, folder=tmp_path)
    assert Path(where.stdout.strip()).parent == installed / "topomae", where.stderr
    helped = python("-m", "topomae", "--help", search_path=installed, folder=tmp_path)
    assert helped.returncode == 0 and "pretrain" in helped.stdout, helped.stderr


@pytest.mark.skipif(find_spec("slicer") is None or find_spec("PySide6") is None, reason="slicer-core, PySide6 missing")
def test_the_installed_modules_load_and_find_the_installed_engine(installed, tmp_path):
    script = Path(__file__).resolve().parent / "installed_modules.py"
    done = python(script, installed, search_path=HARNESS, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    elsewhere = {name: file for name, file in found["files"].items() if not Path(file).is_relative_to(installed)}
    assert len(found["files"]) > 50 and not elsewhere
    assert found["engine"] == str(installed)
    assert Path(found["requirements"]).is_file() and Path(found["requirements"]).is_relative_to(installed)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("slicerMacroBuildScriptedModule(NAME a SCRIPTS a b)", "there is no file b.py"),
        ("slicerMacroBuildScriptedModule(NAME a SCRIPTS a RESOURCES icon.png)", "there is no file icon.png"),
        ("slicerMacroBuildScriptedModule(WITH_TESTS NAME a SCRIPTS a)", "does not know: WITH_TESTS"),
        ("slicer_add_python_unittest(SCRIPT b.py)", "there is no file b.py"),
        ("include(${Slicer_EXTENSION_CPACK})", "EXTENSION_README_FILE names a file that is not there"),
    ],
)
def test_the_stand_in_refuses_what_slicer_refuses(cmake, tmp_path, call, complaint):
    (tmp_path / "a.py").touch()
    start = [
        "cmake_minimum_required(VERSION 3.20)",
        "project(A)",
        "find_package(Slicer)",
        "include(${Slicer_USE_FILE})",
    ]
    (tmp_path / "CMakeLists.txt").write_text("\n".join([*start, call]), encoding="utf-8")
    done = cmake(source=tmp_path, build=tmp_path / "build")
    assert done.returncode != 0 and complaint in " ".join(done.stderr.split())
