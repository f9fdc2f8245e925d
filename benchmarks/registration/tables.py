"""The tables of docs/registration.md, from the records beside this file: `python -m benchmarks.registration.tables`.

Puts each between its markers; tests/docs checks that the page and the records agree.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.registration.records import FOLDER, read_record

PAGE = Path(__file__).resolve().parents[2] / "docs" / "registration.md"


def methods() -> str:
    measured = read_record("methods")["measured"]
    for view, facts in read_record("surf")["measured"].items():
        measured[view]["SURF (the paper's)"] = facts
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
    if (FOLDER / "multiview.json").exists():
        grids = read_record("multiview")["measured"]["grids"]
        lines += ["", "multiview-stitcher 0.1.62 on the first slide, in one process with the others: " + "; ".join(
            f"{kind} " + ", ".join(f"{name} {_placed(facts)}" for name, facts in row.items())
            for kind, row in grids.items()) + "."]
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
    refused = 100 * total["usable refused"] / total["usable"]
    lines += ["", f"{total['placements']} placements, {total['accepted']} accepted, {total['wrong']} wrong by more "
              f"than one coarse pixel; of {total['usable']} usable fields {total['usable refused']} refused "
              f"({refused:.1f} %)."]
    if total["wrong"] == 0:
        bound = 100 * (1 - 0.05 ** (1 / total["accepted"]))
        lines[-1] += (f" Were they independent (they share eight sections), at most {bound:.1f} % of what is accepted "
                      "in such a mix would be wrong, at 95 % certainty.")
    return "\n".join(lines)


QUIET_LOAD = 3.0
"""With more waiting for two processors than the measurement itself, seconds of the clock say nothing of it."""


def speed() -> str:
    measured = read_record("speed")["measured"]
    load = measured["load"][0]
    lines = ["| work | processor s | clock s | for each |", "|---|---|---|---|"]
    for row in measured["stitching"]:
        lines.append(f"| {row['tiles']} tiles of 600² stitched, one thread | {row['cpu_s']:.1f} | "
                     f"{_clock(row, load)} | {1000 * row['cpu_s'] / row['edges']:.0f} ms of processor an overlap |")
    for row in measured["finding"]:
        height, width = measured["mosaic_px"]
        lines.append(f"| {row['fields']} fields of 1024² in {height} × {width} px, two at a time | "
                     f"{row['cpu_s']:.1f} | {_clock(row, load)} | "
                     f"{1000 * row['cpu_s'] / row['fields']:.0f} ms of processor a field |")
    last = measured["finding"][-1]
    refused = "; ".join(f"{row['reason']} with {100 * row['tissue']:.0f} % tissue" for row in last["refused"])
    busy = "" if load < QUIET_LOAD else ": seconds of the clock are left out"
    lines += ["", f"Refused of {last['fields']}: {refused or 'none'}. Load of the machine {load:.1f} at the end, for "
                  f"two processors{busy}. Peak memory of the process {measured['peak_mib']} MiB, "
                  f"{measured['of_which_tiles_mib']} MiB of it the tiles themselves, which here lie in memory."]
    return "\n".join(lines)


def _clock(row: dict[str, Any], load: float) -> str:
    return f"{row['wall_s']:.1f}" if load < QUIET_LOAD else "–"


def end_to_end() -> str:
    measured = read_record("end_to_end")["measured"]
    lines = ["| slide | fields | refused | median | p95 | largest |", "|---|---|---|---|---|---|"]
    for name, row in measured["slides"].items():
        lines.append(f"| {name} | {row['fields']} | {row['refused']} | {row['median_px']:.3f} | {row['p95_px']:.3f} | "
                     f"{row['max_px']:.3f} |")
    row = measured["all"]
    lines.append(f"| **all** | {row['fields']} | {row['refused']} | {row['median_px']:.3f} | **{row['p95_px']:.3f}** | "
                 f"{row['max_px']:.3f} |")
    return "\n".join(lines)


def sweeps() -> str:
    measured = read_record("sweeps")["measured"]
    parts = []
    for name, title in (("defocus_um", "coarse defocus (µm)"), ("noise_255", "noise of both cameras (of 255)")):
        rows = measured[name]
        parts.append([f"| {title} | " + " | ".join(f"{row['value']:g}" for row in rows) + " |",
                      "|---|" + "---|" * len(rows),
                      "| median / p95 | " + " | ".join(f"{row['median_px']:.3f} / {row['p95_px']:.3f}" for row in rows)
                      + " |",
                      "| refused of " + f"{rows[0]['fields'] + rows[0]['refused']} | "
                      + " | ".join(str(row["refused"]) for row in rows) + " |"])
    return "\n\n".join("\n".join(part) for part in parts)


def levels() -> str:
    measured = read_record("levels")["measured"]
    lines = ["| tiles | steps before (%) | after (%) | flat field off by (%) | places, RMSE in px |",
             "|---|---|---|---|---|"]
    for kind, row in measured["virtual"].items():
        known = [[100 * value for value in row[name] if value is not None] for name in ("before", "after")]
        steps = " | ".join(f"{median(values):.1f}" if 2 * len(values) > len(row["before"]) else "none above 1"
                           for values in known)
        lines.append(f"| {kind} | {steps} | {100 * median(row['flat_error']):.2f} | {median(row['rmse_px']):.3f} |")
    real = measured["tiles_sem"]
    lines += ["", f"Real data: in tiles_sem, whose microscope set brightness and contrast anew for each tile, steps of "
                  f"{100 * real['before']:.0f} % come down to {100 * real['after']:.1f} %"
                  f"{', with offsets' if real['with offsets'] else ''}."]
    return "\n".join(lines)


def tears() -> str:
    measured = read_record("tears")["measured"]
    parts = []
    for view, rows in measured.items():
        parts.append("\n".join([
            f"| {view}: torn by (coarse px) | " + " | ".join(f"{row['tear_px']:g}" for row in rows) + " |",
            "|---|" + "---|" * len(rows),
            *(f"| {title} | " + " | ".join(str(row[key]) for row in rows) + " |" for title, key in (
                (f"of {rows[0]['fields']}: refused as torn", "torn"), ("refused otherwise", "refused otherwise"),
                ("kept with a warning", "warned"), ("kept in silence", "silent"),
                ("of the kept ones not judged", "not judged"), ("should show, by the field's own word", "should show"),
                ("of these kept in silence", "should show, silent"))),
            "| error of the worse half, median (px) | " + " | ".join(
                "–" if row["worse_half_median_px"] is None else f"{row['worse_half_median_px']:.2f}" for row in rows)
            + " |"]))
    return "\n\n".join(parts)


def dust() -> str:
    measured = read_record("dust")["measured"]
    fates = "placed, wrong, refused | largest RMSE in px"
    lines = [f"| specks on the camera | divided out: {fates} | left in: {fates} |", "|---|---|---|---|---|"]
    for row in measured["rows"]:
        cells = []
        for way in ("divided out", "left in"):
            found = [each for each in row[way] if each is not None]
            right = [each for each in found if each < measured["wrong_px"]]
            cells += [f"{len(right)}, {len(found) - len(right)}, {len(row[way]) - len(found)}",
                      f"{max(found):.3f}" if found else "–"]
        name = f"{row['specks']}, {100 * row['depth']:.0f} % of the light" if row["specks"] else "none"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


TABLES = {"methods": methods, "stitching": stitching, "dust": dust, "levels": levels, "placements": placements,
          "speed": speed, "end_to_end": end_to_end, "sweeps": sweeps, "tears": tears}


def filled(text: str) -> str:
    """The page with every table made anew from its record."""
    for name, table in TABLES.items():
        if (FOLDER / f"{name}.json").exists():
            text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t()}\n{m[2]}", text,
                          flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
