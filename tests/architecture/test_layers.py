"""House rules read from the syntax trees: imports point down, heavy libraries stay upstairs, only the CLI prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

LEVELS: dict[str, int] = {
    "_version": 0, "errors": 0, "image": 0, "transform": 0, "events": 0,
    "native": 1, "weights": 1, "io": 1, "optics": 1, "registration": 1, "resample": 1,
    "api": 2,
    "config": 3, "catalog": 3, "hookspecs": 3, "builtin": 3, "scan_folder": 3,
    "overrides": 3, "problems": 3,
    "plan": 4,
    "stages": 5, "training": 5, "inference": 5, "report": 5,
    "pipeline": 6, "run": 6, "artefacts": 6, "stage_keys": 6, "results": 6, "engine": 6, "upscaling": 6, "stitching": 6,
    "diagnosis": 6, "measuring": 6, "guard": 6,
    "cli": 7, "testing": 7, "__main__": 7,
}
HEAVY = {"torch", "matplotlib", "zarr", "skimage", "jinja2"}
CHEAP = {"cli"}  # what `superres --help` imports
PACKAGE = Path(__file__).resolve().parents[2] / "superres"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@dataclass(frozen=True)
class Import:
    """One imported module.  lazy: inside a function.  typing_only: under `if TYPE_CHECKING`."""

    module: str
    line: int
    lazy: bool
    typing_only: bool


def imports(source: str) -> Iterator[Import]:
    yield from _imports(ast.parse(source), lazy=False, typing_only=False)


def _imports(node: ast.AST, *, lazy: bool, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, lazy, typing_only)
        elif isinstance(child, ast.ImportFrom):
            if child.level:
                yield Import("." * child.level + (child.module or ""), child.lineno, lazy, typing_only)
            for alias in child.names if not child.level else ():
                # `from superres import engine` names a module of the package as much as `import superres.engine` does
                joined = f"{child.module}.{alias.name}" if child.module == "superres" else str(child.module)
                yield Import(joined, child.lineno, lazy, typing_only)
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for statement in child.body:
                yield from _imports(ast.Module([statement], []), lazy=lazy, typing_only=True)
            for statement in child.orelse:
                yield from _imports(ast.Module([statement], []), lazy=lazy, typing_only=typing_only)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, lazy=lazy or function, typing_only=typing_only)


def place(path: Path) -> str:
    """The top-level part of the package that a file belongs to, as in LEVELS."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def upward(own: str, source: str) -> list[str]:
    """Imports of `source`, a file of part `own`, that point up or nowhere."""
    found = []
    for each in imports(source):
        if each.typing_only:
            continue
        if each.module.startswith("."):
            found.append(f"line {each.line}: relative import {each.module}; write it from superres")
        parts = each.module.split(".")
        if parts[0] != "superres" or len(parts) == 1 or parts[1] == "__version__":
            continue
        if parts[1] == "testing" and own != "testing":
            found.append(f"line {each.line}: {each.module}; superres.testing is for plug-in authors")
        elif parts[1] not in LEVELS:
            found.append(f"line {each.line}: superres.{parts[1]} has no level")
        elif LEVELS[parts[1]] > LEVELS[own]:
            found.append(f"line {each.line}: {each.module} (level {LEVELS[parts[1]]}) from level {LEVELS[own]}")
    return found


def heavy(own: str, source: str) -> list[str]:
    """Imports of heavy libraries that would be paid for by whoever only reads a pipeline file."""
    found = []
    for each in imports(source):
        library = each.module.split(".")[0]
        if library not in HEAVY or each.typing_only:
            continue
        at_import_below_5 = not each.lazy and LEVELS[own] < 5 and own != "builtin"
        if at_import_below_5 or (own == "api" and library == "torch") or (own in CHEAP and not each.lazy):
            found.append(f"line {each.line}: {each.module}")
    return found


def prints(source: str) -> list[str]:
    return [f"line {node.lineno}: print()" for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"]


def complaints(check: object) -> list[str]:
    assert callable(check)
    return [f"{path.relative_to(PACKAGE.parent)} {complaint}" for path in SOURCES
            for complaint in check(path, path.read_text(encoding="utf-8"))]


def test_every_module_has_a_level() -> None:
    assert len(SOURCES) > 10
    assert {place(path) for path in SOURCES} <= set(LEVELS)


def test_imports_point_down() -> None:
    assert complaints(lambda path, source: upward(place(path), source)) == []


def test_heavy_libraries_are_not_imported_downstairs() -> None:
    assert complaints(lambda path, source: heavy(place(path), source)) == []


def test_only_the_command_line_prints() -> None:
    assert complaints(lambda path, source: [] if place(path) == "cli" else prints(source)) == []


def test_no_module_needs_itself_to_be_imported() -> None:
    """Imports at module level form no cycle (a cycle works or fails by who comes first)."""
    graph = {module_name(path): {known for each in imports(path.read_text(encoding="utf-8"))
                                 if not each.lazy and not each.typing_only
                                 for known in [nearest_module(each.module)] if known}
             for path in SOURCES}
    done: set[str] = set()
    cycles: list[str] = []

    def visit(module: str, trail: tuple[str, ...]) -> None:
        if module in trail:
            cycles.append(" → ".join([*trail[trail.index(module):], module]))
        elif module not in done:
            for needed in sorted(graph.get(module, ())):
                visit(needed, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    assert cycles == []


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def nearest_module(name: str) -> str | None:
    """The file that `name` stands for: superres.io.atomic.write_text → superres.io.atomic."""
    known = {module_name(path) for path in SOURCES}
    parts = name.split(".")
    return next((".".join(parts[:n]) for n in range(len(parts), 1, -1) if ".".join(parts[:n]) in known), None)


@pytest.mark.parametrize(("own", "source"), [
    ("image", "from superres.api import Model"),
    ("api", "def f():\n    import superres.engine"),
    ("io", "from superres import pipeline"),
    ("stages", "from superres.testing import ModelContract"),
    ("plan", "from . import config"),
    ("plan", "import superres.unheard_of"),
    ("image", "if TYPE_CHECKING:\n    pass\nelse:\n    import superres.cli"),
])
def test_an_import_that_points_up_is_seen(own: str, source: str) -> None:
    assert len(upward(own, source)) == 1


@pytest.mark.parametrize(("own", "source"), [
    ("engine", "import superres.errors\nfrom superres.inference.tiles import cut"),
    ("image", "if TYPE_CHECKING:\n    from superres.engine import Engine"),
    ("cli", "from superres import __version__"),
])
def test_an_import_that_points_down_is_fine(own: str, source: str) -> None:
    assert upward(own, source) == []


@pytest.mark.parametrize(("own", "source", "count"), [
    ("io", "import zarr", 1),
    ("io", "def f():\n    import zarr", 0),
    ("api", "def f():\n    import torch", 1),
    ("api", "if TYPE_CHECKING:\n    from torch import nn", 0),
    ("builtin", "from skimage.metrics import structural_similarity", 0),
    ("cli", "import torch", 1),
    ("training", "import torch", 0),
    ("plan", "try:\n    import torch\nexcept ImportError:\n    pass", 1),
])
def test_a_heavy_import_is_seen_where_it_costs(own: str, source: str, count: int) -> None:
    assert len(heavy(own, source)) == count


def test_a_print_is_seen() -> None:
    assert prints("def f():\n    print('here')") == ["line 2: print()"]
