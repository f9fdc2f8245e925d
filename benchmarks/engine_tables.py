"""The tables of docs/performance.md, from the records in benchmarks/history: `python -m benchmarks.engine_tables`.

Puts each between its markers; tests/docs checks that the page and the records agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import prediction_tables
from superres.measuring.paper import TABLE_S3

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "benchmarks" / "history"
PAGE = ROOT / "docs" / "performance.md"
NO_GPU = "not yet measured on a GPU"
ENGINE_FILES = ("bench_cpu_engines.py", "bench_gpu_engines.py", "bench_gpu_stream.py", "bench_inference.py",
                "bench_stream.py")


@dataclass(frozen=True)
class Record:
    """One benchmark of one run.

    test, case: of `test[case]`.  when: date and time of the run in UTC, ISO 8601.  facts: what it noted beside
    pytest-benchmark's own.
    """

    file: str
    test: str
    case: str
    when: str
    commit: str
    machine: dict[str, Any]
    facts: dict[str, Any]


def records(history: Path = HISTORY) -> list[Record]:
    """Every benchmark of an engine, the newest of each (test, case, side, card, engine) alone: one card's times are not
    another's, and take nothing from it, nor do those of what `auto` takes now from those of what it took."""
    newest: dict[tuple[str, str, int, str, str], Record] = {}
    for each in _every(history):
        key = (each.test, each.case, int(each.facts.get("side_px", 0)), str(each.facts.get("card", "")),
               prediction_tables.engine_in(each))
        if key not in newest or each.when > newest[key].when:
            newest[key] = each
    return list(newest.values())


def _every(history: Path) -> Iterator[Record]:
    for path in sorted(history.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for each in content["benchmarks"]:
            file, _, name = each["fullname"].rpartition("::")
            if Path(file).name in ENGINE_FILES:
                test, _, case = name.partition("[")
                commit = content["commit_info"]["id"][:7] + ("+" if content["commit_info"].get("dirty") else "")
                yield Record(Path(file).name, test, case.rstrip("]"), content["datetime"], commit,
                             content["machine_info"], each["extra_info"])


def rivals(found: Sequence[Record]) -> str:
    """`Engine` beside each rival, at the largest side that was measured with it."""
    lines = ["| precision | against | input | `Engine`, s | its time, s | `Engine` / it | least – greatest | "
             "by processor time | rounds, load | commit |", "|---|---|---|---|---|---|---|---|---|---|"]
    for test in ("test_exact", "test_fast"):
        largest: dict[str, Record] = {}
        for each in (one for one in found if one.test == test and "side_px" in one.facts):
            if each.case not in largest or _rank(each) > _rank(largest[each.case]):
                largest[each.case] = each
        for name, each in largest.items():
            quality = each.facts["quality"]
            lines.append(
                f"| {test.removeprefix('test_')} | {name} | {each.facts['side_px']}² | {quality['engine_s']:.1f} | "
                f"{quality['reference_s']:.1f} | {each.facts['ratio']:.2f} | {quality['least_ratio']:.2f} – "
                f"{quality['greatest_ratio']:.2f} | {quality['processor_ratio']:.2f} | {quality['rounds']}, "
                f"{max(each.facts['load']):.0f} | {each.commit} |")
        lines += [] if largest else [f"| {test.removeprefix('test_')} | not yet measured |" + " – |" * 8]
    return "\n".join(lines)


def _rank(each: Record) -> tuple[int, str]:
    """The largest side first, then the newest."""
    return int(each.facts["side_px"]), each.when


def paper(found: Sequence[Record]) -> str:
    """The paper's seconds beside ours."""
    lines = ["| input | paper, one GTX 1080, s | paper, two, s | here, the CPU above, s | here, a GPU |",
             "|---|---|---|---|---|"]
    for row in TABLE_S3:
        own = [each for each in found
               if each.test in ("test_exact", "test_papers_sizes") and each.facts.get("side_px") == row.side_px]
        newest = max((each.when for each in own), default="")
        seconds = f"{min(each.facts['quality']['engine_s'] for each in own if each.when == newest):.2f}" if own else \
            "not yet measured"
        cards = {each.machine_card: each.kernels_ms for each in gpu_times(found) if each.side_px == row.side_px}
        card = ", ".join(f"{ms:.2f} ms ({name})" for name, ms in cards.items()) or NO_GPU
        lines.append(f"| {row.side_px}² | {row.once:.3f} | {row.once_two_gpus:.3f} | {seconds} | {card} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class GpuTime:
    side_px: int
    rival: str
    machine_card: str
    kernels_ms: float
    rival_ms: float
    ratio: float


def gpu_times(found: Sequence[Record]) -> list[GpuTime]:
    times = []
    for each in found:
        # Times of kernels that were not proven on the card in the same run are none.
        if each.file == "bench_gpu_engines.py" and each.facts.get("parity") == "passed":
            quality = each.facts["quality"]
            times.append(GpuTime(int(each.facts["side_px"]), each.facts["reference"], each.facts["card"],
                                 quality["kernels_ms"], quality["reference_ms"], each.facts["ratio"]))
    return times


def gpu(found: Sequence[Record]) -> str:
    times = gpu_times(found)
    if not times:
        return f"The kernels are {NO_GPU}: `benchmarks/gpu.sh` will."
    lines = ["| card | input | against | kernels, ms | its time, ms | kernels / it |", "|---|---|---|---|---|---|"]
    lines += [f"| {each.machine_card} | {each.side_px}² | {each.rival} | {each.kernels_ms:.2f} | {each.rival_ms:.2f} | "
              f"{each.ratio:.2f} |" for each in times]
    return "\n".join(lines)


def gpu_stream(found: Sequence[Record]) -> str:
    """A stream and captured graphs on each card, beside what they are made of."""
    what = {"test_a_stream_beside_its_parts": ("a stream of frames, for each", "stream_ms"),
            "test_a_captured_graph_beside_its_launches": ("a captured graph", "captured_ms")}
    lines = ["| card | what | input | ms | beside | ratio | commit |", "|---|---|---|---|---|---|---|"]
    for each in found:
        if each.file == "bench_gpu_stream.py" and each.facts.get("parity") == "passed":
            (name, key), facts = what[each.test], each.facts
            lines.append(f"| {facts['card']} | {name} | {facts['side_px']}² | {facts['quality'][key]:.2f} | "
                         f"{facts['reference']} | {facts['ratio']:.2f} | {each.commit} |")
    return "\n".join(lines) if len(lines) > 2 else f"A stream and captured graphs are {NO_GPU}."


TABLES: dict[str, Callable[[Sequence[Record]], str]] = {"rivals": rivals, "paper": paper, "gpu": gpu,
                                                        "gpu_stream": gpu_stream,
                                                        **prediction_tables.TABLES}


def filled(text: str, found: Sequence[Record]) -> str:
    """The page with every table made anew."""
    for name, table in TABLES.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t(found)}\n{m[2]}", text,
                      flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), records()), encoding="utf-8")
