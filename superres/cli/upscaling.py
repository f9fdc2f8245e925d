"""`superres upscale`: one image through trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from superres.cli.shared import console_events, saying_new_folders
from superres.cli.words import for_an_image, in_words


def upscale(
    image: Annotated[Path, typer.Argument(metavar="INPUT", help="image file", show_default=False)],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help=".tif or .png to write", show_default=False)],
    weights: Annotated[
        Path | None,
        typer.Option(help="weights.safetensors of a run; those that come with superres otherwise", show_default=False),
    ] = None,
    passes: Annotated[int, typer.Option(min=1, max=4, help="feed the output back this many times in all")] = 1,
    engine: Annotated[Literal["auto", "torch", "native", "openvino"], typer.Option(help="what computes")] = "auto",
    precision: Annotated[Literal["exact", "fast"], typer.Option(help="fast: bfloat16 on a CPU that has it")] = "exact",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    pixel_size_um: Annotated[float | None, typer.Option(help="of the input, where the file does not say")] = None,
    white_level: Annotated[float | None, typer.Option(help="stored value of white, such as 4095 for 12 bits")] = None,
    black_level: Annotated[float, typer.Option(min=0, help="what the camera stores without light; taken off")] = 0.0,
    strict: Annotated[bool, typer.Option("--strict", help="refuse an input that does not fit the weights")] = False,
    consistency_map: Annotated[
        Path | None, typer.Option(help=".html or .tif: where the output contradicts its input")
    ] = None,
    drift_report: Annotated[Path | None, typer.Option(help=".html: what changes from pass to pass")] = None,
) -> None:
    """Super-resolve one image of any size with trained weights."""
    from superres.engine import Engine
    from superres.upscaling import Checks, Sampling, check_files, upscale_file
    from superres.weights import NAME, shipped_weights

    checks, sampling = Checks(strict, consistency_map, drift_report), Sampling(pixel_size_um, white_level, black_level)
    with in_words(for_an_image):
        check_files(image, output, checks, sampling)
    path = weights if weights is not None else shipped_weights()
    loaded = Engine.load(path, device=device, engine=engine, precision=precision)
    with saying_new_folders(output, consistency_map, drift_report), in_words(for_an_image), console_events() as events:
        if weights is None:
            events.note("upscale", f"no --weights given: '{NAME}' of superres, for stained sections, trained on "
                                   "simulated images (see its model card)")
        events.note("upscale", str(loaded.describe()))
        upscale_file(loaded, image, output, sampling, passes=passes, checks=checks, events=events)
    typer.echo(str(output))
