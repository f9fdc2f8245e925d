"""Training patches: where they lie, in which order they come, and how a batch is made.

Nothing here has state: a batch is a pure function of the images, the seed and the number of the step.  That is what
makes a resumed run equal to an uninterrupted one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from superres.api.model import Geometry
from superres.api.source import Pair
from superres.config import Augment
from superres.errors import TrainingError
from superres.image import FloatArray, Image

# Second words of the seeds, so that the streams are independent; the loop has more.
_ORDER, _AUGMENTATION, _CHOICE, _SIDES = 1, 2, 5, 8


@dataclass(frozen=True)
class Change:
    """What augmentation does to a patch and to its fine partner alike.

    quarters: number of quarter turns.  mirrored: along x, after them.  channels: the order in which red, green and blue
    are taken.  strengths: of the stain in each of these; the distance from white is multiplied by them.
    """

    quarters: int = 0
    mirrored: bool = False
    channels: tuple[int, ...] = (0, 1, 2)
    strengths: tuple[float, ...] = (1.0, 1.0, 1.0)


_UNCHANGED = Change()
WEAKEST_STAIN, STRONGEST_STAIN = 0.6, 1.3
"""Of the "stains" augmentation.  Sections of one stain differ by about this much between laboratories; more than 1.3
would darken to below black where a section absorbs 77 %, and amplifies the coarse noise as well."""

_ORDERS = tuple(itertools.permutations(range(3)))


@dataclass(frozen=True)
class PatchPlace:
    """A patch: number of its pair, and its top-left corner in coarse pixels."""

    pair: int
    top: int
    left: int


@dataclass(frozen=True, eq=False)
class PatchSet:
    """All patches of some pairs.  Images stay as they are stored; patches are cut when a batch needs them.

    patch_px: side in coarse pixels; the fine side is exactly L times that.
    """

    pairs: tuple[Pair, ...]
    geometry: Geometry
    patch_px: int
    places: tuple[PatchPlace, ...]

    @property
    def fine_patch_px(self) -> int:
        return int(self.geometry.scale * self.patch_px)

    def __len__(self) -> int:
        return len(self.places)

    def describe(self, index: int) -> str:
        """'name' (top, left): for messages."""
        place = self.places[index]
        return f"'{self.pairs[place.pair].name}' ({place.top}, {place.left})"

    def batch(self, indices: Sequence[int],
              changes: Sequence[Change] | None = None) -> tuple[FloatArray, FloatArray]:
        """Coarse (N, p, p, 3) and fine (N, L·p, L·p, 3), float32 in units of white.

        changes: one for each patch; None for none.
        """
        coarse = np.empty((len(indices), self.patch_px, self.patch_px, 3), dtype=np.float32)
        fine = np.empty((len(indices), self.fine_patch_px, self.fine_patch_px, 3), dtype=np.float32)
        scale = self.geometry.scale
        for row, index in enumerate(indices):
            place = self.places[index]
            pair = self.pairs[place.pair]
            change = _UNCHANGED if changes is None else changes[row]
            _fill(coarse[row], pair.coarse, place.top, place.left, change)
            _fill(fine[row], pair.fine, int(scale * place.top), int(scale * place.left), change)
        return coarse, fine


def cut_patches(pairs: Sequence[Pair], geometry: Geometry, patch_px: int, stride_px: int) -> PatchSet:
    """Patches on a grid over every pair; where the grid leaves a rest, the last ones lie flush with the border.

    Corners lie at multiples of geometry.patch_multiple_px, so that the fine corner L·offset is whole.  Images smaller
    than a patch give none.
    Raises TrainingError if patch_px or stride_px is no such multiple, if a fine image has not the size that L asks for,
    or if no image holds a patch.
    """
    multiple = geometry.patch_multiple_px
    for what, value in (("patch_px", patch_px), ("patch_stride_px", stride_px)):
        if value < 1 or value % multiple:
            raise TrainingError(f"{what} is {value}; expected a multiple of {multiple} for L = {geometry.scale}",
                                hint=f"set train.{what} to {max(1, -(-value // multiple)) * multiple}")
    places: list[PatchPlace] = []
    for number, pair in enumerate(pairs):
        _require_matching_sizes(pair, geometry)
        rows = grid_offsets(pair.coarse.height, patch_px, stride_px, multiple)
        columns = grid_offsets(pair.coarse.width, patch_px, stride_px, multiple)
        places.extend(PatchPlace(number, top, left) for top in rows for left in columns)
    if not places:
        sizes = sorted({pair.coarse.shape_px for pair in pairs}, reverse=True)
        listed = ", ".join(f"{height} × {width}" for height, width in sizes[:5]) or "none"
        raise TrainingError(f"no patch of {patch_px} × {patch_px} px fits in the pairs (largest sizes: {listed})",
                            hint="lower train.patch_px, or give larger images")
    return PatchSet(tuple(pairs), geometry, patch_px, tuple(places))


def some_patches(patches: PatchSet, limit_px: int, seed: int) -> PatchSet:
    """At most limit_px coarse pixels of patches (but one patch at least): the same choice for the same seed."""
    count = max(1, limit_px // patches.patch_px ** 2)
    if len(patches) <= count:
        return patches
    chosen = sorted(np.random.default_rng([seed, _CHOICE]).permutation(len(patches))[:count].tolist())
    return replace(patches, places=tuple(patches.places[index] for index in chosen))


def default_stride_px(patch_px: int, geometry: Geometry) -> int:
    """Half a patch, rounded down to an allowed offset."""
    multiple = geometry.patch_multiple_px
    return max(multiple, patch_px // 2 // multiple * multiple)


def grid_offsets(length_px: int, patch_px: int, stride_px: int, multiple: int) -> tuple[int, ...]:
    """0, stride, 2·stride … and the last multiple at which a patch still fits; empty if none does."""
    if length_px < patch_px:
        return ()
    last = (length_px - patch_px) // multiple * multiple
    return tuple(sorted({*range(0, last + 1, stride_px), last}))


def patch_order(count: int, batch_size: int, step: int, seed: int,
                shuffled: Callable[[int, int, int], npt.NDArray[np.int64]] | None = None) -> npt.NDArray[np.int64]:
    """The patches of a step (0, 1, …): the next batch_size of an endless sequence of shuffled epochs.

    Every batch is full; one that reaches over the end of an epoch goes on with the next.  shuffled: `epoch_order`, or
    something that gives the same faster.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // count
    order = {epoch: (shuffled or epoch_order)(count, seed, epoch) for epoch in np.unique(epochs).tolist()}
    chosen = [order[epoch][position % count] for epoch, position in zip(epochs.tolist(), positions, strict=True)]
    return np.array(chosen, dtype=np.int64)


def epoch_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """All patches, shuffled."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def random_changes(augment: Augment, batch_size: int, step: int, seed: int) -> list[Change] | None:
    """For each patch of a step one of the eight symmetries of the square, and with "colours" an order of the channels.

    With "stains" also a strength for each channel.  A patch of even side and its fine partner share their centre, so
    both turn alike without a shift.  Another order of the channels is the same section in stains of other colours: the
    optics do not know which channel is which.  A strength is a mixture with clear glass, which commutes with everything
    that is linear in intensity.
    """
    if augment == "none":
        return None
    rng = np.random.default_rng([seed, _AUGMENTATION, step])
    symmetries = rng.integers(0, 8, size=batch_size)
    coloured = augment in ("flips-turns-and-colours", "flips-turns-and-stains")
    orders = rng.integers(0, len(_ORDERS) if coloured else 1, size=batch_size)
    strengths = np.ones((batch_size, 3))
    if augment == "flips-turns-and-stains":
        strengths = rng.uniform(WEAKEST_STAIN, STRONGEST_STAIN, size=(batch_size, 3))
    return [Change(int(symmetry) % 4, bool(symmetry >= 4), _ORDERS[order], tuple(strength))
            for symmetry, order, strength in zip(symmetries, orders, strengths.tolist(), strict=True)]


def random_sides(share: float, patch_px: int, geometry: Geometry, step: int, seed: int) -> tuple[int, int]:
    """Height and width in coarse pixels to which the patches of a step are cut, at their bottom and right.

    patch_px, or for each of the two with probability `share` 1 … d − 1 pixels less, where L = u/d in lowest terms.  A
    strided output layer reads beyond the image's last row only where the side is no multiple of d; patches that are
    always multiples would never teach a network what such a row should be.
    """
    divisor = geometry.scale.denominator
    if divisor == 1 or share == 0:
        return patch_px, patch_px
    rng = np.random.default_rng([seed, _SIDES, step])
    cut, dropped = rng.random(2) < share, rng.integers(1, divisor, size=2)
    height, width = (patch_px - cut * dropped).tolist()
    return height, width


def _fill(target: FloatArray, image: Image, top: int, left: int, change: Change) -> None:
    side = target.shape[0]
    patch: npt.NDArray[Any] = image.pixels[top:top + side, left:left + side]
    patch = np.rot90(patch, change.quarters)
    if change.mirrored:
        patch = patch[:, ::-1]
    target[:] = patch[:, :, None] if patch.ndim == 2 else patch[:, :, list(change.channels)]
    target /= np.float32(image.white)
    if change.strengths != _UNCHANGED.strengths:
        strengths = np.array(change.strengths, dtype=np.float32)
        target *= strengths
        target += 1 - strengths


def _require_matching_sizes(pair: Pair, geometry: Geometry) -> None:
    expected = geometry.output_shape(*pair.coarse.shape_px)
    if pair.fine.shape_px != expected:
        raise TrainingError(f"pair '{pair.name}': coarse {pair.coarse.shape_px} and fine {pair.fine.shape_px} px; "
                            f"L = {geometry.scale} asks for fine {expected}",
                            hint="check the pixel sizes of the source and the up and down of the model")
