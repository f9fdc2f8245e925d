"""Real stained tissue under the virtual microscope, for studies of training: pairs to learn from, and a test that no
training sees.  SUPERRES_DATA (or ../shared/data) names the micrographs."""

from __future__ import annotations

import os
import pickle
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import superres
from superres.api.source import Pair
from superres.builtin.sources.simulate import SimulateSource
from superres.image import FloatArray, from_unit
from superres.io.atomic import replacing
from superres.resample import bicubic
from superres.stages.store import key_of

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "studies"
VALIDATION = ("histolab-medium", "liverquant-3")


def data_folder() -> Path:
    folder = Path(os.environ.get("SUPERRES_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.csv").is_file():
        raise SystemExit(f"error: no micrographs at '{folder}'\nhint: set SUPERRES_DATA to their folder")
    return folder.resolve()


def pairs(part: str, **options: Any) -> list[Pair]:
    """Exact pairs of the slides in train/ or test/, in condition `standard` unless options say otherwise.

    Kept under build/studies for the same slides, options and version of superres, since imaging takes longer than a
    short training.  Who changes the virtual microscope itself removes that folder, as `make clean` does.
    """
    folder = data_folder()
    source = SimulateSource(scenes=[f"{folder}/{part}/*"], specimen_csv=folder / "MANIFEST.csv",
                            **{"bin2": "from-csv", "give": "pairs", "seed": 7, **options})
    key = key_of(superres.__version__, source.options.model_dump(mode="json"), source.fingerprint())
    path = KEPT / f"{key}.pickle"
    if path.exists():
        return cast("list[Pair]", pickle.loads(path.read_bytes()))
    imaged = list(source.acquire().pairs)
    with replacing(path) as unfinished:
        unfinished.write_bytes(pickle.dumps(imaged))
    return imaged


def as_8_bits(unit: FloatArray) -> FloatArray:
    return from_unit(unit, np.dtype(np.uint8), 255.0).astype(np.float32) / np.float32(255)


def score(prediction: FloatArray, truth: FloatArray) -> dict[str, float]:
    """SSIM with Wang's settings, mean over the colours, and PSNR in dB; both of 8 bits."""
    ssim = structural_similarity(prediction, truth, channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5,
                                 use_sample_covariance=False)
    return {"ssim": float(ssim), "psnr": float(peak_signal_noise_ratio(truth, prediction, data_range=1))}


def by_specimen(scored: Sequence[tuple[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over the images of each specimen."""
    found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for specimen, scores in scored:
        found[specimen].append(scores)
    return {specimen: {key: float(np.mean([each[key] for each in many])) for key in many[0]}
            for specimen, many in found.items()}


def scores_of(engine: superres.Engine | None, test: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Scores of an engine, or of bicubic up-sampling, on every test specimen."""
    from fractions import Fraction

    scored = []
    for pair in test:
        coarse = pair.coarse.rgb()
        raised = bicubic(coarse, Fraction(5, 2)) if engine is None else np.asarray(engine(coarse))
        scored.append((pair.specimen, score(as_8_bits(raised), as_8_bits(pair.fine.rgb()))))
    return by_specimen(scored)


def mean(scores: Mapping[str, Mapping[str, float]], key: str) -> float:
    """Over specimens."""
    return float(np.mean([each[key] for each in scores.values()]))
