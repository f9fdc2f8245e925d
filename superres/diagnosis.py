"""What this machine has and what superres will use of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from superres._version import __version__
from superres.catalog import Catalog, remedy
from superres.config import Precision
from superres.errors import EngineError, TrainingError
from superres.plan import Plan

OPENCV_DISTRIBUTIONS = ("opencv-contrib-python", "opencv-contrib-python-headless")
OPENCV_INTRUDERS = ("opencv-python", "opencv-python-headless")


@dataclass(frozen=True)
class Finding:
    """One line of `superres doctor`.  state: "ok", "note" (works, but know it) or "wrong" (something will fail)."""

    state: Literal["ok", "note", "wrong"]
    subject: str
    text: str


def diagnose() -> tuple[Finding, ...]:
    """Look at libraries, hardware, the native module and plug-ins.  Imports torch and OpenCV; changes nothing."""
    return (
        Finding(
            "ok",
            "superres",
            f"{__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        ),
        *_torch(),
        *_native(),
        *_engine(),
        *_opencv(),
        *_plugins(),
    )


def processor() -> str:
    """Name of this machine's processor, as its maker writes it where the system tells that."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def missing_here(plan: Plan) -> tuple[str, ...]:
    """What a run of the plan needs and this machine lacks; the machine that will run it may have it.

    Imports torch only for a plan that asks for a GPU.
    """
    device, settings = plan.config.run.device, plan.config.train
    if not device.startswith("cuda") and settings.precision != "float16":
        return ()
    from superres.inference.device import resolve_device
    from superres.training.learner import check_arithmetic

    try:
        check_arithmetic(settings, resolve_device(device))
    except (EngineError, TrainingError) as error:
        return (error.message,)
    return ()


def _torch() -> Iterator[Finding]:
    import torch

    yield Finding("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} processors "
                  f"({processor()})")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("ok", "device", f"auto means cuda:0; GPUs: {names}")
    else:
        why = "this torch was built without CUDA" if torch.version.cuda is None else "torch sees no GPU"
        yield Finding("ok", "device", f"auto means cpu: {why}")
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        yield Finding("note", "oneDNN", "not available: convolutions on this CPU will be slow")
    if _installed("torchvision"):
        yield Finding(
            "note", "torchvision", "superres does not use it; a version that does not match torch fails on import"
        )


def _by_avx2(native: ModuleType) -> str:
    return " by AVX2" if native.winograd() is not None else " by plain loops, as this processor or build has no AVX2"


def _native() -> Iterator[Finding]:
    from superres import native

    if not native.available():
        yield Finding("note", "native module", f"{native.reason_unavailable()}; engine = native is an error")
        return
    info = native.build_info()
    built = f"{info['version']}, {info['compiler']}, {info['build_type']}"
    if info["cuda"] == "no":
        yield Finding("ok", "native module", f"{built}; no kernels for GPUs: float32 on the CPU{_by_avx2(native)}")
        return
    cards = native.device_count()
    here = f"GPUs here: {cards}" if cards else f"no GPU here: float32 on the CPU{_by_avx2(native)}"
    yield Finding("ok", "native module", f"{built}; kernels for {info['cuda_architectures']}; {here}")


def _engine() -> Iterator[Finding]:
    """What "auto" means for the built-in network on this machine."""
    from superres.inference.device import resolve_device
    from superres.inference.engines import arithmetic_of, choose
    from superres.native.model import ARCHITECTURE

    device = resolve_device("auto")
    for precision in get_args(Precision):
        _, why = choose(ARCHITECTURE, device, precision)
        yield Finding("ok", "engine", f"{precision}: {arithmetic_of(device, precision)[1]}; {why}")


def _opencv() -> Iterator[Finding]:
    try:
        import cv2
    except ImportError as error:
        yield Finding(
            "wrong", "OpenCV", f"cannot be loaded: {error}; install the system library libgl1, or the headless wheel"
        )
        return
    intruders = [name for name in OPENCV_INTRUDERS if _installed(name)]
    keepers = [name for name in OPENCV_DISTRIBUTIONS if _installed(name)]
    if intruders:
        yield Finding(
            "wrong",
            "OpenCV",
            f"{' and '.join(intruders)} overwrites the files of opencv-contrib-python: "
            f"pip uninstall {' '.join(intruders + keepers)}, then pip install opencv-contrib-python",
        )
    elif not hasattr(cv2, "xfeatures2d"):
        yield Finding(
            "wrong",
            "OpenCV",
            f"{cv2.__version__} lacks the contrib modules: pip install --force-reinstall opencv-contrib-python",
        )
    else:
        yield Finding("ok", "OpenCV", f"{cv2.__version__} with contrib modules")


def _plugins() -> Iterator[Finding]:
    catalog = Catalog.discover()
    yield Finding("ok", "plug-ins", f"{len(catalog.entries())} found")
    for each in catalog.broken:
        where = f" ({each.hint})" if each.hint else ""
        yield Finding("note", "plug-in package", f"{each.distribution} {each.version} is broken: {each.reason}{where}")
    for group in catalog.clashes():
        owners = " and ".join(entry.owner for entry in group)
        yield Finding(
            "note", "plug-in name", f"{group[0].kind} '{group[0].name}' is claimed by {owners}; {remedy(group)}"
        )


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
