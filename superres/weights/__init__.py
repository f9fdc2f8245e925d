"""The weights that come with superres.  What they were trained on, and how well they do: the model card beside them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from superres.errors import WeightsError

NAME = "stained-tissue-2.5x"
"""rivenson2017, L = 2.5, for stained sections: the stem of the file and of its model card."""


def shipped_weights() -> Path:
    """Their file.  Raises WeightsError where the installation lacks it."""
    return _beside(f"{NAME}.safetensors")


def shipped_card() -> Path:
    """Their model card, in Markdown.  Raises WeightsError where the installation lacks it."""
    return _beside(f"{NAME}.md")


def _beside(name: str) -> Path:
    path = Path(str(files("superres.weights") / name))
    if not path.is_file():
        raise WeightsError(f"this installation of superres lacks '{name}'", hint="reinstall superres")
    return path
