"""docs/plugins.md: its plug-in passes its suite and is found by its hook, and its tables are those of the code."""

from __future__ import annotations

import re
import tomllib
import types
from pathlib import Path

from superres import api, testing
from superres.catalog import ENTRY_POINT_GROUP, Catalog
from superres.cli.group import COMMANDS_GROUP

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SECTIONS = {"source": "[source]", "registrar": "[register]", "model": "[model]", "loss": "[[loss]]",
            "evaluator": "[[evaluate]]"}


def blocks(language: str) -> list[str]:
    return [str(found) for found in re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)]


def module() -> types.ModuleType:
    """The page's plug-in and its test, as one file."""
    made = types.ModuleType("superres_huber")
    made.__file__ = str(ROOT / "docs" / "plugins.md")
    exec(compile("\n".join(blocks("python")), "docs/plugins.md", "exec"), made.__dict__)
    return made


MODULE = module()


class TestThePluginOfThePage(MODULE.TestHuber):  # type: ignore[name-defined,misc]
    pass


def test_its_hook_offers_it_and_its_options_are_what_the_page_sets():
    catalog = Catalog.empty()
    catalog.register(MODULE, distribution="superres-huber")
    plugin = catalog.get("loss", "huber")
    (written,) = re.findall(r'`\[\[loss\]\]` with `plugin = "huber"` and `(options = [^`]+)`', PAGE)
    plugin.Options(**tomllib.loads(written)["options"])


def test_entry_points_are_of_the_groups_that_are_looked_for():
    tables = [tomllib.loads(text)["project"]["entry-points"] for text in blocks("toml")]
    assert [list(table) for table in tables] == [[ENTRY_POINT_GROUP], [COMMANDS_GROUP]]
    assert tables[0] == {"superres": {"huber": MODULE.__name__}}


def test_the_table_of_kinds_is_that_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE, flags=re.MULTILINE)
    kinds = {kind.__name__: kind for kind in (api.Source, api.Registrar, api.Model, api.Loss, api.Evaluator)}
    assert [name for name, _ in rows] == list(kinds)
    for name, rest in rows:
        kind = kinds[name]
        must, may, (hook,), (suite,), section = (re.findall(r"`([^`]+)`", cell) for cell in rest.split("|"))
        own = {each for each in vars(kind) if not each.startswith("_")} - {"kind"}
        assert set(must) == kind.__abstractmethods__ and set(may) == own - kind.__abstractmethods__
        assert hook == f"superres_{kind.kind}{'es' if kind.kind == 'loss' else 's'}"
        assert suite in testing.__all__ and section == [SECTIONS[kind.kind]]


def test_messages_that_the_page_quotes_are_said():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "superres").rglob("*.py"))
    table = PAGE.partition("## What becomes of mistakes")[2].partition("\n## ")[0]
    quoted = [text for text in re.findall(r"`([^`]+)`", table) if " " in text and not text.startswith("superres ")]
    assert len(quoted) >= 6 and [text for text in quoted if text not in code] == []


def test_what_it_names_and_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    assert {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()} == set(
        re.findall(r"\[(superres-\w+)\]", PAGE))
    assert all(hasattr(api, name) for name in ("ResolvedPath", "RegistrationError", "PluginOptions"))
