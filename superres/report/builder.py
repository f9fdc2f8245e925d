"""Put a run's facts into one HTML file that loads nothing from outside."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from superres.api.evaluator import Score
from superres.io.atomic import write_text
from superres.report import encoding, figures
from superres.report.data import FieldView, RegistrationPage, ReportData
from superres.report.limits import count, describe, finest_period_um, is_worse, limits, output_name
from superres.report.registration import arrow_stretch, arrows_px, longest_arrow_um, registration_facts
from superres.report.templating import asset, environment


def build_report(data: ReportData, path: Path) -> None:
    """Write the report of a run.

    The same data give the same file, byte for byte.  Raises StorageError if it cannot be written; an older report is
    then still whole.
    """
    write_text(path, render(data))


def build_registration_page(page: RegistrationPage, path: Path) -> None:
    """Write the page of a registration; as `build_report`."""
    write_text(path, _environment().get_template("registration.html").render(
        page=page, style=asset("report.css"),
        registration=registration_facts(page.registration, page.coarse_pixel_size_um)))


def render(data: ReportData) -> str:
    """The report as HTML text.  Strings of the data are escaped; only the package's own SVG, CSS and script are not."""
    return _environment().get_template("report.html").render(
        data=data, output=output_name(data), statements=limits(data), headline=headline(data), metrics=_metrics(data),
        layer_names={"input": "input", "bicubic": "bicubic", "output": output_name(data), "truth": "truth"},
        starts=_slider_start, style=asset("report.css"), script=asset("report.js"),
        curves=Markup(figures.loss_curves(data.training)) if data.training else None,
        registration=registration_facts(data.registration, data.coarse_pixel_size_um) if data.registration else None)


def _environment() -> jinja2.Environment:
    made = environment()
    made.filters.update(number=number, change=change, duration=duration, photograph=encoding.photograph_uri,
                        grey=encoding.grey_uri)
    made.globals.update(is_worse=is_worse, count=count, scale_bar_um=figures.scale_bar_um, describe=describe,
                        finest_period_um=finest_period_um, arrow_stretch=arrow_stretch, arrows_px=arrows_px,
                        longest_arrow_um=longest_arrow_um)
    return made


def headline(data: ReportData) -> str:
    """The result in one sentence, good or bad."""
    if not data.summary:
        return "No field could be scored: there was no fine image to compare with."
    score = data.summary[0]
    specimens = sum(any(one.name == score.name for one in scores) for _, scores in data.by_specimen)
    text = f"{score.name} of the {output_name(data)} is {number(score.value, score.unit)}"
    if score.baseline is not None:
        difference = abs(score.value - score.baseline)
        word = "worse" if is_worse(score) else "better" if difference else "neither better nor worse"
        text += f", of bicubic up-sampling {number(score.baseline, score.unit)}: {word}"
        text += f" by {number(difference, score.unit)}" if difference else ""
    over = f" over {count(specimens, 'specimen')}" if specimens else ""
    return f"{text} (mean{over}, {count(score.n, 'field')})."


def number(value: float | None, unit: str = "") -> str:
    """Three decimals for plain numbers, two with a unit; the unit behind."""
    if value is None:
        return "–"
    return f"{value:.2f} {unit}" if unit else f"{value:.3f}"


def change(score: Score) -> str:
    """Model minus bicubic with its sign."""
    if score.baseline is None:
        return "–"
    digits = 2 if score.unit else 3
    return f"{score.value - score.baseline:+.{digits}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _metrics(data: ReportData) -> tuple[Score, ...]:
    """One score of every name, in the order of the summary, for the heads of tables."""
    everything = [*data.summary, *(score for image in data.images for score in image.scores)]
    return tuple({score.name: score for score in reversed(everything)}[name]
                 for name in dict.fromkeys(score.name for score in everything))


def _slider_start(field: FieldView) -> tuple[str, str]:
    """Which layers a slider shows first, left and right."""
    titles = [layer.title for layer in field.layers]
    return ("bicubic" if "bicubic" in titles else titles[0]), ("output" if "output" in titles else titles[-1])
