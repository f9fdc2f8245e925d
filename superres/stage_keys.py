"""What identifies each stage's result: the same keys, the same result, so it need not be computed again."""

from __future__ import annotations

import inspect
import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from superres._version import __version__
from superres.api.plugin import Plugin
from superres.config import Stage
from superres.inference.device import resolve_device
from superres.plan import Plan
from superres.stages.blame import blamed
from superres.stages.store import file_hash, key_of

REPORTED_LIBRARIES = (
    "torch",
    "openvino",
    "numpy",
    "scipy",
    "opencv-contrib-python",
    "scikit-image",
    "pluggy",
    "pydantic",
    "tifffile",
)


CHANGES_NOTHING = ("checkpoint_every", "track", "pictures", "start_from")
"""Keys of [train] that do not change the weights; of start_from it is the file's content that does."""


def stage_keys(plan: Plan) -> dict[Stage, str]:
    """For each stage a hash of its options, of its plug-ins' code, and of the key of the stage before.

    How often a checkpoint is written, and what is drawn meanwhile, changes no result and is left out; the device that
    infers changes the last bits and is in.  Raises EngineError for a device that is not here, before anything is
    computed, and PluginError where the source's fingerprint fails.
    """
    options = plan.resolved()
    with blamed(plan.source, "while it took the fingerprint of its images"):
        fingerprint = plan.source.fingerprint()
    acquired = key_of(__version__, options["source"], _code(plan, plan.source), fingerprint)
    registered = key_of(acquired, options["register"], _code(plan, plan.registrar), str(plan.model.geometry.scale))
    trained = key_of(
        registered,
        options["model"],
        _code(plan, plan.model),
        options["loss"],
        [_code(plan, loss) for loss, _ in plan.losses],
        {key: value for key, value in options["train"].items() if key not in CHANGES_NOTHING},
        _start(plan),
        options["split"],
        options["run"]["seed"],
    )
    inferred = key_of(trained, options["infer"], str(resolve_device(options["run"]["device"])))
    evaluated = key_of(inferred, options["evaluate"], [_code(plan, each) for each in plan.evaluators])
    return {
        "acquire": acquired,
        "register": registered,
        "train": trained,
        "infer": inferred,
        "evaluate": evaluated,
        "report": evaluated,
    }


def library_versions(plan: Plan) -> dict[str, str]:
    """Name → version of what computed a result: superres, Python, libraries, and plug-ins of other packages."""
    found = {
        "superres": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for library in REPORTED_LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    foreign = {name: label for name, label in plan.origins.items() if not label.startswith("superres ")}
    return found | {f"plug-in {name}": label for name, label in foreign.items()}


def _start(plan: Plan) -> str:
    return file_hash(plan.start_from) if plan.start_from is not None else ""


def _code(plan: Plan, plugin: Plugin) -> list[str]:
    """A plug-in's distribution and version, and the content of its file, which its author may be editing.

    A class without a file, typed in at a prompt or a notebook, is the same as long as it is the same object.
    """
    cls = type(plugin)
    try:
        source = inspect.getsourcefile(cls)
        content = file_hash(Path(source)) if source and Path(source).is_file() else ""
    except (OSError, TypeError):
        content = f"process {os.getpid()}, class {id(cls)}"
    return [plan.origins[f"{plugin.kind} {plugin.name}"], content]
