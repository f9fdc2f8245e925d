"""`superres evaluate` and `cross-tissue`: weights scored on pairs of images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from superres.cli.measuring import CsvOption, PageOption, print_page
from superres.cli.shared import console_events
from superres.cli.words import for_pairs, in_words
from superres.errors import SuperresError

if TYPE_CHECKING:
    from superres.api.evaluator import Evaluator
    from superres.catalog import Catalog
    from superres.io.weights import Weights

Where = Annotated[list[str], typer.Argument(
    metavar="WHERE...", show_default=False,
    help="a folder of registered pairs, named alike in coarse/ and fine/, or scenes for the virtual microscope "
         "(images, builtin:ihc)")]
WeightsOption = Annotated[Path | None, typer.Option(help="weights.safetensors; default: those that come with superres")]
WhiteLevel = Annotated[float | None, typer.Option(min=1e-6, help="of a folder's files, such as 4095 for 12 bits")]
BlackLevel = Annotated[float, typer.Option(min=0, help="of a folder's files: what the camera stores without light")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]


def evaluate(
    where: Where,
    weights: WeightsOption = None,
    evaluator: Annotated[list[str] | None, typer.Option(help="names of evaluators; see `superres plugins`")] = None,
    device: Device = "auto",
    white_level: WhiteLevel = None,
    black_level: BlackLevel = 0.0,
    page: PageOption = None,
    csv: CsvOption = None,
) -> None:
    """Score weights on pairs: every evaluator, beside bicubic up-sampling."""
    from superres.catalog import Catalog
    from superres.engine import Engine
    from superres.io.atomic import require_own_places
    from superres.measuring.scoring import evaluated_page, load_pairs, not_new, scores_table

    require_own_places([page, csv], [path for path in (weights, *map(Path, where)) if path is not None])
    catalog = Catalog.discover()
    names = evaluator or ["ssim", "psnr", "difference-map", "consistency", "spectrum"]
    made_of = [_evaluator(catalog, name) for name in names]
    read = weights_of(weights)
    with in_words(for_pairs):    # before the engine, which takes its time
        acquisition = load_pairs(where, white_level, black_level)
    engine = Engine.from_weights(read, device)
    with console_events() as events:
        title = f"{_name(weights)} on {', '.join(where)}"
        made, found = evaluated_page(title, engine, acquisition, made_of, events)
    print_page(made, page, scores_table(found, not_new(engine, acquisition)), csv)


def cross_tissue(
    where: Where,
    weights: Annotated[list[Path], typer.Option(help="weights.safetensors; give it once for each network")],
    device: Device = "auto",
    white_level: WhiteLevel = None,
    black_level: BlackLevel = 0.0,
    page: PageOption = None,
    csv: CsvOption = None,
) -> None:
    """Every network on every specimen, and two of them fed into each other (Fig. S9)."""
    from superres.engine import Engine
    from superres.io.atomic import require_own_places
    from superres.measuring import cross_tissue as measuring
    from superres.measuring.scoring import load_pairs

    require_own_places([page, csv], [*weights, *map(Path, where)])
    read = {name: weights_of(path) for name, path in zip(weights_names(weights), weights, strict=True)}
    with in_words(for_pairs), console_events() as events:
        acquisition = load_pairs(where, white_level, black_level)
        engines = {name: Engine.from_weights(each, device) for name, each in read.items()}
        found = measuring.cross_tissue(engines, acquisition, events)
    print_page(measuring.cross_tissue_page(found, acquisition), page, measuring.cross_tissue_numbers(found), csv)


def weights_names(paths: Sequence[Path | None]) -> list[str]:
    """A name for each: the file's stem (the folder's where that is 'weights'), with as many folders before it as tell
    them apart.  None: the weights that come with superres.  Raises SuperresError for one file given twice."""
    parts = []
    for path in paths:
        if path is None:
            parts.append(("superres",))
            continue
        whole = path.resolve()
        parts.append((*whole.parts[1:-1], *(() if whole.stem == "weights" and len(whole.parts) > 2 else (whole.stem,))))
    for one, other in combinations(range(len(paths)), 2):
        if parts[one] == parts[other]:
            raise SuperresError(f"the weights '{paths[one]}' are given twice", hint="give every network once")
    names = []
    for number, each in enumerate(parts):
        length = next(count for count in range(1, len(each) + 1)
                      if all(other[-count:] != each[-count:] for place, other in enumerate(parts) if place != number))
        names.append("/".join(each[-length:]))
    return names


def weights_of(path: Path | None) -> Weights:
    """Read a weights file, or those that come with superres, before anything that takes time is done."""
    from superres.io.weights import read_weights
    from superres.weights import shipped_weights

    return read_weights(path if path is not None else shipped_weights())


def _evaluator(catalog: Catalog, name: str) -> Evaluator:
    """An evaluator with its default options."""
    from pydantic import ValidationError

    plugin = catalog.entry("evaluator", name).plugin
    try:
        return cast("Evaluator", plugin())
    except ValidationError as error:
        lacking = ", ".join(".".join(str(part) for part in each["loc"]) for each in error.errors())
        raise SuperresError(f"evaluator '{name}' has options without a default: {lacking}",
                            hint="evaluate with it in a pipeline file, where [[evaluate]] sets them") from error


def _name(weights: Path | None) -> str:
    return "The weights of superres" if weights is None else str(weights)
