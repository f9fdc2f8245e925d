"""One scan folder in the states that laboratories keep theirs in: without tables, renamed, in 12 bits, with a table of
one's own.  Each function makes a new folder from the images of `scan` and returns it."""

import random
import shutil
from pathlib import Path

import numpy as np

from superres.image import Image
from superres.io.images import read_image, write_image

OWN_TABLE = "stage.csv"


def without_tables(scan, target, rename=lambda path: path.name):
    """Only the images, under names that `rename` gives them; nothing says where a tile or a field lies."""
    for path in sorted(Path(scan).glob("*/*/*.tif")):
        place = target / path.parent.relative_to(scan)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / rename(path))
    return target


def shuffled(scan, target, seed=5):
    """Without tables, and names in another order than the images were taken in."""
    count = len(list(Path(scan).glob("*/*/*.tif")))
    names = random.Random(seed).sample(range(10**6), count)
    return without_tables(scan, target, lambda path: f"{names.pop():06d}.tif")


def twelve_bits(scan, target):
    """With its tables; the same grey levels as 12 bits in 16: 255 becomes 4080, which is then what means white."""
    shutil.copytree(scan, target)
    for path in target.glob("*/*/*.tif"):
        image = read_image(path)
        write_image(path, Image(image.pixels.astype(np.uint16) * 16, image.pixel_size_um, 4080.0))
    return target


def own_table(scan, target):
    """Coarse tiles under names of one's own, and OWN_TABLE with other columns, as another program would write it."""
    rows = (Path(scan) / "positions.csv").read_text().splitlines()
    header = rows[0].split(",")
    table = [dict(zip(header, row.split(","), strict=True)) for row in rows[1:]]
    without_tables(scan, target, lambda path: f"img-{path.name}" if "coarse" in path.parts else path.name)
    lines = ["file;x_um;y_um"]
    lines += [
        f"{Path(row['file']).parent.as_posix()}/img-{Path(row['file']).name};{row['x_um']};{row['y_um']}"
        for row in table
    ]
    (target / OWN_TABLE).write_text("\n".join(lines) + "\n")
    return target
