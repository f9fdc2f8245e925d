"""Pages of measurements: safe, whole, and the same as the table in a terminal."""

import re

import numpy as np

from superres.api import Picture
from superres.report.pages import Page, Section, Table, render_page, write_page

EVIL = "<script>alert(1)</script> & \"quotes\""


def page():
    return Page(EVIL, "one sentence", [
        Section("numbers", [EVIL], table=Table(["name", "value"], [["a", "1.5"], ["longer", "−2"]]), warnings=[EVIL]),
        Section("pictures", pictures=[Picture(EVIL, "what is seen", np.zeros((8, 9, 3), np.uint8))], svg="<svg></svg>"),
    ])


def test_strings_are_escaped_and_nothing_is_loaded():
    text = render_page(page())
    assert "<script" not in text and text.count("&lt;script&gt;") >= 4
    assert "<svg></svg>" in text
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text) and "url(" not in text


def test_the_same_page_is_the_same_file(tmp_path):
    write_page(page(), tmp_path / "a.html")
    write_page(page(), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_tables_line_up_in_a_terminal():
    assert list(page().sections[0].table.as_text()) == ["name    value", "a         1.5", "longer     −2"]


def test_a_long_file_name_may_be_broken_and_stays_escaped():
    table = Table(["element", "usaf_real_scan<b>.npy"], [["a_b", "0.5_5"]], wraps=True)
    text = render_page(Page("T", "h", [Section("s", table=table)]))
    assert "usaf_<wbr>real_<wbr>scan&lt;b&gt;.<wbr>npy</th>" in text and "<td>a_<wbr>b</td>" in text
    assert ">0.5_5</td>" in text, "numbers stay whole"
