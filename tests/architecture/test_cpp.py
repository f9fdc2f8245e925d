"""House rules of csrc/, read as text: headers that can be included in any order, and lines that fit a page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("csrc", "examples/cpp") for path in sorted((ROOT / folder).rglob("*.*"))
           if path.suffix in (".h", ".cpp", ".cu")]
HEADERS = [path for path in SOURCES if path.suffix == ".h"]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_lines_fit_the_width_that_clang_format_is_told() -> None:
    (width,) = re.findall(r"^ColumnLimit: (\d+)$", text(ROOT / ".clang-format"), re.MULTILINE)
    assert len(SOURCES) > 40
    files = [*SOURCES, ROOT / "CMakeLists.txt", *ROOT.glob("examples/cpp/CMakeLists.txt")]
    assert [f"{path.relative_to(ROOT)}:{number}" for path in files
            for number, line in enumerate(text(path).splitlines(), 1) if len(line) > int(width)] == []


def test_a_header_says_what_it_is_for_and_may_come_twice() -> None:
    for path in HEADERS:
        assert text(path).startswith(("//", "/*")), path
        assert "#pragma once" in text(path) or re.search(r"^#ifndef (SUPERRES_\w+_H)\n#define \1$", text(path),
                                                         re.MULTILINE), path


def test_no_header_opens_a_namespace_for_who_includes_it() -> None:
    assert [path.name for path in HEADERS if re.search(r"^using namespace", text(path), re.MULTILINE)] == []


def test_public_headers_are_c() -> None:
    """The words of C++ stand only where a C++ compiler sees them."""
    for path in sorted((ROOT / "csrc" / "include").rglob("*.h")):
        code = re.sub(r"/\*.*?\*/", "", text(path), flags=re.DOTALL)
        assert code.count("#ifdef __cplusplus") == 2 and 'extern "C" {' in code, path
        assert not re.search(r"std::|\bnamespace\b|\bclass\b|//|\btemplate\b", code), path


def test_every_source_is_built() -> None:
    listed = text(ROOT / "CMakeLists.txt")
    units = [path.relative_to(ROOT).as_posix() for path in SOURCES if path.suffix != ".h"]
    assert [name for name in units if name not in listed and not name.startswith("examples")] == []
