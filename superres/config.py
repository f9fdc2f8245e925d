"""The pipeline file: its sections and their ranges.  Plug-in options stay untyped here; the plan checks them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from superres.errors import ConfigError, Problem

Stage = Literal["acquire", "register", "train", "infer", "evaluate", "report"]
STAGES: tuple[Stage, ...] = get_args(Stage)
EVALUATORS = ("ssim", "psnr", "difference-map")
"""Evaluators of a pipeline file that lists none."""
Augment = Literal["none", "flips-and-turns", "flips-turns-and-colours", "flips-turns-and-stains"]
Schedule = Literal["constant", "one-cycle", "cosine"]
TrainPrecision = Literal["float32", "bfloat16", "float16"]
Precision = Literal["exact", "fast"]
SHIPPED = "shipped"
"""What `train.start_from` and `superres upscale` call the weights that come with superres."""

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")

PositiveInt = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the pipeline file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunSection(Section):
    output: str = Field("runs/run", min_length=1, description="run folder, relative to the current folder or to ~")
    seed: int = Field(0, ge=0, description="seeds the split, the initial weights, the patch order and the augmentation")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N, for training and inference")

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not _DEVICE.fullmatch(value):
            raise ValueError(f"device is '{value}'; expected auto, cpu, cuda or cuda:N")
        return value


class PluginSection(Section):
    plugin: str = Field(min_length=1, description="name of the plug-in")
    options: dict[str, Any] = Field(default_factory=dict, description="see `superres schema KIND.NAME`")


class SplitSection(Section):
    test: int | list[str] = Field(1, description="specimens that training never sees: a count, or a list of ids")
    validation: int | list[str] = Field(
        1, description="specimens that choose the best weights: a count, or a list of ids"
    )

    @field_validator("test", "validation", mode="before")
    @classmethod
    def _count_or_ids(cls, value: Any) -> Any:
        """One message at the key itself, where pydantic would give one for each member of the union."""
        counts = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not counts and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            raise ValueError(f"{value!r} is neither a count >= 0 nor a list of specimen ids")
        return value

    @model_validator(mode="after")
    def _apart(self) -> SplitSection:
        if not isinstance(self.test, int) and not isinstance(self.validation, int):
            both = sorted(set(self.test) & set(self.validation))
            if both:
                raise ValueError(f"specimens {both} are in test and in validation")
        return self


class RegisterSection(PluginSection):
    plugin: str = Field("paper", min_length=1, description="name of the registrar")
    min_confidence: float = Field(0.5, ge=0.0, le=1.0, description=(
        "pairs below this confidence, which is no probability, are rejected and listed"))


class ModelSection(PluginSection):
    plugin: str = Field("rivenson2017", min_length=1, description="name of the model")


class LossSection(PluginSection):
    plugin: str = Field("mse-gradient", min_length=1, description="name of the loss")
    factor: float = Field(1.0, gt=0.0, description="weight of this loss in the sum")


class TrainSection(Section):
    patch_px: int = Field(60, ge=8, le=1024, description="side of a training patch in coarse pixels (paper: 60)")
    batch_size: int = Field(64, ge=1, le=4096, description="patches in a step (paper: 64)")
    steps: PositiveInt | None = Field(None, description="number of optimiser steps; or give epochs")
    epochs: PositiveInt | None = Field(
        None, description="number of passes over the patches; or give steps; without either 630 (paper)"
    )
    learning_rate: float = Field(
        1e-4, gt=0.0, le=1.0, description="Adam's learning rate, the peak for one-cycle (paper: 1e-4)"
    )
    schedule: Schedule = Field(
        "constant", description="learning rate over the steps (paper: constant); one-cycle rises over the first tenth, "
        "then falls; cosine falls from the start, or from the end of warm_up"
    )
    warm_up: int = Field(0, ge=0, description="steps in which the rate of constant or cosine rises to its full value")
    clip_gradient: float | None = Field(
        None, gt=0.0, description="largest length of the gradient; a longer one is shortened to it"
    )
    average: float = Field(
        0.0, ge=0.0, lt=1.0, description="share that an exponential moving average of the weights keeps at each step, "
        "such as 0.999; the average is then what is validated and kept; 0: none"
    )
    patience: PositiveInt | None = Field(
        None, description="validations without a better one after which training stops early"
    )
    start_from: str | None = Field(
        None, min_length=1, description="weights of the same model to start from (fine-tuning): a weights.safetensors, "
        "relative to the pipeline file, or 'shipped' for those that come with superres"
    )
    precision: TrainPrecision = Field(
        "float32", description="of the network's arithmetic; weights, their gradients and the optimiser stay float32. "
        "float16 needs a GPU; bfloat16 also runs on a CPU, faster only where the processor has it"
    )
    convolutions: Literal["auto", "torch"] = Field(
        "auto", description="on a CPU, auto takes the compiled module's convolutions, with which a step takes two "
        "thirds of the time, where they were built and the processor has AVX2; results differ by rounding"
    )
    compile: bool = Field(
        False, description="let torch.compile fuse the network's operations: a minute at the start, needs a C++ "
        "compiler on a CPU"
    )
    augment: Augment = Field(
        "none", description="random flips and quarter turns of the patches; 'colours' also permutes their channels, "
        "which makes a network trained on few stains fit others; 'stains' does that too, and makes each channel "
        "fainter or stronger"
    )
    patch_stride_px: int | None = Field(
        None,
        ge=2,
        description="distance of patches in coarse pixels; like patch_px a multiple of what the model asks for, 2 at "
        "L = 5/2; default half a patch",
    )
    odd_sides: float = Field(
        0.5, ge=0.0, le=1.0, description="share of steps whose patches lose their last row, and of those whose patches "
        "lose their last column (for L = up/3 one or two, and so on), so that the network also learns the border of "
        "images whose sides are no multiple of L's denominator; without effect where L is whole; 0: never (paper)"
    )
    validate_every: PositiveInt | None = Field(None, description="steps between validations; default 20 times a run")
    checkpoint_every: PositiveInt | None = Field(
        None, description="steps between checkpoints; default at each validation"
    )
    track: Literal["none", "tensorboard"] = Field(
        "none", description="where the curves go besides history.csv; tensorboard needs the extra superres[track]"
    )
    pictures: bool = Field(
        True, description="at each validation draw one field of the validation specimens: input, network, truth"
    )

    @model_validator(mode="after")
    def _agree(self) -> TrainSection:
        if self.warm_up and self.schedule == "one-cycle":
            raise ValueError(f"warm_up is {self.warm_up}, but one-cycle has a rise of its own; leave warm_up out, or "
                             "use cosine")
        if self.steps is not None and self.warm_up >= self.steps:
            raise ValueError(f"warm_up is {self.warm_up} of {self.steps} steps; expected fewer than all")
        return self


class InferSection(Section):
    passes: int = Field(
        1, ge=1, le=4, description="how often the output is fed back (Fig. S6); scores are of the first pass"
    )
    precision: Precision = Field("exact", description="exact: float32 on a CPU; fast: bfloat16 on one that has it")
    tile_px: int = Field(384, ge=32, description="side of an inference tile in coarse pixels, without its halo")


class EvaluateSection(PluginSection):
    pass


class PipelineConfig(Section):
    run: RunSection = Field(default_factory=lambda: RunSection())
    source: PluginSection
    split: SplitSection = Field(default_factory=lambda: SplitSection())
    register_: RegisterSection = Field(default_factory=lambda: RegisterSection(), alias="register")
    model: ModelSection = Field(default_factory=lambda: ModelSection())
    loss: list[LossSection] = Field(default_factory=lambda: [LossSection()], min_length=1)
    train: TrainSection = Field(default_factory=lambda: TrainSection())
    infer: InferSection = Field(default_factory=lambda: InferSection())
    evaluate: list[EvaluateSection] = Field(
        default_factory=lambda: [EvaluateSection(plugin=name) for name in EVALUATORS]
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a pipeline file.

    Raises ConfigError for a missing file, or for wrong TOML (with line and column, and what stands there).
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(
            (Problem(str(path), "no such file", "give the path of a pipeline file"),), source=str(path)
        ) from None
    except IsADirectoryError:
        raise ConfigError((Problem(str(path), "a folder; expected a pipeline file", "name the .toml file in it"),),
                          source=str(path)) from None
    except OSError as error:
        raise ConfigError((Problem(str(path), f"cannot be read: {error.strerror or error}", "check its permissions and "
                                   "the drive"),), source=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError((Problem(str(path), f"not a text file in UTF-8: {error.reason} at byte {error.start}",
                                   "give the path of a pipeline file (TOML)"),), source=str(path)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((Problem(str(path), f"not valid TOML: {error}", _quoted_line(text, error)),),
                          source=str(path)) from None


def _quoted_line(text: str, error: tomllib.TOMLDecodeError) -> str:
    number = re.search(r"at line (\d+)", str(error))
    lines = text.splitlines()
    if number is None or int(number[1]) > len(lines):
        return "" if not lines else f"the last line is: {lines[-1].strip()}"
    return f"line {number[1]} is: {lines[int(number[1]) - 1].strip()}"
