"""How weights came about: Table S2, and the course of the losses (Fig. S4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superres.io.weights import Weights
from superres.measuring.paper import BATCH_SIZE, TABLE_S2
from superres.report.data import TrainingView
from superres.report.figures import loss_curves
from superres.report.pages import Page, Section, Table
from superres.training.history import HistoryRow

SHOWN_LINES = 9
"""Of history.csv, in the table beside the curves."""


def training_page(name: str, weights: Weights, history: Sequence[HistoryRow] = ()) -> Page:
    """Patches, epochs, steps and time, the paper's and ours.

    history: of the run, where there is one; only it knows the time, and without it epochs follow from the steps.
    """
    facts = weights.provenance.get("training", {})
    settings = facts.get("settings", {})
    steps, patches, batch = facts.get("steps"), facts.get("patches"), settings.get("batch_size")
    rows = [["paper", row.tissue, f"{row.patches:,} of 60²", f"{row.epochs}",
             f"{row.patches // BATCH_SIZE * row.epochs:,} of {BATCH_SIZE}", f"{row.hours:.2f} h", "2 × GTX 1080"]
            for row in TABLE_S2]
    epochs = history[-1].epoch if history else steps * batch / patches if steps and batch and patches else None
    hours = f"{history[-1].seconds / 3600:.2f} h" if history else "not in the weights"
    trained_on = facts.get("specimens", [])
    shown = f"{len(trained_on)} specimens" if len(trained_on) > 3 else ", ".join(trained_on) or "not stated"
    rows.append([name, shown, f"{_counted(patches)} of {settings.get('patch_px', '–')}²",
                 "–" if epochs is None else f"{epochs:.3g}", f"{_counted(steps)} of {_counted(batch)}", hours,
                 "not in the weights"])
    lung = TABLE_S2[0]
    ours = "our epochs are those of the run" if history else "our epochs follow from the steps that the weights state"
    said = ["Steps are of so many patches each; an epoch is one pass over the patches. The paper's steps follow from "
            f"its epochs, {ours}."]
    said += [f"{name} was trained on {', '.join(trained_on)}."] if len(trained_on) > 3 else []
    head = ["whose", "trained on", "patches (px)", "epochs", "steps", "time", "hardware"]
    return Page("training", f"{name}: {_counted(steps)} steps; the paper's lung network took "
                f"{lung.patches // BATCH_SIZE * lung.epochs:,}.",
                [Section("Training, paper and ours", said, table=Table(head, rows, words=2, wraps=True))])


def losses_page(history: Sequence[HistoryRow]) -> Page:
    view = TrainingView(tuple((row.epoch, row.training_loss) for row in history),
                        tuple((row.epoch, row.validation_loss) for row in history if np.isfinite(row.validation_loss)))
    return Page("losses", f"{history[-1].epoch:.3g} epochs; the paper's lung network: {TABLE_S2[0].epochs}.",
                [Section("Training and validation loss", svg=loss_curves(view)),
                 Section("Numbers", ["Training loss: mean over the steps since the line before in history.csv."],
                         table=Table(["step", "epoch", "training loss", "validation loss"], [
                             [f"{row.step:,}", f"{row.epoch:.3g}", _loss(row.training_loss), _loss(row.validation_loss)]
                             for row in _spread(history)], words=0))])


def _spread(history: Sequence[HistoryRow]) -> list[HistoryRow]:
    """At most so many lines as a reader takes in, evenly spread, the first and the last among them."""
    chosen = np.linspace(0, len(history) - 1, min(len(history), SHOWN_LINES)).round().astype(int)
    return [history[number] for number in chosen]


def _loss(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "–"


def _counted(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
