"""Pages of single measurements: one HTML file each that loads nothing, in the dress of the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from superres.api.evaluator import Picture
from superres.io.atomic import write_text
from superres.report.templating import asset, environment


@dataclass(frozen=True)
class Table:
    """head: names of the columns.  rows: cells as text.  words: how many columns from the left hold words, not
    numbers.  legend: what a mark in the cells means, "" where there is none.  wraps: a wide table, whose heads and
    cells may take two lines on a page."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    legend: str = ""
    wraps: bool = False

    @property
    def stacks(self) -> bool:
        """Whether a row becomes a block of its own on a phone: where several columns hold words, nothing else fits
        beside them.  Of other tables the first column stays in sight."""
        return self.words > 1

    def as_text(self) -> Iterator[str]:
        """Lines for a terminal: columns of one width, words to the left, numbers to the right."""
        lines = [list(self.head), *(list(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        for line in lines:
            cells = (cell.ljust(width) if column < self.words else cell.rjust(width)
                     for column, (cell, width) in enumerate(zip(line, widths, strict=True)))
            yield "  ".join(cells).rstrip()
        if self.legend:
            yield self.legend


@dataclass(frozen=True, eq=False)
class Section:
    """paragraphs come first, then svg (the package's own drawing), the table, and the pictures.

    warning: paragraphs that the reader should not miss.  side_by_side: pictures of one size in a row.
    """

    title: str
    paragraphs: Sequence[str] = ()
    table: Table | None = None
    svg: str = ""
    pictures: Sequence[Picture] = ()
    warnings: Sequence[str] = ()
    side_by_side: bool = False


@dataclass(frozen=True, eq=False)
class Page:
    """title, headline: what was measured, and what came out in one sentence.  sections: in reading order."""

    title: str
    headline: str
    sections: Sequence[Section]
    subtitle: str = ""


def write_page(page: Page, path: Path) -> None:
    """Write the page at once or not at all; the same page gives the same bytes.  Raises StorageError."""
    write_text(path, render_page(page))


def render_page(page: Page) -> str:
    """HTML text; all strings are escaped, only the package's own SVG and CSS are not."""
    made = environment()
    made.filters.update(drawn=Markup, breakable=_breakable)
    return made.get_template("page.html").render(page=page, style=asset("report.css"))


def _breakable(name: str) -> Markup:
    """A line may end within a long file name, or its column would hide those beside it on a narrow page."""
    return Markup(re.sub(r"([_-](?=\w)|\.(?=[a-z]))", r"\1<wbr>", str(escape(name))))
