"""The documentation is built without a warning and without the network, and every link and picture in it is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer.main
from documents import DOCS, REPOSITORY, anchors, documents, links

import topomae
from topomae import config
from topomae.cli import app

COMMANDS = typer.main.get_command(app).commands

_FILE = re.compile(r"(?<![\w/])((?:Testing|topomae|TopoMAE\w+|docs)/[\w/]+\.(?:py|md|png|json|txt))\b")
NO_NETWORK = """
import socket, sys
def refused(*_): raise OSError("the build must not use the network")
socket.socket.connect = socket.getaddrinfo = refused
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    command = [sys.executable, "-c", NO_NETWORK, *options, str(DOCS), str(folder / "html")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "html"


class Page(HTMLParser):
    """What a page of the site refers to, and what in it can be referred to."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.targets, self.names, self.loaded = path, set(), set(), set()
        self.pictures_without_words = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.names.add(given.get("id"))
        if tag == "a" and given.get("href"):
            self.targets.add(given["href"])
        loads = tag in ("script", "img", "source", "iframe") or (
            tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon")
        )
        if loads:
            self.loaded |= {given.get("src") or given.get("href")} - {None}
        self.pictures_without_words += tag == "img" and not given.get("alt") and "logo" not in given.get("class", "")


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    """Every page of the site."""
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def test_every_document_is_a_page(site, pages):
    for document in DOCS.rglob("*.md"):
        assert (site / document.relative_to(DOCS)).with_suffix(".html") in pages


def test_every_link_of_the_site_leads_somewhere(site, pages):
    dead = []
    for path, page in pages.items():
        for target in page.targets | page.loaded:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file():
                dead.append(f"{path.relative_to(site)}: {target}")
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].names:
                dead.append(f"{path.relative_to(site)}: {target} (no such heading)")
    assert not dead, "\n".join(dead)


def test_no_page_loads_anything_from_elsewhere(pages):
    loaded = {target for page in pages.values() for target in page.loaded}
    assert not {target for target in loaded if urlsplit(target).netloc}


def test_every_picture_has_words_for_those_who_do_not_see_it(pages):
    assert not [path.name for path, page in pages.items() if page.pictures_without_words]


def test_formulas_are_drawn_into_the_page(site):
    text = (site / "method.html").read_text(encoding="utf-8")
    assert text.count('<svg class="math"') > 15 and "MathJax" not in text and "$" not in text.partition("<article")[2]


def test_every_command_and_setting_is_in_the_reference(site):
    text = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name, command in COMMANDS.items():
        for words in (name, *(f"{name} {part}" for part in getattr(command, "commands", {}))):
            assert f"<h2>topomae {words}<" in text
    assert "assignments" not in text
    text = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    for kind in (config.PretrainSettings, config.FinetuneSettings, config.ClassifySettings, config.SegmentSettings):
        assert not [name for name in kind.model_fields if f">{name}<" not in text]


def test_every_public_function_is_in_the_reference(site):
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    functions = [name for name in topomae.__all__ if name[0].islower()]
    assert functions and not [name for name in functions if f'id="topomae.{name}"' not in text]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_between_files_work_where_the_repository_is_read(document):
    for target, anchor in links(document):
        assert target.exists(), f"{document.name}: {target}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{document.name}: {target.name}#{anchor}"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_that_a_document_names_are_there(document):
    named = set(_FILE.findall(document.read_text(encoding="utf-8")))
    named -= {"docs/README.md"}  # of a model folder
    assert not [name for name in named if not (REPOSITORY / name).exists()]
