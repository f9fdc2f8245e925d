"""Plan: a pipeline file and a catalog become constructed plug-ins.  Every mistake is found here, all at once."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from superres.api.evaluator import Evaluator
from superres.api.loss import Loss
from superres.api.model import Geometry, Model
from superres.api.plugin import Kind, Plugin, resolve_path
from superres.api.registrar import Registrar
from superres.api.source import Source
from superres.catalog import Catalog
from superres.config import (
    EVALUATORS,
    SHIPPED,
    LossSection,
    ModelSection,
    PipelineConfig,
    PluginSection,
    RegisterSection,
    TrainSection,
    read_toml,
)
from superres.errors import ConfigError, PluginError, Problem, WeightsError
from superres.io.weights import read_weights
from superres.overrides import override, override_key
from superres.problems import problems_of
from superres.weights import shipped_weights


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything a run needs, checked: no mistake in the file is left to be found later.

    base: the folder of the pipeline file; relative paths in plug-in options start there.  output: the run folder.
    origins: "kind name" → distribution and version that the plug-in came from.  start_from: the weights file that
    training begins with, or None.
    """

    config: PipelineConfig
    base: Path
    output: Path
    source: Source
    registrar: Registrar
    model: Model
    losses: tuple[tuple[Loss, float], ...]
    evaluators: tuple[Evaluator, ...]
    origins: Mapping[str, str]
    catalog: Catalog
    start_from: Path | None = None

    def resolved(self) -> dict[str, Any]:
        """The configuration with every default written out, ready for JSON."""
        tables = self.config.model_dump(mode="json", by_alias=True)
        tables["source"]["options"] = _dump(self.source)
        tables["register"]["options"] = _dump(self.registrar)
        tables["model"]["options"] = _dump(self.model)
        for section, (loss, _) in zip(tables["loss"], self.losses, strict=True):
            section["options"] = _dump(loss)
        for section, evaluator in zip(tables["evaluate"], self.evaluators, strict=True):
            section["options"] = _dump(evaluator)
        return tables


def load_plan(path: str | Path, *, overrides: Sequence[str] = (), catalog: Catalog | None = None) -> Plan:
    """Read and check a pipeline file.

    overrides: "train.steps=100", values in TOML syntax (bare words are strings), as `--set` gives them.
    Raises ConfigError with every problem found, each with its TOML path and a suggestion.
    """
    path = Path(path)
    return make_plan(
        read_toml(path), base=path.resolve().parent, overrides=overrides, catalog=catalog, source=str(path)
    )


def make_plan(
    tables: Mapping[str, Any],
    *,
    base: Path | None = None,
    overrides: Sequence[str] = (),
    catalog: Catalog | None = None,
    source: str = "pipeline",
) -> Plan:
    """A plan from the tables of a pipeline file.

    base: folder that relative paths in plug-in options start from (default: the current one).  source: what to call the
    tables in messages.  Raises ConfigError with every problem found.
    """
    catalog = catalog if catalog is not None else Catalog.discover()
    base = base if base is not None else Path.cwd()
    tables = written = copy.deepcopy(dict(tables))
    problems = [problem for problem in (override(written, text) for text in overrides) if problem]
    config: PipelineConfig | None = None
    try:
        config = PipelineConfig.model_validate(tables)
    except ValidationError as error:
        problems += problems_of(error, "", PipelineConfig)

    builder = _Builder(catalog, base, problems)
    made_source = builder.plugin("source", tables.get("source"), "source", PluginSection)
    registrar = builder.plugin("registrar", tables.get("register", {}), "register", RegisterSection)
    model = builder.plugin("model", tables.get("model", {}), "model", ModelSection)
    losses = [
        builder.plugin("loss", each, f"loss[{i}]", LossSection)
        for i, each in enumerate(_tables(tables.get("loss"), [{}]))
    ]
    evaluators = [
        builder.plugin("evaluator", each, f"evaluate[{i}]", PluginSection)
        for i, each in enumerate(_tables(tables.get("evaluate"), [{"plugin": name} for name in EVALUATORS]))
    ]
    problems += _train_problems(tables.get("train", {}), cast(Model | None, model),
                                _scale_written(tables.get("model", {}), catalog))
    problems += _precision_problems(tables.get("train", {}), tables.get("run", {}))
    start_from = _start_from(tables.get("train", {}), cast(Model | None, model), base, problems)
    if config is not None:
        problems += _repeated_evaluators(config)
        problems += _patience_problems(config)
    if problems or config is None:
        given = {override_key(text) for text in overrides}
        raise ConfigError(
            tuple(replace(each, where=f"--set {each.where}") if each.where in given else each for each in problems),
            source=source,
        )
    return Plan(
        config,
        base,
        Path(os.path.expanduser(config.run.output)),
        cast(Source, made_source),
        cast(Registrar, registrar),
        cast(Model, model),
        tuple((cast(Loss, loss), section.factor) for loss, section in zip(losses, config.loss, strict=True)),
        tuple(cast(Evaluator, each) for each in evaluators),
        builder.origins,
        catalog,
        start_from,
    )


class _Builder:
    """Constructs plug-ins section by section and collects what is wrong instead of stopping at it."""

    def __init__(self, catalog: Catalog, base: Path, problems: list[Problem]) -> None:
        self.catalog, self.base, self.problems = catalog, base, problems
        self.origins: dict[str, str] = {}

    def plugin(self, kind: Kind, section: Any, where: str, schema: type[PluginSection]) -> Plugin | None:
        if not isinstance(section, Mapping) or not isinstance(section.get("options", {}), Mapping):
            return None  # the section's own validation has reported it
        name = section.get("plugin", schema.model_fields["plugin"].default)
        if not isinstance(name, str) or not name:
            return None
        try:
            entry = self.catalog.entry(kind, name)
        except PluginError as error:
            self.problems.append(Problem(f"{where}.plugin", error.message, error.hint))
            return None
        try:
            options = entry.plugin.Options.model_validate(dict(section.get("options", {})), context={"base": self.base})
            plugin = entry.plugin(options)
            # A geometry that cannot be built is a mistake in the options; one that is none is the plug-in's.
            if isinstance(plugin, Model) and not isinstance(plugin.geometry, Geometry):
                raise TypeError(f"geometry is a {type(plugin.geometry).__name__}; expected a Geometry")
            _dump(plugin)
        except ValidationError as error:
            self.problems += problems_of(error, f"{where}.options", entry.plugin.Options)
            return None
        except (ValueError, PluginError) as error:
            self.problems.append(Problem(f"{where}.options", str(error)))
            return None
        # A foreign constructor may raise anything; it is one problem among those of the file.
        except Exception as error:
            text = f"{kind} '{name}' of {entry.label} cannot be made: {type(error).__name__}: {error}"
            self.problems.append(
                Problem(f"{where}.plugin", text, "mend the plug-in: its options, its constructor or its geometry")
            )
            return None
        self.origins[f"{kind} {name}"] = entry.label
        return plugin


def _scale_written(section: Any, catalog: Catalog) -> Fraction | None:
    """L = up/down by [model] and its plug-in's defaults, whatever else is wrong with it; None where that is unknown."""
    options = section.get("options", {}) if isinstance(section, Mapping) else None
    if not isinstance(options, Mapping):
        return None
    try:
        known = catalog.entry("model", section.get("plugin", ModelSection.model_fields["plugin"].default))
        fields = known.plugin.Options.model_fields
    except (PluginError, TypeError):
        fields = {}
    up, down = (options.get(key, fields[key].default if key in fields else None) for key in ("up", "down"))
    return Fraction(up, down) if type(up) is type(down) is int and up >= down >= 1 else None


def _train_problems(section: Any, model: Model | None, scale: Fraction | None) -> list[Problem]:
    """What single values cannot show.  Read from the raw table, so that a mistake elsewhere does not hide these.

    scale: L, which alone says something where the model cannot be made.
    """
    if not isinstance(section, Mapping):
        return []
    problems = []
    if section.get("track") == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        problems.append(Problem("train.track", "tensorboard is not installed", "pip install 'superres[track]'"))
    if section.get("steps") is not None and section.get("epochs") is not None:
        problems.append(Problem("train", "steps and epochs are both given", "keep one of them"))
    if model is not None:
        multiple = model.geometry.patch_multiple_px
        who = f"model '{model.name}' needs at L = {model.geometry.scale}"
    elif scale is not None:
        multiple, who = scale.denominator, f"every model needs at L = {scale}"  # as Geometry demands of them
    else:
        return problems
    for key in ("patch_px", "patch_stride_px"):
        value = section.get(key, TrainSection.model_fields[key].default)
        if isinstance(value, int) and value % multiple:
            problems.append(
                Problem(
                    f"train.{key}",
                    f"{value} is no multiple of {multiple} coarse px, which {who}",
                    f"use for example {value + multiple - value % multiple}",
                )
            )
    return problems


def _precision_problems(train: Any, run: Any) -> list[Problem]:
    """A contradiction in the file; whether this machine has a GPU is not asked (see `diagnosis.missing_here`)."""
    if not isinstance(train, Mapping) or not isinstance(run, Mapping):
        return []
    if train.get("precision") != "float16" or run.get("device") != "cpu":
        return []
    return [Problem("train.precision", "float16 needs a GPU, and run.device is 'cpu'",
                    "use precision = \"float32\", or another device")]


def _patience_problems(config: PipelineConfig) -> list[Problem]:
    """Patience waits for a better validation, and without specimens to validate on there is none."""
    if config.train.patience is None or config.split.validation not in (0, []):
        return []
    return [Problem("train.patience", f"patience is {config.train.patience}, but split.validation holds no specimen: "
                    "nothing would end the training early", "give specimens to validation, or leave patience out")]


def _start_from(section: Any, model: Model | None, base: Path, problems: list[Problem]) -> Path | None:
    """The weights that [train] starts from, checked against the model; adds what is wrong with them to the problems."""
    written = section.get("start_from") if isinstance(section, Mapping) else None
    if not isinstance(written, str) or not written:
        return None
    where = "train.start_from"
    try:
        path = shipped_weights() if written == SHIPPED else resolve_path(written, base)
        weights = read_weights(path)
    except WeightsError as error:
        problems.append(Problem(where, error.message, error.hint))
        return None
    except ValueError as error:
        problems.append(Problem(where, str(error)))
        return None
    if model is not None and (weights.plugin, dict(weights.options)) != (model.name, _dump(model)):
        problems.append(Problem(
            where, f"'{written}' holds weights of '{weights.plugin}' with options {dict(weights.options)}; [model] is "
            f"'{model.name}' with {_dump(model)}", "name weights of the same model with the same options"))
    return path


def _repeated_evaluators(config: PipelineConfig) -> list[Problem]:
    """Two sections of one evaluator would give scores of one name, which evaluation refuses after hours of training."""
    problems = []
    first: dict[str, int] = {}
    for number, section in enumerate(config.evaluate):
        if first.setdefault(section.plugin, number) != number:
            problems.append(
                Problem(
                    f"evaluate[{number}].plugin",
                    f"'{section.plugin}' is evaluate[{first[section.plugin]}] already, and its scores would have the "
                    "same names",
                    "keep one of the two sections",
                )
            )
    return problems


def _tables(value: Any, default: list[dict[str, Any]]) -> list[Any]:
    return default if value is None else value if isinstance(value, list) else []


def _dump(plugin: Plugin) -> dict[str, Any]:
    return cast(dict[str, Any], plugin.options.model_dump(mode="json"))
