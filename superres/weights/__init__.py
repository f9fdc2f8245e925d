"""The weights that come with superres.  What they were trained on, and how well they do: the model card beside them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from superres.errors import WeightsError

NAME = "stained-tissue-2.5x"
"""rivenson2017, L = 2.5, for stained sections: the file's stem, and the model card's."""


def shipped_weights() -> Path:
    """Their file.  Raises WeightsError where the installation lacks it."""
    path = Path(str(files("superres.weights") / f"{NAME}.safetensors"))
    if not path.is_file():
        raise WeightsError(f"this installation has no '{path.name}'", hint="reinstall superres, or give --weights")
    return path
