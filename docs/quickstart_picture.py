"""Make docs/quickstart.png from a finished quickstart: input, bicubic, network and truth of its worst field.

    python docs/quickstart_picture.py runs/quickstart docs/quickstart.png
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from superres.api import Case
from superres.io.atomic import write_bytes
from superres.io.images import read_image
from superres.report.encoding import png_bytes
from superres.report.fields import field_view
from superres.report.figures import comparison_strip
from superres.resample import bicubic

SHOWN_UM = 14.0


def main(run: Path, target: Path) -> None:
    images = json.loads((run / "scores.json").read_text(encoding="utf-8"))["images"]
    worst = min(images, key=lambda image: image["scores"]["ssim"]["model"])
    name, specimen = worst["name"], worst["specimen"]
    (pairs,) = run.glob("work/register-*/pairs")
    coarse, truth = (read_image(pairs / kind / specimen / f"{name}.tif") for kind in ("coarse", "fine"))
    output = read_image(run / "outputs" / f"{name}.tif")
    case = Case(name, specimen, coarse, output.rgb(), np.clip(bicubic(coarse.rgb(), Fraction(5, 2)), 0, 1),
                np.clip(truth.rgb(), 0, 1), output.pixel_size_um)
    view = field_view(case, ())
    labels = ("input, 40×/0.95", "bicubic", "network", "truth, 100×/1.4")
    write_bytes(target, png_bytes(comparison_strip(view.layers, labels, view.width_um, SHOWN_UM)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
