"""The compiled part of superres, where it was built: libsuperres, the network without torch.

`superres.native.model.NativeModel` runs it.

superres is complete without it.  Ask `available()` before anything else in here.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType


def available() -> bool:
    """Whether superres.native._core is installed and can be loaded."""
    return _load()[0] is not None


def build_info() -> dict[str, str]:
    """How the native module was built: version, compiler, cxx_standard ("17"), build_type, cuda ("yes" or "no"),
    cuda_architectures ("80-real 80-virtual", or "none").

    Empty where the module is not available.
    """
    core, _ = _load()
    return dict(core.build_info()) if core is not None else {}


def device_count() -> int:
    """How many CUDA devices the native module can use now: 0 without one, or where it was built without CUDA."""
    core, _ = _load()
    return int(core.device_count()) if core is not None else 0


def reason_unavailable() -> str:
    """Why the native module cannot be used and what to do about it, in one sentence; empty where it can."""
    return _load()[1]


def winograd() -> ModuleType | None:
    """The module with the convolutions of superres/winograd.h, where they were built and this processor has what they
    need; else None."""
    core, _ = _load()
    return core if core is not None and getattr(core, "winograd_supported", bool)() else None


@cache
def _load() -> tuple[ModuleType | None, str]:
    try:
        return import_module("superres.native._core"), ""
    except ModuleNotFoundError as error:
        if error.name != "superres.native._core":
            return None, f"the native module needs {error.name}, which is not installed"
        return None, ("it was not built: superres was installed where CMake or a C++ compiler is missing, or with "
                      "SUPERRES_NATIVE=OFF; reinstall with SUPERRES_NATIVE=ON to see what is missing")
    except ImportError as error:
        return None, f"the native module does not load on this machine ({error}); reinstall superres"
