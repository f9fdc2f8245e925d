"""The pipeline file: its sections and their ranges.  Plug-in options stay untyped here; the plan checks them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from superres.errors import ConfigError, Problem

Stage = Literal["acquire", "register", "train", "infer", "evaluate", "report"]
STAGES: tuple[Stage, ...] = ("acquire", "register", "train", "infer", "evaluate", "report")
EVALUATORS = ("ssim", "psnr", "difference-map")
"""Evaluators of a pipeline file that lists none."""
Augment = Literal["none", "flips-and-turns", "flips-turns-and-colours"]
Precision = Literal["exact", "fast"]

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")

PositiveInt = Annotated[int, Field(ge=1)]
Fraction01 = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A table of the pipeline file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunSection(Section):
    output: str = Field("runs/run", min_length=1, description="run folder, relative to where the command is given")
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
    min_confidence: float = Field(0.5, ge=0.0, le=1.0, description="pairs below are rejected and listed")


class ModelSection(PluginSection):
    plugin: str = Field("rivenson2017", min_length=1, description="name of the model")


class LossSection(PluginSection):
    plugin: str = Field("mse-gradient", min_length=1, description="name of the loss")
    factor: float = Field(1.0, gt=0.0, description="weight of this loss in the sum")


class TrainSection(Section):
    patch_px: int = Field(60, ge=8, le=1024, description="side of a training patch in coarse pixels (paper: 60)")
    batch_size: int = Field(64, ge=1, le=4096, description="patches in a step (paper: 64)")
    steps: PositiveInt | None = Field(None, description="number of optimiser steps; or give epochs")
    epochs: PositiveInt | None = Field(None, description="number of passes over the patches; or give steps")
    learning_rate: float = Field(
        1e-4, gt=0.0, le=1.0, description="Adam's learning rate, the peak for one-cycle (paper: 1e-4)"
    )
    schedule: Literal["constant", "one-cycle"] = Field(
        "constant", description="learning rate over the steps (paper: constant)"
    )
    augment: Augment = Field(
        "none", description="random flips and quarter turns of the patches; 'colours' also permutes their channels, "
        "which makes a network trained on few stains fit others"
    )
    patch_stride_px: int | None = Field(
        None,
        ge=2,
        description="distance of patches in coarse pixels, a multiple of L's denominator; default half a patch",
    )
    validate_every: PositiveInt | None = Field(None, description="steps between validations; default 20 times a run")
    checkpoint_every: PositiveInt | None = Field(
        None, description="steps between checkpoints; default at each validation"
    )


class InferSection(Section):
    passes: int = Field(
        1, ge=1, le=4, description="how often the output is fed back (Fig. S6); scores are of the first pass"
    )
    precision: Precision = Field("exact", description="exact: float32 on a CPU; fast: bfloat16 on a CPU")
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
    """The tables of a pipeline file.  Raises ConfigError for a missing file or wrong TOML (with line and column)."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            (Problem(str(path), "no such file", "give the path of a pipeline file"),), source=str(path)
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((Problem(str(path), f"cannot be read: {error}"),), source=str(path)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((Problem(str(path), f"not valid TOML: {error}"),), source=str(path)) from None
