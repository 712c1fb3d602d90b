"""The report on a phone: one column, nothing cut off, tables that scroll inside themselves."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
from test_report import Page, a_run, an_evaluation  # noqa: F401 (fixtures)

from topomae.reporting.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Measures the report in a frame as wide as a phone: the page, and everything outside a scroller that sticks out.
MEASURING = """<!DOCTYPE html><body style="margin:0">
<iframe id="phone" style="border:0;width:WIDTHpx;height:640px" srcdoc="PAGE"></iframe><pre id="told"></pre><script>
window.onload = () => {
  const page = phone.contentDocument, out = [], rows = (e) => new Set(
    [...e.querySelectorAll(':scope > figure, :scope > div')].map(c => c.getBoundingClientRect().top)).size;
  for (const e of page.querySelectorAll('body *'))
    if (!e.closest('.scroll') && e.getBoundingClientRect().right > WIDTH + 1) out.push(e.tagName + ' ' + e.className);
  told.textContent = 'TOLD' + JSON.stringify({
    width: page.documentElement.scrollWidth, out,
    tables: [...page.querySelectorAll('table')].map(t => [t.offsetWidth, t.closest('.scroll').offsetWidth]),
    curves: [...page.querySelectorAll('.curves')].map(c => [rows(c), c.children.length]),
    text: parseFloat(getComputedStyle(page.body).fontSize)}) + 'END'; };
</script></body>"""


@pytest.fixture
def report(an_evaluation, a_run, tmp_path):  # noqa: F811
    return write_report(tmp_path / "out", pretrain=a_run, finetune=a_run, evaluation=an_evaluation)


def test_the_page_says_that_it_fits_any_width_and_every_table_has_its_scroller(report):
    text = report.read_text(encoding="utf-8")
    metas = {a.get("name"): a.get("content") for tag, a in Page(text).elements if tag == "meta"}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert len(re.findall(r'<div class="scroll[^>]*><table', text)) == text.count("<table") > 3
    assert "@media screen and (max-width: 37.5rem)" in text
    assert "figure img { width: 100%; height: auto;" in text


def test_a_browser_as_narrow_as_a_phone_shows_everything(report, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser here, none of {', '.join(BROWSERS)}")
    for width in (320, 412):
        told = measured(report, width, browser, tmp_path)
        assert (told["width"], told["out"]) == (width, [])
        assert max(scroller for _, scroller in told["tables"]) <= width
        assert any(table > scroller for table, scroller in told["tables"]), "a table is wide enough to show it"
        assert all(rows == pictures for rows, pictures in told["curves"]), "curves in one column"
        assert told["text"] >= 16


def measured(report, width, browser, folder):
    """What MEASURING finds in a report at a width in pixels."""
    page = html.escape(report.read_text(encoding="utf-8"), quote=True)
    frame = folder / "frame.html"
    frame.write_text(MEASURING.replace("WIDTH", str(width)).replace("PAGE", page), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=5000", "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    found = re.search(r"TOLD(\{.*\})END</pre>", done.stdout)
    assert found, f"{browser} ended with {done.returncode}: {done.stderr[-1000:]}"
    return json.loads(html.unescape(found[1]))
