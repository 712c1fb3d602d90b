"""What the extension is made of and says of itself: lists of files, names, descriptions, icon, licence, size."""

import json
import re
import struct
import subprocess
from collections import Counter
from pathlib import Path
from urllib.parse import urlparse

import pytest
import update_lists
from update_lists import FOLDERS, REPOSITORY, files_listed, files_present

MODULES = FOLDERS[1:]
HOME = "https://github.com/TopoMAE/SlicerTopoMAE"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def cmake_text():
    """The top CMake file."""
    return (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def cmake_values(cmake_text):
    """Variables set in the top CMake file to one quoted text, as the catalogue's checks read them."""
    return dict(re.findall(r'set\s*\((EXTENSION_\w+)\s*"([^"]+)"[ ]*\)', cmake_text))


@pytest.fixture(scope="module")
def catalogue():
    """The entry for Slicer's extension catalogue."""
    return json.loads((REPOSITORY / "TopoMAE.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def description():
    """The keywords of TopoMAE.s4ext and their values."""
    lines = (REPOSITORY / "TopoMAE.s4ext").read_text(encoding="utf-8").splitlines()
    words = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return {keyword: value for keyword, _, value in words}


@pytest.fixture(scope="module")
def git():
    """Runs git in the repository and returns the lines it prints."""

    def run(*arguments):
        done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=True)
        return [line for line in re.split("[\0\n]", done.stdout.decode()) if line]

    try:
        inside = Path(run("rev-parse", "--show-toplevel")[0]).resolve() == REPOSITORY
    except (OSError, subprocess.CalledProcessError):
        inside = False
    if not inside:
        pytest.skip("this folder is no git repository, or git is missing")
    return run


# ---------------------------------------------------------------------------------------- lists of files


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("kind", update_lists.KINDS)
def test_every_file_is_listed_and_every_listed_file_is_there(name, kind):
    listed, present = (files(REPOSITORY / name)[kind] for files in (files_listed, files_present))
    not_listed, not_there = sorted(set(present) - set(listed)), sorted(set(listed) - set(present))
    assert not not_listed and not not_there, (
        f"{name}/CMakeLists.txt, {kind}: not listed, so not packaged: {not_listed}; listed but not there: "
        f"{not_there}. Run: python3 Testing/packaging/update_lists.py"
    )
    assert listed == present, f"{name}/CMakeLists.txt is not in order. Run: python3 Testing/packaging/update_lists.py"


def test_the_command_adds_new_files_drops_removed_ones_and_leaves_the_rest_alone(tmp_path):
    text = "before\nset(MODULE_PYTHON_SCRIPTS\n  gone.py\n  )\nbetween\nset(MODULE_PYTHON_RESOURCES\n  )\nafter\n"
    (tmp_path / "CMakeLists.txt").write_text(text, encoding="utf-8")
    for name in ("b.py", "part/a.py", "part/data.json", "__pycache__/b.cpython-312.pyc", ".hidden", "b.py~"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert update_lists.update(tmp_path)
    assert files_listed(tmp_path) == {"SCRIPTS": ["b.py", "part/a.py"], "RESOURCES": ["part/data.json"]}
    assert (tmp_path / "CMakeLists.txt").read_text(encoding="utf-8") == text.replace(
        "  gone.py\n", "  b.py\n  part/a.py\n"
    ).replace("RESOURCES\n", "RESOURCES\n  part/data.json\n")
    assert not update_lists.update(tmp_path), "a second time, nothing changes"


def test_the_top_file_adds_each_folder_once(cmake_text):
    added = re.findall(r"^add_subdirectory\((\w+)\)$", cmake_text, re.MULTILINE)
    assert sorted(added) == sorted(FOLDERS)
    assert sorted(FOLDERS) == sorted(path.parent.name for path in REPOSITORY.glob("*/CMakeLists.txt"))


# ---------------------------------------------------------------------------------------- names


def test_no_two_files_meet_in_the_installed_folder():
    """Both modules are installed into one folder, on disks that may not tell capitals from small letters."""
    installed = [path for name in MODULES for paths in files_present(REPOSITORY / name).values() for path in paths]
    installed += ["topomae/" + path for paths in files_present(REPOSITORY / "topomae").values() for path in paths]
    assert not repeated(path.lower() for path in installed)


def test_resources_of_the_modules_have_names_of_their_own():
    """The application looks for .ui files and icons of all modules and all extensions in one place."""
    resources = [Path(path) for name in MODULES for path in files_present(REPOSITORY / name)["RESOURCES"]]
    assert not repeated(path.name.lower() for path in resources)
    assert [path.name for path in resources if not path.name.startswith("TopoMAE")] == []


@pytest.mark.parametrize("name", MODULES)
def test_the_only_loose_python_file_is_the_module(name):
    """The application takes every Python file in the folder for a module; libraries lie in packages."""
    scripts = files_present(REPOSITORY / name)["SCRIPTS"]
    assert [path for path in scripts if "/" not in path] == [f"{name}.py"]
    packages = {str(Path(path).parent) for path in scripts if "/" in path}
    assert packages and all(f"{package}/__init__.py" in scripts for package in packages)
    assert all(package.startswith("TopoMAE") for package in packages), "other extensions share the search path"


def test_paths_are_short_enough_for_windows():
    """Windows refuses more than 259 characters; Slicer's folder of an extension takes about 140 of them."""
    longest = max(
        (f"{name}/{path}" for name in FOLDERS for path in files_present(REPOSITORY / name)["SCRIPTS"]), key=len
    )
    compiled = f"{Path(longest).parent}/__pycache__/{Path(longest).stem}.cpython-312.pyc"
    assert len(compiled) <= 110, longest


# ---------------------------------------------------------------------------------------- descriptions


def test_the_entry_keeps_the_rules_of_the_catalogue(catalogue):
    """Those of schema v1.0.2 and of the checks that run on a new entry."""
    assert catalogue["$schema"] == SCHEMA
    assert catalogue["category"] == "Segmentation"
    assert catalogue["scm_url"] == HOME, "the repository's name begins with Slicer; git reads it by https"
    optional = {
        "scm_revision": str,
        "scm_type": str,
        "build_dependencies": list,
        "build_subdirectory": str,
        "dicom_support_rule": str,
        "enabled": bool,
        "tier": int,
    }
    others = {key: value for key, value in catalogue.items() if key not in ("$schema", "category", "scm_url")}
    assert all(isinstance(value, optional[key]) for key, value in others.items()), "unknown or mistyped"
    assert catalogue.get("scm_type", "git") in ("git", "local") and catalogue["tier"] in range(1, 6)
    assert catalogue["build_dependencies"] == ["PyTorch"]


def test_the_entry_is_formatted_as_the_catalogue_wants_it(catalogue):
    text = (REPOSITORY / "TopoMAE.json").read_bytes().decode("ascii")
    assert text == json.dumps(catalogue, indent=2, sort_keys=True) + "\n"


def test_the_project_is_named_as_its_entry_and_can_be_configured_by_slicers_cmake(cmake_text):
    assert re.findall(r"project\s*\(\s*([^\s)]+)", cmake_text)[0] == "TopoMAE"
    oldest, newest = re.search(
        r"cmake_minimum_required\(VERSION ([\d.]+)\.\.\.([\d.]+) FATAL_ERROR\)", cmake_text
    ).groups()
    assert oldest.startswith("3.20") and newest.startswith("3.22"), "Slicer 5.10 to 5.13"


def test_all_descriptions_say_the_same(catalogue, cmake_values, description):
    assert description == {
        "scm": catalogue.get("scm_type", "git"),
        "scmurl": catalogue["scm_url"],
        "scmrevision": catalogue["scm_revision"],
        "depends": " ".join(catalogue["build_dependencies"]),
        "build_subdirectory": catalogue["build_subdirectory"],
        "homepage": cmake_values["EXTENSION_HOMEPAGE"],
        "contributors": cmake_values["EXTENSION_CONTRIBUTORS"],
        "category": catalogue["category"],
        "iconurl": cmake_values["EXTENSION_ICONURL"],
        "status": "",
        "tier": str(catalogue["tier"]),
        "description": cmake_values["EXTENSION_DESCRIPTION"],
        "screenshoturls": cmake_values["EXTENSION_SCREENSHOTURLS"],
        "enabled": "1" if catalogue.get("enabled", True) else "0",
    }
    assert cmake_values["EXTENSION_HOMEPAGE"] == catalogue["scm_url"] == HOME
    assert cmake_values["EXTENSION_DEPENDS"] == description["depends"]
    assert ";" not in cmake_values["EXTENSION_DESCRIPTION"], "CMake would take it for a list"


def test_the_icon_url_leads_to_the_icon(cmake_values):
    assert linked_file(cmake_values["EXTENSION_ICONURL"]) == REPOSITORY / "Resources" / "TopoMAE.png"
    assert png_size(REPOSITORY / "Resources" / "TopoMAE.png") == (128, 128)


def test_the_screenshot_urls_lead_to_pictures(cmake_values):
    pictures = [linked_file(url) for url in cmake_values["EXTENSION_SCREENSHOTURLS"].split()]
    assert pictures and all(picture.suffix == ".png" for picture in pictures)
    missing = [str(picture.relative_to(REPOSITORY)) for picture in pictures if not picture.is_file()]
    if missing:
        pytest.xfail(f"not drawn yet: {', '.join(missing)}")
    assert all(min(png_size(picture)) >= 300 for picture in pictures)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_an_icon_named_as_itself(name):
    assert png_size(REPOSITORY / name / "Resources" / "Icons" / f"{name}.png") == (128, 128)


# ---------------------------------------------------------------------------------------- repository


def test_the_licence_lies_where_the_catalogue_looks(cmake_text):
    text = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0" in text
    for named in re.findall(r"\$\{CMAKE_CURRENT_SOURCE_DIR\}/([\w.]+)", cmake_text):
        assert (REPOSITORY / named).is_file()


def test_no_text_file_has_windows_line_ends(git):
    listed = git("ls-files", "--eol", "--cached", "--others", "--exclude-standard")
    wrong = [line.split("\t")[1] for line in listed if re.match(r"i/(crlf|mixed)|i/ +w/(crlf|mixed)", line)]
    assert not wrong, f"with carriage returns: {wrong}"


def test_the_repository_is_small(git):
    """The catalogue accepts 100 MB with all of history; what grows once stays for ever."""
    sizes = {}
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard"):
        path = REPOSITORY / name
        sizes[name] = path.stat().st_size if path.is_file() else 0
    assert {name: size for name, size in sizes.items() if size > 2 * MEGABYTE} == {}, "too large"
    assert sum(sizes.values()) < 20 * MEGABYTE
    counted = dict(line.split(": ") for line in git("count-objects", "-v"))
    assert (int(counted["size"]) + int(counted["size-pack"])) * 1024 < 60 * MEGABYTE


# ---------------------------------------------------------------------------------------- helpers


def repeated(names):
    """Those that come more than once."""
    return [name for name, times in Counter(names).items() if times > 1]


def linked_file(url):
    """The file of this repository that a URL of the published one leads to."""
    address = urlparse(url)
    assert (address.scheme, address.netloc) == ("https", "github.com")
    folder = urlparse(HOME).path + "/raw/main/"
    assert address.path.startswith(folder)
    return REPOSITORY / address.path[len(folder) :]


def png_size(path):
    """Width and height of a PNG in pixels."""
    assert path.is_file(), f"there is no {path}"
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG"
    return struct.unpack(">II", head[16:24])
