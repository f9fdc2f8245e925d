"""What can be watched while a training runs: TensorBoard's curves, and pictures of one field as it gets sharper."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from superres.api.model import Geometry
from superres.api.source import Pair
from superres.errors import TrainingError
from superres.image import FloatArray, Image, from_unit
from superres.io.atomic import storage_error
from superres.io.images import write_image
from superres.resample import bicubic
from superres.training.history import HistoryRow
from superres.training.learner import Learner

PICTURES, TENSORBOARD = "pictures", "tensorboard"
PICTURE_PX = 64
"""Side of the field in coarse pixels: a picture costs less than a step of 16 patches of 40²."""
GAP_PX = 4


class Curves:
    """TensorBoard's event files in folder/tensorboard; does nothing where they were not asked for.

    Raises TrainingError where TensorBoard is not installed, and StorageError where its files cannot be written: its
    writer has a thread of its own, whose errors come with any later call.
    """

    def __init__(self, track: str, folder: Path, step: int) -> None:
        self._writer: Any = None
        self._folder = folder / TENSORBOARD
        if track == "tensorboard":
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise TrainingError(f"train.track is tensorboard, which cannot be loaded: {error}",
                                    hint="pip install 'superres[track]'") from error
            # What a killed session wrote after its last checkpoint would otherwise stand beside the same steps.
            with self._storing():
                self._writer = SummaryWriter(str(self._folder), purge_step=step)

    def row(self, row: HistoryRow) -> None:
        if self._writer is None:
            return
        with self._storing():
            for name in ("learning_rate", "training_loss", "validation_loss"):
                value = getattr(row, name)
                if math.isfinite(value):
                    self._writer.add_scalar(name, value, row.step)
            self._writer.flush()

    def picture(self, step: int, picture: FloatArray) -> None:
        """picture: (H, W, 3) float32 in [0, 1]."""
        if self._writer is not None:
            with self._storing():
                self._writer.add_image("validation field", picture, step, dataformats="HWC")
                self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            with self._storing():
                self._writer.close()

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(self._folder, error) from error


class Pictures:
    """One field of the validation specimens after each validation, as folder/pictures/step-0000200.png: bicubic
    up-sampling, the network and the truth side by side."""

    def __init__(self, pair: Pair, geometry: Geometry, folder: Path) -> None:
        multiple = geometry.patch_multiple_px
        height, width = (min(PICTURE_PX, side) // multiple * multiple for side in pair.coarse.shape_px)
        top, left = ((side - size) // 2 // multiple * multiple
                     for side, size in zip(pair.coarse.shape_px, (height, width), strict=True))
        scale = geometry.scale
        self._coarse = pair.coarse.crop(top, left, height, width).rgb()
        self._truth = pair.fine.crop(int(scale * top), int(scale * left), int(scale * height), int(scale * width)).rgb()
        self._scale, self._folder, self._pitch = scale, folder / PICTURES, pair.fine.pixel_size_um

    def draw(self, learner: Learner, step: int) -> FloatArray:
        """Write the picture of a step; returns it, (H, W, 3) float32 in [0, 1]."""
        coarse = torch.from_numpy(np.ascontiguousarray(self._coarse))[None].permute(0, 3, 1, 2).to(learner.device)
        network = learner.picture(coarse)[0].permute(1, 2, 0).cpu().numpy()
        gap = np.ones((network.shape[0], GAP_PX, 3), dtype=np.float32)
        panels = [bicubic(self._coarse, self._scale), gap, network, gap, self._truth]
        picture: FloatArray = np.clip(np.concatenate(panels, axis=1), 0, 1).astype(np.float32)
        stored = from_unit(picture, np.dtype(np.uint8), 255.0)
        write_image(self._folder / f"step-{step:07d}.png", Image(stored, self._pitch, name="validation field"))
        return picture
