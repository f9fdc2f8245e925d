"""Stitching against exact truth, beside its rivals: `python -m benchmarks.registration.stitching --data DIR`.

6 × 6 tiles of 256 px of six slides under the microscope's optics: `easy` (15 % overlap, stage jitter ±8 px, noise
3/255, 10 % vignette), `vignette` (10 %, ±12 px, 5/255, 35 %) and `blank` (easy, with 15 % of the tiles empty, which
take no part in the error); then overlaps of 5, 10 and 20 % and more noise.  superres and ashlar 1.20 (filter sigma 1)
place the same tiles in one process, where it is installed.  Also the two real data sets: tiles_sem (published places)
and tiles_tma.  Writes benchmarks/registration/stitching.json.  With --multiview, multiview-stitcher too, on the first
slide alone because it takes minutes a grid; that goes to benchmarks/registration/multiview.json.

Prediction written before the first run: position RMSE 0.02 / 0.03 / 0.02 px, at least three times better than the
better rival, in about the time of ashlar.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.registration.records import write_record
from superres.image import Image
from superres.registration.layout import stitch
from superres.transform import Transform
from tests.registration.virtual import COARSE_UM, Condition, View, tissue

GRID, TILE_PX = 6, 256
SCENE_PX = 3500
WINDOWS = {"he_liver_2.jpg": (600, 200, 1400), "he_liver_3.jpg": (400, 300, 1400), "psr_liver.jpg": (0, 600, 1400),
           "he_liver_gtex.jpg": (0, 0, 1000), "he_tupac_a.png": (0, 0, 590), "he_tupac_b.png": (0, 0, 590)}
"""Six slides, and where (top, left, side) they are tissue throughout: places of empty tiles are no measure of
stitching, and `blank` has its own."""
Places = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    overlap: float
    jitter_px: float
    noise: float
    vignetting: float
    blank: float = 0.0


KINDS = {"easy": Kind(0.15, 8, 3 / 255, 0.10), "vignette": Kind(0.10, 12, 5 / 255, 0.35),
         "blank": Kind(0.15, 8, 3 / 255, 0.10, 0.15)}
SWEEP = {"overlap 5 %": Kind(0.05, 2, 3 / 255, 0.10), "overlap 10 %": Kind(0.10, 6, 3 / 255, 0.10),
         "overlap 20 %": Kind(0.20, 8, 3 / 255, 0.10), "noise 8/255": Kind(0.15, 8, 8 / 255, 0.10)}


@dataclass(frozen=True, eq=False)
class Scan:
    images: list[Image]
    nominal_um: list[tuple[float, float]]
    true_px: Places
    shows: npt.NDArray[np.bool_]


def scene(data: Path, name: str) -> View:
    """A large slide: the tissue continued by mirroring.  It repeats itself after two tiles or more, far beyond where a
    tile is looked for."""
    top, left, side = WINDOWS[name]
    whole = tissue(data, name, Condition("stitching"), 2300).transmittance
    part = whole[top:top + side, left:left + side]
    return View(np.pad(part, (0, SCENE_PX - side), mode="reflect"), Condition("stitching"))


def scan(view: View, kind: Kind, seed: int) -> Scan:
    rng = np.random.default_rng(seed)
    noisy = View(view.transmittance, Condition("stitching", noise_coarse=kind.noise))
    noisy.__dict__["_coarse"] = view._coarse  # the light is the same; only the camera's noise differs
    step = TILE_PX * (1 - kind.overlap)
    cells = [(row, column) for row in range(GRID) for column in range(GRID)]
    nominal = np.array(cells) * step
    true = nominal + 14 + rng.uniform(-kind.jitter_px, kind.jitter_px, nominal.shape)
    empty = set(rng.permutation(len(cells))[:round(kind.blank * len(cells))].tolist())
    images = []
    for index, (y, x) in enumerate(true):
        place = Transform.shift(y * COARSE_UM, x * COARSE_UM)
        image = noisy.coarse(place, (TILE_PX, TILE_PX), rng, f"t{index:02d}", kind.vignetting)
        if index in empty:
            light = 0.93 * 255 + 255 * kind.noise * rng.standard_normal(image.shape_px)
            image = image.with_pixels(np.clip(np.rint(light), 0, 255).astype(np.uint8))
        images.append(image)
    shows = np.array([index not in empty for index in range(len(cells))])
    return Scan(images, [(float(y), float(x)) for y, x in nominal * COARSE_UM], true, shows)


def own(scanned: Scan) -> Places:
    return np.array(stitch(scanned.images, scanned.nominal_um, [None] * len(scanned.images)).origins_px)


def ashlar(scanned: Scan) -> Places:
    from superres_ashlar.stitching import place_tiles

    return place_tiles([image.grey() for image in scanned.images], scanned.nominal_um, COARSE_UM, 1.0, 15.0)


def multiview(scanned: Scan) -> Places:
    from multiview_stitcher import msi_utils, registration, spatial_image_utils

    parts = []
    for image, (y, x) in zip(scanned.images, scanned.nominal_um, strict=True):
        part = spatial_image_utils.get_sim_from_array(
            image.grey(), dims=["y", "x"], scale={"y": COARSE_UM, "x": COARSE_UM}, translation={"y": y, "x": x},
            transform_key="stage")
        parts.append(msi_utils.get_msim_from_sim(part, scale_factors=[]))
    registration.register(parts, transform_key="stage", reg_channel_index=0, new_transform_key="found",
                          pre_registration_pruning_method="keep_axis_aligned")
    places = []
    for part, (y, x) in zip(parts, scanned.nominal_um, strict=True):
        matrix = np.asarray(msi_utils.get_transform_from_msim(part, transform_key="found")).squeeze()
        places.append((matrix @ (y, x, 1.0))[:2] / COARSE_UM)
    return np.array(places)


def rivals(with_multiview: bool) -> dict[str, Callable[[Scan], Places]]:
    found: dict[str, Callable[[Scan], Places]] = {"superres": own}
    if importlib.util.find_spec("ashlar") and importlib.util.find_spec("superres_ashlar"):
        found["ashlar"] = ashlar
    if with_multiview and importlib.util.find_spec("multiview_stitcher"):
        found["multiview-stitcher"] = multiview
    return found


def rmse_px(found: Places, scanned: Scan) -> float:
    off = (found - scanned.true_px)[scanned.shows]
    return float(np.sqrt(((off - off.mean(axis=0)) ** 2).sum(axis=1).mean()))


def judged(scans: Sequence[Scan], methods: dict[str, Callable[[Scan], Places]]) -> dict[str, Any]:
    """RMSE of every scan and processor seconds by method, turn by turn; a method that fails is named with its error."""
    table: dict[str, Any] = {}
    for scanned in scans:
        for name, place in methods.items():
            row = table.setdefault(name, {"rmse_px": [], "cpu_s": [], "wall_s": [], "failed": []})
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    error = rmse_px(place(scanned), scanned)
            except Exception as failure:
                row["failed"].append(f"{type(failure).__name__}: {failure}"[:200])
                continue
            row["rmse_px"].append(round(error, 4))
            row["cpu_s"].append(round(time.process_time() - cpu, 2))
            row["wall_s"].append(round(time.perf_counter() - wall, 2))
    for row in table.values():
        if row["rmse_px"]:
            row["median_rmse_px"], row["median_cpu_s"] = (
                round(float(np.median(row[key])), 4) for key in ("rmse_px", "cpu_s"))
    return table


def real(data: Path) -> dict[str, Any]:
    """Largest difference of tiles_sem from the published places, and the place of tiles_tma's second tile."""
    truth = json.loads((data / "tiles_sem/truth.json").read_text(encoding="utf-8"))["coords"]
    images = [Image(cv2.imread(str(data / "tiles_sem" / name), cv2.IMREAD_GRAYSCALE), 1.0, name=name) for name in truth]
    cells = [(int(name[8]), int(name[3])) for name in truth]
    found = np.array(stitch(images, [None] * len(images), cells).origins_px)
    published = np.array(list(truth.values()))
    pair = [Image(cv2.imread(str(data / f"tiles_tma/pair_{i}.png"), cv2.IMREAD_GRAYSCALE), 1.0, name=f"{i}")
            for i in range(2)]
    two = np.array(stitch(pair, [None] * 2, [None] * 2).origins_px)
    return {"tiles_sem_largest_difference_px":
                round(float(np.abs((found - found[0]) - (published - published[0])).max()), 2),
            "tiles_tma_yx_px": [round(float(v), 2) for v in two[1] - two[0]]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real micrographs")
    parser.add_argument("--tissues", type=int, default=len(WINDOWS))
    parser.add_argument("--multiview", action="store_true", help="multiview-stitcher too, on one slide: minutes a grid")
    options = parser.parse_args()
    data, methods = options.data.resolve(), rivals(options.multiview)
    scans: dict[str, list[Scan]] = {}
    for number, name in enumerate(list(WINDOWS)[:1 if options.multiview else options.tissues]):
        view = scene(data, name)
        for kind, settings in KINDS.items():
            scans.setdefault(kind, []).append(scan(view, settings, number))
        if number == 0 and not options.multiview:
            for kind, settings in SWEEP.items():
                scans[kind] = [scan(view, settings, 9)]
    if "ashlar" in methods:
        ashlar(scans["easy"][0])  # the first call starts Java
    record = {kind: judged(each, methods if kind in KINDS else {"superres": own}) for kind, each in scans.items()}
    if options.multiview:
        write_record("multiview", {"grids": record})
    else:
        write_record("stitching", {"grids": record, "real": real(data)})


if __name__ == "__main__":
    main()
