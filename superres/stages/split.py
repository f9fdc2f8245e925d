"""Split: which specimens train, validate and test.  By specimen, never by patch: neighbours in tissue are too alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superres.api.model import Geometry
from superres.api.source import Acquisition
from superres.config import SplitSection
from superres.errors import SourceError

SCALE_TOLERANCE = 0.05
"""Registration measures the true magnification; up to 5 % (its own limit) may the nominal one differ from the model's
L."""


@dataclass(frozen=True)
class Split:
    """Specimen ids; no id stands in two of the three."""

    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def choose_split(specimens: Sequence[str], section: SplitSection, seed: int, *, trains: bool) -> Split:
    """Deal specimens out: named ones first, then counts from a seeded shuffle, the rest trains.

    trains: whether the model needs training specimens.  Raises SourceError for ids that are not there, and where fewer
    specimens are left than the split needs.
    """
    # Sorted: the deal must not depend on the order in which folders happen to list the slides.
    left = sorted(specimens)
    chosen: dict[str, tuple[str, ...]] = {}
    for role in ("test", "validation"):
        wanted = getattr(section, role)
        if not isinstance(wanted, int):
            missing = [each for each in wanted if each not in specimens]
            if missing:
                raise SourceError(
                    f"split.{role} names specimens that have no fields: {', '.join(missing)}",
                    hint=f"the specimens here are: {', '.join(specimens)}",
                )
            chosen[role] = tuple(wanted)
            left = [each for each in left if each not in wanted]
    shuffled = [left[i] for i in np.random.default_rng(seed).permutation(len(left))]
    for role in ("test", "validation"):
        if role in chosen:
            continue
        count = getattr(section, role)
        chosen[role] = tuple(shuffled[:count])
        shuffled = shuffled[count:]
        if len(chosen[role]) < count:
            raise _too_few(specimens, section)
    if trains and not shuffled:
        raise _too_few(specimens, section)
    training = tuple(each for each in specimens if each in shuffled)
    return Split(training, chosen["validation"], chosen["test"])


def require_fields(acquisition: Acquisition) -> None:
    """Raises SourceError where there is nothing fine to register or to learn from."""
    if not acquisition.pairs and not any(scan.fields for scan in acquisition.scans):
        raise SourceError(
            f"{len(acquisition.scans)} scans and not one fine field: there is nothing to register",
            hint="set source.options.fine to the pattern of the fine fields; to stitch tiles alone: superres stitch",
        )


def check_scale(acquisition: Acquisition, geometry: Geometry) -> None:
    """Raises SourceError where the pixel sizes of the images and the model's L do not belong together."""
    scale = float(geometry.scale)
    if abs(acquisition.scale / scale - 1) > SCALE_TOLERANCE:
        raise SourceError(
            f"pixel sizes {acquisition.coarse_pixel_size_um:g} and {acquisition.fine_pixel_size_um:g} µm give "
            f"L = {acquisition.scale:.3g}, but the model makes L = {geometry.up}/{geometry.down} = {scale:g}",
            hint="correct the pixel sizes in [source], or set model.options up and down",
        )


def _too_few(specimens: Sequence[str], section: SplitSection) -> SourceError:
    return SourceError(
        f"{len(specimens)} specimens ({', '.join(specimens)}) are too few for split.test = {section.test!r} and "
        f"split.validation = {section.validation!r} with at least one left to train",
        hint="add specimens, or lower split.test and split.validation (0 is allowed, and then nothing is measured)",
    )
