"""Make the pictures of docs/measuring.md: a scan with what was read, curves, an invented spot, three passes.

    python docs/measuring_pictures.py WEIGHTS SCAN.npy docs
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from superres.api import Case
from superres.builtin.evaluators.mtf import MtfEvaluator
from superres.builtin.evaluators.pictures import LabelledMap, draw_maps
from superres.builtin.sources.simulate import SimulateSource
from superres.engine import Engine
from superres.events import Events
from superres.image import Image
from superres.io.atomic import write_bytes
from superres.measuring import virtual_target
from superres.measuring.drift import measure_passes
from superres.measuring.mtf import measure_target_image
from superres.measuring.mtf_pages import marked_picture
from superres.optics.consistency import ForwardModel, consistency_map
from superres.report.data import Layer
from superres.report.encoding import png_bytes
from superres.report.fields import to_uint8
from superres.report.figures import comparison_strip


def main(weights: Path, scan: Path, folder: Path) -> None:
    engine = Engine.load(weights, device="cpu")
    coarse, fine = engine.weights.coarse, engine.weights.fine

    read = measure_target_image("scan", np.load(scan), None)
    save(folder / "measuring-scan.png", cv2.resize(marked_picture(read), None, fx=0.7, fy=0.7,
                                                   interpolation=cv2.INTER_AREA))

    seen = virtual_target.images(engine, coarse, fine, Events())
    colour = [np.repeat(grey[:, :, None], 3, axis=2) for grey, _ in seen.values()]
    given, bicubic, output, truth = colour
    height, width = (min(side) for side in zip(*(each.shape[:2] for each in (bicubic, output, truth)), strict=True))
    fine_images = (each[:height, :width] for each in (output, bicubic, truth))
    target = Case("target", "target", Image(given, 0.185), *fine_images, 0.074, coarse)
    save(folder / "measuring-curves.png", MtfEvaluator().illustrate(target)[0].pixels)

    pair = SimulateSource(scenes=["builtin:ihc"], give="pairs", max_scene_px=320).acquire().pairs[0]
    invented = pair.fine.rgb()
    y, x = 120, 210
    invented[y:y + 7, x:x + 7] *= np.float32(0.8)
    model = ForwardModel(coarse, fine, 0.185, 0.074)
    maps = [LabelledMap(label, 100 * consistency_map(model, image, pair.coarse.rgb()))
            for label, image in (("truth", pair.fine.rgb()), ("truth with an invented spot, 0.5 µm, 20 %", invented))]
    save(folder / "measuring-consistency.png", draw_maps(maps, 5.0, "%")[0])

    images = [pair.coarse.with_pixels(pair.coarse.unit(), white_level=1.0)]
    for _ in range(3):
        images.append(engine(images[-1]))
    passes = measure_passes(images, engine.geometry.scale, coarse)
    layers = [Layer("output", to_uint8(np.clip(each.image.rgb(), 0, 1)), each.number == 0) for each in passes]
    labels = ("input", "once (2.5×)", "twice (6.25×)", "three times (15.6×)")
    width_um = pair.coarse.size_um[1]
    save(folder / "measuring-passes.png", comparison_strip(layers, labels, width_um, shown_um=9.0, panel_px=220))


def save(path: Path, pixels: np.ndarray) -> None:
    write_bytes(path, png_bytes(pixels))


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:4]))
