"""The tables of docs/registration.md, from the records beside this file: `python -m benchmarks.registration.tables`.

Puts each between its markers; tests/docs checks that the page and the records agree.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.registration.records import FOLDER, read_record

PAGE = Path(__file__).resolve().parents[2] / "docs" / "registration.md"


def methods() -> str:
    measured = read_record("methods")["measured"]
    lines = ["| method | clean: median / p95 | hard: median / p95 | refused | ms |", "|---|---|---|---|---|"]
    for name, clean in measured["clean"].items():
        hard = measured["hard"][name]
        refused = clean["refused"] + hard["refused"]
        lines.append(f"| {name} | {clean['median_px']:.3f} / {clean['p95_px']:.3f} | {hard['median_px']:.3f} / "
                     f"{hard['p95_px']:.3f} | {refused} of {clean['fields'] + hard['fields'] + refused} | "
                     f"{hard['ms']:.0f} |")
    default = {view: rows["icgn (default)"] for view, rows in measured.items()}
    lines += ["", "Of the default: length of the mean error vector " +
              " and ".join(f"{facts['bias_px']:.4f} ({view})" for view, facts in default.items()) +
              "; its own estimate over the true error, RMS over all fields, " +
              " and ".join(f"{facts['estimate_over_error']:.2f}" for facts in default.values()) + "."]
    return "\n".join(lines)


def stitching() -> str:
    measured = read_record("stitching")["measured"]
    names = list(dict.fromkeys(name for row in measured["grids"].values() for name in row))
    lines = ["| tiles | " + " | ".join(f"{name}: RMSE in px (processor s)" for name in names) + " |",
             "|---|" + "---|" * len(names)]
    for kind, row in measured["grids"].items():
        lines.append(f"| {kind} | " + " | ".join(_placed(row.get(name)) for name in names) + " |")
    real = measured["real"]
    y, x = real["tiles_tma_yx_px"]
    lines += ["", f"Real data: tiles_sem lies within {real['tiles_sem_largest_difference_px']:.2f} px of the published "
                  f"places, the second tile of tiles_tma at ({y:.2f}, {x:.2f}) px (published: −2, 461)."]
    return "\n".join(lines)


def _placed(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return "–"
    if not facts["rmse_px"]:
        return "failed"
    failed = f", {len(facts['failed'])} failed" if facts["failed"] else ""
    return f"{facts['median_rmse_px']:.3f} ({facts['median_cpu_s']:.1f}){failed}"


def placements() -> str:
    measured = read_record("placements")["measured"]
    lines = ["| field | placements | accepted | wrong | refused as |", "|---|---|---|---|---|"]
    for kind, row in measured["kinds"].items():
        reasons = ", ".join(f"{count} {name}" for name, count in sorted(row["reasons"].items(), key=lambda r: -r[1]))
        lines.append(f"| {kind} | {row['placements']} | {row['accepted']} | {row['wrong']} | {reasons or '–'} |")
    total = measured["total"]
    lines += ["", f"{total['placements']} placements, {total['wrong']} wrong by more than one coarse pixel; of "
                  f"{total['usable']} usable fields {total['usable refused']} refused "
                  f"({100 * total['usable refused'] / total['usable']:.1f} %)."]
    return "\n".join(lines)


def speed() -> str:
    measured = read_record("speed")["measured"]
    lines = ["| work | processor s, one thread |", "|---|---|"]
    lines += [f"| {row['tiles']} tiles of 600² stitched | {row['cpu_s']:.1f} |" for row in measured["stitching"]]
    lines += [f"| {row['fields']} fields of 1024² found and refined in {measured['mosaic_px'][0]} × "
              f"{measured['mosaic_px'][1]} px | {row['cpu_s']:.1f} |" for row in measured["finding"]]
    lines += ["", f"Peak memory of the process {measured['peak_mib']} MiB, {measured['of_which_tiles_mib']} MiB of it "
                  "the tiles themselves, which here lie in memory."]
    return "\n".join(lines)


TABLES = {"methods": methods, "stitching": stitching, "placements": placements, "speed": speed}


def filled(text: str) -> str:
    """The page with every table made anew from its record."""
    for name, table in TABLES.items():
        if (FOLDER / f"{name}.json").exists():
            text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t()}\n{m[2]}", text,
                          flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
