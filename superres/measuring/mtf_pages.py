"""The pages of `superres mtf`: table, curves and pictures of resolution targets and edges."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from superres.api.evaluator import Picture
from superres.image import Array, FloatArray
from superres.measuring.mtf import CLIPPED, EdgeResult, TargetResult, not_measured
from superres.measuring.paper import TABLE_S4
from superres.optics import Optics
from superres.optics.transfer import weak_object_transfer
from superres.optics.usaf.contrast import BarPlace
from superres.optics.usaf.measure import ElementBars
from superres.report.fields import to_uint8
from superres.report.figures import GREY, INK, MODEL_COLOUR, SECOND_COLOUR, plot_axes, svg_of
from superres.report.pages import Page, Section, Table

SAMPLING = "° fewer than 6 px a period: limited by the sampling"
INFERRED = "† not measured detail: beyond the cut-off of the input's objective, or above the truth"

COLOURS = (MODEL_COLOUR, SECOND_COLOUR, "#7a5ba6", "#4f8a4c", "#b0465a", "#3b6fb0")
SINE_DASHES = ((0, (4, 3)), (0, (1.5, 1.5)))
BARS_ARE_NO_SINES = (
    "Three bars are not a sine: a coarse element's contrast is near 1, and near the cut-off it lies above the sine "
    "curve. The dashed curve, “sine MTF”, is what the optics pass of a weak sine; it is no expectation for bars.")


def target_table(results: Sequence[TargetResult], truth: TargetResult | None = None) -> Table:
    """One row an element, one column an image.  A direction that is lost is named, not averaged away; marks: fewer than
    6 px a period, and contrast that a computed image cannot have from its input."""
    absolute = all(result.reading.absolute for result in results)
    doubted = [not_measured(result, truth) for result in results]
    found = [{each.element: each for each in result.elements} for result in results]
    rows = []
    for element in sorted({element for some in found for element in some}):
        cells = [_cell(some[element], element in doubt) if element in some else ""
                 for some, doubt in zip(found, doubted, strict=True)]
        label = element.label if absolute else f"+{element.label}"
        frequency = f"{element.frequency_cycles_per_mm:.1f}" if absolute else next(
            f"{some[element].frequency_cycles_per_px:.4f}" for some in found if element in some)
        rows.append([label, frequency, *cells])
    marks = [text for mark, text in ((SAMPLING[0], SAMPLING), (INFERRED[0], INFERRED))
             if any(mark in cell for row in rows for cell in row)]
    return Table(["element", "cycles/mm" if absolute else "cycles/px", *(result.name for result in results)], rows,
                 legend="; ".join(marks), wraps=True)


def _cell(each: ElementBars, inferred: bool) -> str:
    marks = (SAMPLING[0] if each.sampling_limited else "") + (INFERRED[0] if inferred else "")
    if each.lost_in_part:
        return ", ".join(f"{row.pattern.bars} {row.measured.contrast:.3f}" for row in each.rows) + marks
    return f"{each.contrast:.3f}{marks}"


def target_page(results: Sequence[TargetResult], optics: Sequence[Optics], with_paper: bool = True,
                truth: TargetResult | None = None) -> Page:
    """Curve, table and the images with what was recognised.  optics: whose cut-offs are drawn.  truth: of `results` the
    one that computed images should resemble."""
    how = [f"{result.name}: {_summary(result)}" for result in results]
    absolute = all(result.reading.absolute for result in results)
    warnings = [] if absolute else [
        "The groups could not be known: the target shows no readable group numeral, and no pixel size is given. Groups "
        "are counted from the coarsest seen; frequencies are in cycles per pixel. --pixel-size-um or --first-group say "
        "more."]
    warnings += [result.contradiction for result in results if result.contradiction]
    warnings += [text for result in results for text in _inferred(result, truth)]
    return Page(
        "Contrast of a resolution target", _headline(results, truth), subtitle="USAF-1951, supplement §6",
        sections=[
            Section("Contrast against frequency", [
                "(Imax − Imin)/(Imax + Imin) of each element, over the central 85 % of its bars, mean of lying and "
                "standing bars, 0 where one of the two is lost; a direction is lost where the extrema are not at their "
                "places or do not rise 3 standard deviations above the noise. Hollow points have fewer than 6 px a "
                "period: the sampling limits them. " + BARS_ARE_NO_SINES],
                svg=target_curves(results, optics, with_paper), warnings=warnings),
            Section("By element", table=target_table(results, truth)),
            Section("What was recognised", how, pictures=[
                Picture(result.name, "Green: bars seen apart; orange: by their neighbours; thick: contrast found",
                        marked_picture(result)) for result in results]),
        ])


def _inferred(result: TargetResult, truth: TargetResult | None) -> list[str]:
    """What of a computed image is no measured detail, in sentences."""
    doubt, said = not_measured(result, truth), []
    if doubt.beyond and result.input_cutoff_per_um is not None:
        shown = ", ".join(f"{max(row.measured.contrast for row in each.rows):.3f} at {_label(result, each)}"
                          for each in doubt.beyond)
        said.append(f"The {result.name} shows contrast beyond {1000 * result.input_cutoff_per_um:.0f} cycles/mm, the "
                    f"cut-off of the objective that took its input: {shown}. No light brought it; it is not measured "
                    "detail.")
    if doubt.above and truth is not None:
        most, beside = max(doubt.above, key=lambda pair: pair[0].contrast - pair[1])
        where = _listed(result, doubt.above) + ("" if len(doubt.above) == 1 else f", most at {_label(result, most)}")
        said.append(f"The {result.name} has more contrast than the image {truth.name} at {where}: {most.contrast:.3f} "
                    f"against {beside:.3f}. What exceeds the truth is not measured detail.")
    return said


def _label(result: TargetResult, each: ElementBars) -> str:
    return result.reading.label(each.element)


def _listed(result: TargetResult, above: Sequence[tuple[ElementBars, float]]) -> str:
    return ", ".join(_label(result, each) for each, _ in above)


def edge_page(results: Sequence[EdgeResult], optics: Optics | None) -> Page:
    rows = []
    for result in results:
        half = result.transfer.frequency_at(0.5)
        tenth = result.transfer.frequency_at(0.1)
        per_um = result.pixel_size_um or 0.0
        rows.append([result.name, f"{result.transfer.angle_deg:.2f}°", _or_dash(half, "{:.3f}"),
                     _or_dash(half / per_um if half and per_um else None, "{:.2f}"), _or_dash(tenth, "{:.3f}"),
                     _or_dash(tenth / per_um if tenth and per_um else None, "{:.2f}"),
                     f"{result.transfer.dark:.3f}–{result.transfer.bright:.3f}"])
    headline = "; ".join(
        f"{row[0]}: above half contrast up to 0.5 cycles/px" if row[2] == "–" else
        f"{row[0]}: half contrast at {row[2]} cycles/px" + (f" ({row[3]} cycles/µm)" if row[3] != "–" else "")
        for row in rows)
    clipped = [result for result in results if result.clipped > CLIPPED]
    caution = f" Clipped: {', '.join(result.name for result in clipped)}." if clipped else ""
    return Page(
        "Transfer across an edge", f"{headline}.{caution}", subtitle="slanted edge, ISO 12233",
        sections=[
            Section("Transfer against frequency", [
                "The camera's pixel is part of the curve; what the computation itself does (bins, difference) is "
                "divided out. A bright-field edge is a strong object: its curve is that of its intensity, not of "
                "weak stain. Sharpening lifts it above 1."], svg=edge_curves(results, optics),
                warnings=[f"{result.clipped:.0%} of the pixels of {result.name} are at 0 or at the white level (of an "
                          "array: its largest value). A clipped side looks steeper than the edge is, and the curve is "
                          "too good: expose so that both sides lie between." for result in clipped]),
            Section("Numbers", table=Table(
                ["image", "tilt", "50 % (cycles/px)", "(cycles/µm)", "10 % (cycles/px)", "(cycles/µm)", "levels"],
                rows, wraps=True)),
            Section("The edges", pictures=[Picture(result.name, f"{result.grey.shape[0]} × {result.grey.shape[1]} px",
                                                   _shown(result.grey)) for result in results]),
        ])


def target_curves(results: Sequence[TargetResult], optics: Sequence[Optics], with_paper: bool) -> str:
    legend_inch = 0.12 + 0.18 * math.ceil((len(results) + len(optics) + 2) / 3)
    figure, axes = plot_axes(7.4, 4.4 + legend_inch, above_inch=0.15, below_inch=legend_inch)
    absolute = all(result.reading.absolute for result in results)
    highest = 1.0
    for result, colour in zip(results, COLOURS * len(results), strict=False):
        points = result.points()
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, color=colour, linewidth=1.6, label=result.name)
        for frequency, contrast, limited in points:
            axes.plot([frequency], [contrast], marker="o", markersize=4, color=colour,
                      markerfacecolor="none" if limited else colour)
        highest = max([highest, *x])
    if absolute and with_paper and highest > TABLE_S4[0][0]:  # else the paper's range would squeeze ours to a line
        known, before, after = zip(*TABLE_S4, strict=True)
        axes.plot(known, before, color=GREY, linewidth=1, marker="^", markersize=3, label="paper, 100×/1.4NA (S4)")
        axes.plot(known, after, color=GREY, linewidth=1, marker="s", markersize=3, linestyle=(0, (1, 2)),
                  label="paper, network output (S4)")
    for number, (each, dash) in enumerate(zip(optics if absolute else (), SINE_DASHES * len(optics), strict=False)):
        cutoff = 1000 * each.cutoff_cycles_per_um
        highest = max(highest, cutoff)
        sine = np.linspace(0, cutoff, 200)
        axes.plot(sine, weak_object_transfer(sine / 1000, each), color=INK, linewidth=1, linestyle=dash,
                  label=f"sine MTF, {each.label}")
        axes.axvline(cutoff, color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
        # Above the axes, each in a line of its own: inside them it would lie over the curves.
        axes.annotate(f"{each.label}: (NA + NA_c)/λ = {cutoff:.0f}", (cutoff, 1.0), (0, 3 + 11 * number), fontsize=8,
                      xycoords=axes.get_xaxis_transform(), textcoords="offset points", color=INK, va="bottom",
                      ha="right" if cutoff > highest / 2 else "left")
    axes.set_xlabel("cycles/mm" if absolute else "cycles/px", color=INK)
    axes.set_title("contrast", loc="left", fontsize=10, color=INK)
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlim(left=0.0)
    axes.grid(True, color=GREY, alpha=0.2, linewidth=0.6)
    # Below the axes: curves fill them from corner to corner.
    axes.legend(frameon=False, labelcolor=INK, fontsize=8.5, loc="upper left", bbox_to_anchor=(0.0, -0.15), ncols=3,
                borderaxespad=0.0, columnspacing=1.2)
    return svg_of(figure, "target-curves")


def edge_curves(results: Sequence[EdgeResult], optics: Optics | None) -> str:
    figure, axes = plot_axes(7.4, 3.8)
    in_um = all(result.pixel_size_um for result in results)
    for result, colour in zip(results, COLOURS * len(results), strict=False):
        scale = 1 / result.pixel_size_um if in_um and result.pixel_size_um else 1.0
        axes.plot(result.transfer.frequency * scale, result.transfer.transfer, color=colour, label=result.name)
    if in_um and optics is not None:
        sine = np.linspace(0, optics.cutoff_cycles_per_um, 200)
        axes.plot(sine, weak_object_transfer(sine, optics), color=INK, linewidth=1, linestyle=(0, (4, 3)),
                  label=f"sine MTF, {optics.label}, without pixel")
    axes.set_xlabel("cycles/µm" if in_um else "cycles/px", color=INK)
    axes.set_title("transfer", loc="left", fontsize=10, color=INK)
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    axes.grid(True, color=GREY, alpha=0.2, linewidth=0.6)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8.5)
    return svg_of(figure, "edge-curves")


def marked_picture(result: TargetResult, longest_px: int = 900) -> Array:
    """The image with every recognised pattern framed and named, (H, W, 3) uint8."""
    import cv2

    grey = np.asarray(_shown(result.grey), dtype=np.uint8)
    scale = max(1, longest_px // max(grey.shape[:2])) if max(grey.shape[:2]) < longest_px else \
        longest_px / max(grey.shape[:2])
    mode = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    canvas = np.ascontiguousarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=mode))
    for row in result.rows:
        place: BarPlace = row.pattern.place
        corners = (place.corners_px() + 0.5) * scale - 0.5
        outline = corners[[0, 1, 3, 2]][:, ::-1].round().astype(np.int32)
        colour = (80, 220, 110) if row.pattern.detected else (255, 165, 60)
        cv2.polylines(canvas, [outline], True, colour, 2 if row.measured.contrast > 0 else 1, cv2.LINE_AA)
        size = place.period_length_px * scale
        if size > 9:
            label = result.reading.label(row.pattern.element)
            at = outline.min(axis=0)
            # Bright on a black rim: it is read on the target's black and on its white.
            for ink, thickness in (((0, 0, 0), 4), (colour, 1)):
                cv2.putText(canvas, label, (int(at[0]), int(at[1]) - 3), cv2.FONT_HERSHEY_SIMPLEX,
                            min(0.6, 0.35 + size / 80), ink, thickness, cv2.LINE_AA)
    return canvas


def _summary(result: TargetResult) -> str:
    reading = result.reading
    seen = sum(each.detected for each in reading.patterns)
    size = f", target says {reading.pixel_size_um:.4g} µm per pixel" if reading.pixel_size_um else ""
    finest = result.finest
    last = f"; finest element without a gap before it: {_label(result, finest)}" if finest else ""
    lost = [f"{_label(result, each)}: {row.pattern.bars}" for each in result.elements if each.lost_in_part
            for row in each.rows if row.measured.contrast == 0]
    last += f"; lost in one direction: {', '.join(lost)}" if lost else ""
    return (f"{len(reading.patterns)} patterns, {seen} seen apart; groups {reading.how}{size}; "
            f"{'dark' if reading.dark else 'bright'} bars, turned by {_degrees(reading.rotation_deg)}"
            f"{', seen from behind' if reading.mirrored else ''}{last}.")


def _headline(results: Sequence[TargetResult], truth: TargetResult | None) -> str:
    parts = []
    for result in results:
        finest = result.finest
        if finest is None:
            parts.append(f"{result.name} resolves no element")
        elif result.reading.absolute:
            per_mm = finest.element.frequency_cycles_per_mm
            parts.append(f"{result.name} resolves element {finest.element.label} ({per_mm:.0f} cycles/mm, "
                         f"{1000 / per_mm:.3f} µm)")
        else:
            parts.append(f"{result.name} resolves {finest.frequency_cycles_per_px:.3f} cycles/px")
    doubts = [f" Contradicted pixel size: {result.name}." for result in results if result.contradiction]
    for result in results:
        doubt = not_measured(result, truth)
        why = [f"beyond the input's cut-off of {1000 * (result.input_cutoff_per_um or 0):.0f} cycles/mm "
               f"({', '.join(_label(result, each) for each in doubt.beyond)})"] if doubt.beyond else []
        why += [f"above that of the truth ({_listed(result, doubt.above)})"] if doubt.above else []
        if why:
            doubts.append(f" Not measured detail: contrast of the {result.name} {' and '.join(why)}.")
    return "; ".join(parts) + "." + "".join(doubts)


def _shown(grey: FloatArray) -> Array:
    """Stretched to its own range: a picture to find one's way in, not to measure."""
    low, high = np.percentile(grey, (0.5, 99.5))
    unit = (grey - low) / max(float(high - low), 1e-9)
    return np.repeat(to_uint8(np.asarray(unit, dtype=np.float32))[:, :, None], 3, axis=2)


def _degrees(angle: float) -> str:
    """One decimal, and no minus before zero."""
    return f"{round(angle, 1) + 0.0:.1f}°"


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
