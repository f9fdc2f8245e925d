"""Train: a network from the training pairs, and its weights file with everything that a later user must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from superres.api.model import Model
from superres.api.source import Acquisition, Pair
from superres.errors import PluginError, SourceError, SuperresError
from superres.events import Events, Progress
from superres.inference.generator import borrowed_generator
from superres.io.weights import Weights, read_weights, write_weights
from superres.stages.blame import built_network
from superres.stages.seen import files_seen, specimens_seen
from superres.stages.store import StageFolder, file_hash
from superres.stages.trial import try_out
from superres.training.history import HistoryRow, read_history
from superres.training.inputs import worst_of
from superres.training.job import TrainingJob, TrainingResult
from superres.training.loop import HISTORY_FILE
from superres.training.loop import train as run_training
from superres.training.ranks import ALONE, Ranks
from superres.training.stain import stains_of

WEIGHTS_FILE = "weights.safetensors"


def train(
    job: TrainingJob,
    acquisition: Acquisition,
    provenance: Mapping[str, Any],
    folder: StageFolder,
    events: Events,
    ranks: Ranks = ALONE,
) -> Path:
    """Train the job's model and write weights.safetensors and history.csv into `folder`.

    provenance: JSON values that go into the weights file.  ranks: of several processes that train together, of which
    this is the first.  Returns the path of the weights.  Raises PluginError for a model or a loss that breaks its
    contract, SourceError where nothing is left to train on, and what training raises.
    """
    if not job.training:
        raise SourceError(
            "no registered pair is left to train on",
            hint="see registration.json for what was rejected and why, and [split] for what is held out",
        )
    started = _started_from(job)  # before the hours in which the file may go
    try_out(job)
    try:
        result = run_training(job, events, ranks)
    except (SuperresError, MemoryError):
        raise
    except Exception as error:
        losses = ", ".join(f"'{loss.name}'" for loss, _ in job.losses)
        raise PluginError(
            f"training model '{job.model.name}' with loss {losses} failed: {type(error).__name__}: {error}",
            hint="mend the plug-in; SUPERRES_TRACEBACK=1 shows where it failed",
        ) from error
    provenance = {**provenance, "training": {**_summary(job, result), **started}}
    path = folder.path / WEIGHTS_FILE
    write_weights(
        path,
        _weights(job.model, acquisition, job.training, provenance, result.tensors),
    )
    return path


def describe_untrained(
    model: Model,
    acquisition: Acquisition,
    pairs: Sequence[Pair],
    provenance: Mapping[str, Any],
    folder: StageFolder,
    events: Events,
) -> Path:
    """The weights file of a model that has nothing to train (bicubic): its recipe alone."""
    events.note("train", f"model '{model.name}' is not trainable; training is skipped")
    events.progress(Progress("train", 1, 1, "nothing to train"))
    path = folder.path / WEIGHTS_FILE
    with borrowed_generator():
        network = built_network(model)
    tensors = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    write_weights(path, _weights(model, acquisition, pairs, provenance, tensors))
    return path


def history(folder: StageFolder) -> tuple[HistoryRow, ...]:
    """The losses of a finished training; empty where nothing was trained."""
    path = folder.path / HISTORY_FILE
    return read_history(path) if path.exists() else ()


def training_facts(weights: Path) -> Mapping[str, Any]:
    """What the weights file says about their training: steps, best_step, patches; empty where nothing was trained."""
    facts: Mapping[str, Any] = read_weights(weights).provenance.get("training", {})
    return facts


def _started_from(job: TrainingJob) -> dict[str, Any]:
    if job.start_from is None:
        return {}
    before = read_weights(job.start_from).provenance
    return {"started_from": {"weights (SHA-256)": file_hash(job.start_from),
                             "specimens": sorted(specimens_seen(before)), "files": files_seen(before)}}


def _weights(
    model: Model,
    acquisition: Acquisition,
    pairs: Sequence[Pair],
    provenance: Mapping[str, Any],
    tensors: Mapping[str, Any],
) -> Weights:
    return Weights(
        plugin=model.name,
        options=model.options.model_dump(mode="json"),
        geometry=asdict(model.geometry),
        coarse_pixel_size_um=acquisition.coarse_pixel_size_um,
        fine_pixel_size_um=acquisition.fine_pixel_size_um,
        tensors=tensors,
        coarse=acquisition.coarse,
        fine=acquisition.fine,
        stains=stains_of(pairs),
        worst_inputs=worst_of(pairs, acquisition.coarse, acquisition.coarse_pixel_size_um),
        provenance=provenance,
    )


def _summary(job: TrainingJob, result: TrainingResult) -> dict[str, Any]:
    return {
        "settings": job.settings.model_dump(mode="json"),
        "seed": job.seed,
        "losses": [
            {"plugin": loss.name, "factor": factor, "options": loss.options.model_dump(mode="json")}
            for loss, factor in job.losses
        ],
        "pairs": len(job.training),
        "specimens": sorted({pair.specimen for pair in job.training}),
        "validation_specimens": sorted({pair.specimen for pair in job.validation}),
        "patches": result.patches,
        "steps": result.steps,
        "best_step": result.best_step,
        "parameters": result.parameters,
        "convolutions": "; then ".join(result.convolutions),
    }
