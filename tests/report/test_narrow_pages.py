"""Tables on a phone: rows of words become blocks with every number named, of the others the first column stays."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from superres.report.builder import render
from superres.report.data import ReportData
from superres.report.pages import Page, Section, Table, render_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE_PX = 400

NAMES = ["a_rather_long_name_of_a_slide_2024-05-01_scan_17", "he_histoqc_2", "skimage-ihc"]
WORDS = Table(["field", "specimen", "ssim", "difference-mean", "consistency-p99"],
              [[name, name, "0.932 (0.834)", "2.31 (4.1)", "1.2 (3.2)"] for name in NAMES], words=2, wraps=True)
NUMBERS = Table(["weights", *NAMES, "mean"], [["bicubic", *["0.834"] * 4], [NAMES[0], *["0.883 (+0.123) †"] * 4]])

PROBE = """<script>
const found = [];
for (const box of document.querySelectorAll(".scroll")) {
  if (!box.offsetWidth) continue;
  const kind = ["stack", "rejected", "facts"].find(name => box.classList.contains(name)) || "sticky";
  const wide = box.scrollWidth > box.clientWidth;
  box.scrollLeft = 9999;
  const cell = box.querySelector("tbody td"), edge = box.getBoundingClientRect();
  const place = cell.getBoundingClientRect();
  found.push([kind, wide, Math.round(place.left - edge.left), Math.round(place.width)].join(" "));
}
parent.postMessage("PROBE " + document.documentElement.scrollWidth + "|" + found.join("|") + " END", "*");
</script></body>"""

HOST = f"""<!doctype html><script>
addEventListener("message", event => {{ document.body.textContent = event.data; }});
</script><body><iframe src="page.html" width="{PHONE_PX}" height="900" style="border: 0"></iframe>"""
"""A window of its own has a least width, which is above that of a phone."""


@pytest.fixture
def on_a_phone(tmp_path: Path):
    """A page's own width in a real browser of a phone's width, and of every table (kind, whether it scrolls, place and
    width of the first cell after it was scrolled)."""
    if BROWSER is None:
        pytest.skip("no chromium here; the tests of the page's text still run")

    def look(html: str) -> tuple[int, list[tuple[str, bool, int, int]]]:
        (tmp_path / "page.html").write_text(html.replace("</body>", PROBE), encoding="utf-8")
        path = tmp_path / "host.html"
        path.write_text(HOST, encoding="utf-8")
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", path.as_uri()],
            capture_output=True, text=True, timeout=120)
        told = re.search(r"PROBE (\d+)\|(.*?) END", done.stdout, flags=re.DOTALL)
        assert told, done.stderr
        rows = [row.split() for row in told[2].split("|")]
        return int(told[1]), [(kind, wide == "true", int(left), int(width)) for kind, wide, left, width in rows]

    return look


def test_tables_of_words_stack_and_name_every_cell_but_the_first():
    text = render_page(Page("T", "h", [Section("w", table=WORDS), Section("n", table=NUMBERS)]))
    words, numbers = re.findall(r'<div class="scroll[^>]*><table.*?</table>', text, flags=re.DOTALL)
    assert words.startswith('<div class="scroll stack">') and numbers.startswith('<div class="scroll">')
    for row in re.findall(r"<tr><td.*?</tr>", words):
        assert re.findall(r'data-name="([^"]+)"', row) == list(WORDS.head[1:])
    assert "data-name" not in numbers, "its heads stay in sight"


def test_the_scores_of_a_report_stack(run: ReportData):
    first = re.search(r'<div class="scroll matrix stack">.*?</table>', render(run), flags=re.DOTALL)
    assert first is not None
    row = re.findall(r"<tr><td.*?</tr>", first[0], flags=re.DOTALL)[0]
    beside = ["bicubic", "difference"]
    assert re.findall(r'data-name="([^"]+)"', row) == ["ssim", *beside, "difference-mean (%)", *beside]


def test_in_a_browser_no_stacked_table_scrolls_and_other_rows_keep_their_names(on_a_phone):
    page, (words, numbers) = on_a_phone(render_page(Page("T", "h", [Section("w", table=WORDS),
                                                                    Section("n", table=NUMBERS)])))
    assert page <= PHONE_PX
    assert words[:2] == ("stack", False)
    kind, wide, left, width = numbers
    assert (kind, wide) == ("sticky", True) and left in (0, 1), "the border"
    assert width < PHONE_PX / 2, "or it would hide the numbers"


def test_in_a_browser_a_report_does_not_scroll_sideways(on_a_phone, run: ReportData):
    page, tables = on_a_phone(render(run))
    assert page <= PHONE_PX and {"stack"} <= {kind for kind, *_ in tables}
    assert not [kind for kind, wide, *_ in tables if kind in ("stack", "rejected") and wide]
