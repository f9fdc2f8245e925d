"""Compare a benchmark run with its history by ratios: `python benchmarks/compare.py NEW.json [--factor 1.3]`.

Seconds differ between machines and hours; how much slower or faster a piece of code is than its named reference, both
timed in one process, hardly does.  A benchmark fails when its ratio is more than `factor` times the median of its last
runs, or when its peak memory grew by that factor.  Runs on the same processor are preferred; where there are none,
all of them count.  Ends with status 1 if any benchmark got worse.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).resolve().parent / "history"
LAST_RUNS = 5               # enough for a median that one disturbed run cannot move, few enough to follow real progress
MEMORY_NOISE_MIB = 8.0      # the allocator keeps and returns memory in pieces of this order


@dataclass(frozen=True)
class Figures:
    """One benchmark in one run.  ratio: candidate time / reference time.  peak_mib: None where it was not measured."""

    name: str
    reference: str
    ratio: float
    megapixels_per_s: float
    peak_mib: float | None


@dataclass(frozen=True)
class Run:
    """One benchmark file."""

    path: Path
    when: str
    processor: str
    figures: dict[str, Figures]


def read_run(path: Path) -> Run:
    """Read a JSON file that `make bench` wrote.  Raises SystemExit with the reason if it is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        figures = {each["fullname"]: Figures(each["fullname"], each["extra_info"]["reference"],
                                             each["extra_info"]["ratio"], each["extra_info"]["megapixels_per_s"],
                                             each["extra_info"]["peak_mib"])
                   for each in content["benchmarks"]}
        return Run(path, content["datetime"], content["machine_info"]["cpu"].get("brand_raw", "unknown"), figures)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"error: '{path}' is no result of `make bench`: {error!r}") from None


def baseline(name: str, new: Run, history: Sequence[Run]) -> tuple[Figures, ...]:
    """The last earlier results of a benchmark, of the same processor where there are any."""
    earlier = sorted((run for run in history if run.when < new.when and name in run.figures), key=lambda run: run.when)
    same = [run for run in earlier if run.processor == new.processor]
    return tuple(run.figures[name] for run in (same or earlier)[-LAST_RUNS:])


def verdict(figures: Figures, before: Sequence[Figures], factor: float) -> str:
    """Why a benchmark got worse; empty if it did not."""
    ratio = statistics.median(each.ratio for each in before)
    if figures.ratio > factor * ratio:
        return (f"{figures.ratio:.2f} × the time of {figures.reference}, before {ratio:.2f} × "
                f"(more than {factor:g} times worse)")
    peaks = [each.peak_mib for each in before if each.peak_mib is not None]
    if peaks and figures.peak_mib is not None:
        peak = statistics.median(peaks)
        if figures.peak_mib > factor * peak + MEMORY_NOISE_MIB:
            return f"peak memory {figures.peak_mib:.0f} MiB, before {peak:.0f} MiB (more than {factor:g} times worse)"
    return ""


def compare(new: Run, history: Sequence[Run], factor: float) -> tuple[list[str], list[str]]:
    """(a line for each benchmark, the complaints among them)."""
    lines, complaints = [], []
    for name, figures in sorted(new.figures.items()):
        before = baseline(name, new, history)
        then = f"before {statistics.median(each.ratio for each in before):.2f}" if before else "first measurement"
        peak = "" if figures.peak_mib is None else f", peak {figures.peak_mib:.0f} MiB"
        lines.append(f"{name}: {figures.ratio:.2f} × {figures.reference} ({then}), "
                     f"{figures.megapixels_per_s:.1f} Mpx/s{peak}")
        worse = verdict(figures, before, factor) if before else ""
        if worse:
            complaints.append(f"{name}: {worse}")
    return lines, complaints


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare a benchmark run with its history, by ratios.")
    parser.add_argument("new", type=Path, help="JSON file of the new run")
    parser.add_argument("--history", type=Path, default=HISTORY, help="folder of earlier runs")
    parser.add_argument("--factor", type=float, default=1.3, help="a ratio worse by more than this fails (default 1.3)")
    options = parser.parse_args(arguments)
    new = read_run(options.new)
    history = [read_run(path) for path in sorted(options.history.glob("*.json"))
               if path.resolve() != options.new.resolve()]
    lines, complaints = compare(new, history, options.factor)
    print("\n".join(lines) or "no benchmark ran")
    for complaint in complaints:
        print(f"worse: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
