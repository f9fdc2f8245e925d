"""docs/reproduced.md: the paper's tables and figures beside our own run of them.

    SUPERRES_DATA=... python -m benchmarks.reproduced RUN [ITEM...]   # measure (all, or these), record, write the page
    python -m benchmarks.reproduced                                   # write the page anew from the record

RUN: folder of the run that trained the weights in the package (`make weights`), for Table S2 and Fig. S4.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, get_args

from superres._version import __version__
from superres.diagnosis import processor
from superres.engine import Engine
from superres.events import Events
from superres.io.weights import read_weights, tensors_digest
from superres.measuring.reproduction import PAIRED, Item, Subject, reproduce
from superres.measuring.scoring import load_pairs
from superres.report.pages import Page, Table
from superres.weights import shipped_weights

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "studies" / "reproduced.json"
PAGE = ROOT / "docs" / "reproduced.md"
SECOND = ROOT / "tests" / "data" / "quickstart-weights.safetensors"
"""Fig. S9 wants two networks: these were trained for minutes on drawn sections of three stains."""

SLIDES = ("he_histolab_t1", "he_histolab_t2", "he_histoqc_2", "mt_liver_1", "mt_liver_2")
"""Haematoxylin and eosin, and Masson's trichrome, of slides that training never saw."""

SCENES: Mapping[str, tuple[str, ...]] = {
    "S1": SLIDES, "figure-S6": ("he_histoqc_2",), "figure-S7": ("he_histoqc_2", "mt_liver_1"),
    "figure-S9": ("he_histoqc_2", "mt_liver_1", "ihc_colon_skimage")}
"""Files of test/ in SUPERRES_DATA, by item."""

COMMON = ("Network: ", "Processor: ", "Its training: ", "Ours and the paper's numbers")
"""Beginnings of what every page says of itself; here it stands once."""


@dataclass(frozen=True, eq=False)
class Bench:
    """Where the run and the micrographs lie, and the networks."""

    run: Path
    data: Path
    shipped: Engine
    second: Engine

    def subject(self, item: Item) -> Subject:
        pairs = None
        if item in PAIRED:
            pairs = load_pairs([str(self.data / "test" / f"{name}.png") for name in SCENES[item]])
        if item == "figure-S9":
            return Subject({shipped_weights().stem: self.shipped, SECOND.stem: self.second}, pairs)
        return Subject({"superres": self.shipped}, pairs, self.run)


def measure(bench: Bench, items: Sequence[Item]) -> dict[str, Any]:
    """Item → what its page says, without the pictures."""
    return {item: recorded(reproduce(item, bench.subject(item), Events())) | {"made": _made()} for item in items}


def recorded(page: Page) -> dict[str, Any]:
    """Headline, tables and sentences of a page as JSON takes them."""
    last = page.sections[-1]
    said = [text for text in last.paragraphs if not text.startswith(COMMON)]
    return {"title": page.title, "headline": page.headline, "differs": said,
            "common": [text for text in last.paragraphs if text.startswith(COMMON)],
            "sections": [{"title": section.title, "paragraphs": list(section.paragraphs), "warnings": [
                text for text in section.warnings if text not in last.paragraphs], "table": _cells(section.table)}
                for section in page.sections[:-1]
                if section.table is not None or section.warnings or not (section.svg or section.pictures)]}


def page(record: Mapping[str, Any]) -> str:
    """The whole document."""
    items = record["items"]
    common = dict.fromkeys(text for each in items.values() for text in each["common"])
    parts = [
        "# The paper's tables and figures, beside ours",
        "What `superres reproduce` gives with the weights that come with superres. Everything below was written by "
        "`python -m benchmarks.reproduced` from its record, [reproduced.json](../benchmarks/studies/reproduced.json); "
        "nothing is typed by hand. [measuring.md](measuring.md) says how each thing is measured, and what it cannot "
        "show; times of larger inputs and of other engines are in [performance.md](performance.md).",
        "## What differs in data and hardware",
        *(f"- {_plain(text)}" for text in common),
        "- Scenes: files of `test/` in `SUPERRES_DATA`, one specimen a file, of slides that training never saw; none "
        "is binned, though some are soft (the model card has their scores when binned).",
        f"- Weights: sha256 of their tensors {record['weights'][:12]}…, superres {record['version']}.",
    ]
    for item in get_args(Item):
        each = items.get(item)
        if each is None:
            continue
        parts += [f"## {_plain(each['title'])}", f"**{_plain(each['headline'])}**", f"```sh\n{command(item)}\n```",
                  *(_plain(text) for text in each["differs"])]
        for section in each["sections"]:
            parts += [*([f"### {_plain(section['title'])}"] if section["table"] or not section["warnings"] else []),
                      *(f"> {_plain(text)}" for text in section["warnings"]),
                      *(_plain(text) for text in section["paragraphs"])]
            if section["table"]:
                parts += ["\n".join(_rows(section["table"])), *([_plain(section["table"]["legend"])]
                                                               if section["table"]["legend"] else [])]
        parts.append(_hardware(each["made"]))
    return "\n\n".join(_joined(parts)) + "\n"


def _hardware(made: Mapping[str, Any]) -> str:
    busy = " – others worked beside: seconds are upper bounds" if made["load"] > made["cores"] else ""
    return (f"*{made['date']}, commit {made['commit']}, {made['processor']}, {made['threads']} of "
            f"{made['cores']} threads, load of the machine {made['load']} at the end{busy}.*")


def command(item: Item) -> str:
    """What a reader types for the same page."""
    scenes = [f"$SUPERRES_DATA/test/{name}.png" for name in SCENES.get(item, ())]
    kind, name = ("figure", item.removeprefix("figure-")) if item.startswith("figure-") else ("table", item)
    extra = ["--run", "runs/weights"] if item in ("S2", "figure-S4") else []
    if item == "figure-S9":
        extra = [word for path in (shipped_weights(), SECOND) for word in ("--weights", str(path.relative_to(ROOT)))]
    return " ".join(["superres reproduce", *scenes, f"--{kind}", name, *extra])


def _joined(parts: Sequence[str]) -> list[str]:
    """Lines of one list stay together."""
    found: list[str] = []
    for part in parts:
        if part.startswith("- ") and found and found[-1].startswith("- "):
            found[-1] += f"\n{part}"
        else:
            found.append(part)
    return found


def _rows(table: Mapping[str, Any]) -> list[str]:
    rule = ["---" if column < table["words"] else "---:" for column in range(len(table["head"]))]
    return ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in (table["head"], rule, *table["rows"])]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "|*_`<" else letter for letter in text)


def _cells(table: Table | None) -> dict[str, Any] | None:
    return None if table is None else {"head": list(table.head), "rows": [list(row) for row in table.rows],
                                       "words": table.words, "legend": table.legend}


def _made() -> dict[str, Any]:
    import torch

    done = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude", "*"], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    return {"date": date.today().isoformat(), "commit": done.stdout.strip(), "processor": processor(),
            "cores": os.cpu_count(), "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)}


def digest(path: Path) -> str:
    """Of the network: what else a weights file says may be added to without another score."""
    return tensors_digest(read_weights(path).tensors)


def main(words: Sequence[str]) -> None:
    if words:
        run, items = Path(words[0]), list(words[1:]) or list(get_args(Item))
        if digest(run / "weights.safetensors") != digest(shipped_weights()):
            raise SystemExit(f"error: '{run}' did not train the weights that come with superres\n"
                             "hint: give the folder of their run; Table S2 and Fig. S4 are about it")
        data = Path(os.environ.get("SUPERRES_DATA", ROOT.parent / "shared" / "data"))
        record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() and len(words) > 1 else {"items": {}}
        record |= {"weights": digest(shipped_weights()), "version": __version__}
        if "figure-S9" in items:
            record["second"] = digest(SECOND)
        bench = Bench(run, data, Engine.load(shipped_weights(), device="cpu"), Engine.load(SECOND, device="cpu"))
        record["items"] |= measure(bench, items)
        RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RECORD.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
