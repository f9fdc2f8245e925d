"""The built-ins keep the contracts that third parties inherit, and `superres.api` is all that a third party needs."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import superres
import superres.api
import superres.testing
from superres.api import Case
from superres.builtin.evaluators.consistency import ConsistencyEvaluator
from superres.builtin.evaluators.difference_map import DifferenceMapEvaluator
from superres.builtin.evaluators.fine_optics import forward_model
from superres.builtin.evaluators.frc import FrcEvaluator
from superres.builtin.evaluators.mtf import MtfEvaluator
from superres.builtin.evaluators.psnr import PsnrEvaluator
from superres.builtin.evaluators.spectrum import SpectrumEvaluator
from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.builtin.losses.l1 import L1Loss
from superres.builtin.losses.mse import MseLoss
from superres.builtin.losses.mse_gradient import MseGradientLoss
from superres.builtin.models.bicubic import BicubicModel
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.builtin.registrars.identity import IdentityRegistrar
from superres.builtin.registrars.paper import PaperRegistrar
from superres.builtin.registrars.phase import PhaseRegistrar
from superres.builtin.sources.acquisition import AcquisitionSource
from superres.builtin.sources.pairs import PairsSource
from superres.builtin.sources.simulate import SimulateSource
from superres.catalog import Catalog
from superres.image import Image
from superres.optics.usaf.target import TargetSpec, draw_target
from superres.scan_folder import write_scan_folder
from superres.testing import (
    EvaluatorContract,
    LossContract,
    ModelContract,
    RegistrarContract,
    SourceContract,
)


class TestRivenson2017(ModelContract):
    plugin = Rivenson2017Model


class TestRivenson2017OfAnotherGeometry(ModelContract):
    plugin = Rivenson2017Model
    options = {"base_channels": 8, "blocks": 2, "alpha": 4, "up": 4, "down": 3, "grow": "first"}


class TestBicubic(ModelContract):
    plugin = BicubicModel


class TestMseGradient(LossContract):
    plugin = MseGradientLoss


class TestMse(LossContract):
    plugin = MseLoss


class TestL1(LossContract):
    plugin = L1Loss


class TestSsim(EvaluatorContract):
    plugin = SsimEvaluator


class TestPsnr(EvaluatorContract):
    plugin = PsnrEvaluator


class TestDifferenceMap(EvaluatorContract):
    plugin = DifferenceMapEvaluator


class TestConsistency(EvaluatorContract):
    plugin = ConsistencyEvaluator

    def case(self, seed, **options):
        """With an input that really is the truth seen through the coarse objective: the suite's own is any texture."""
        case = super().case(seed, **options)
        truth = super().case(seed).truth
        coarse = forward_model(case, ConsistencyEvaluator.Options()).coarsen(truth, (24, 20))
        return replace(case, input=Image(coarse, 0.185, name=case.name))


class TestSpectrum(EvaluatorContract):
    plugin = SpectrumEvaluator

    def case(self, seed, **options):
        """Large enough for a spectrum."""
        return tiled(super().case(seed, **options), 2)


class TestMtf(EvaluatorContract):
    plugin = MtfEvaluator

    def case(self, seed, *, error=0.02, with_truth=True):
        """A resolution target in place of a texture: one nest, 7 px a period at its first element."""
        rng = np.random.default_rng(seed)
        drawn = draw_target(TargetSpec(first_group=6, nests=1, numerals=False, margin_um=3.0), 15.625 / 7)
        grey = cv2.GaussianBlur(drawn.transmittance, (0, 0), 0.6)[:64, 66:]  # group 7 alone: many cases are read
        truth = np.repeat(grey[:, :, None], 3, axis=2)
        off = [np.clip(truth + rng.normal(0, sd, truth.shape), 0, 1).astype(np.float32) for sd in (error, 0.08)]
        coarse = Image(np.ascontiguousarray(truth[::2, ::2]), 2 * 15.625 / 7, name=f"field-{seed}")
        return Case(f"field-{seed}", f"specimen-{seed % 2}", coarse, *off, truth if with_truth else None, 15.625 / 7)


class TestFrc(EvaluatorContract):
    plugin = FrcEvaluator

    def case(self, seed, **options):
        """With a camera frame as input: structure up to 0.15 cycles/px, and noise of its own."""
        frame = np.random.default_rng(seed).normal(0, 0.01, (160, 160, 3))
        radius = np.hypot(np.fft.fftfreq(160)[:, None], np.fft.fftfreq(160)[None])
        grain = np.fft.fft2(np.random.default_rng(seed).normal(0, 1, (160, 160))) * (radius < 0.15)
        frame += 0.5 + 0.1 * np.fft.ifft2(grain).real[:, :, None]
        return replace(super().case(seed, **options), input=Image(frame.astype(np.float32), 0.185))


def tiled(case, times):
    """The same periodic texture, several times as wide and high."""
    wide = {name: None if image is None else np.tile(image, (times, times, 1)) for name, image in
            (("prediction", case.prediction), ("bicubic", case.bicubic), ("truth", case.truth))}
    return replace(case, input=case.input.with_pixels(np.tile(case.input.pixels, (4, 4, 1))), **wide)


class TestPaper(RegistrarContract):
    plugin = PaperRegistrar


class TestPaperWithSurf(RegistrarContract):
    plugin = PaperRegistrar
    options = {"refine": "surf"}
    # SURF lies within 0.17 px in 95 % of clean fields (benchmarks/registration/surf.json, and its gate in tests/docs).
    tolerance_px = 0.2


class TestPhase(RegistrarContract):
    plugin = PhaseRegistrar
    shifts_px = ((0, 0),)


class TestIdentity(RegistrarContract):
    plugin = IdentityRegistrar
    shifts_px = ((0, 0),)
    refuses_blank = False


SMALL_SCAN = {"scenes": ["builtin:tissue"], "tissue_px": 300, "tile_px": 64, "field_px": 100, "fields_per_specimen": 2}


class TestSimulate(SourceContract):
    plugin = SimulateSource
    options = SMALL_SCAN


class TestAcquisition(SourceContract):
    plugin = AcquisitionSource

    @pytest.fixture(autouse=True)
    def scan_on_disk(self, tmp_path):
        write_scan_folder(SimulateSource(**SMALL_SCAN).acquire(), tmp_path / "scan")
        self.options = {"folder": tmp_path / "scan"}


class TestPairs(SourceContract):
    plugin = PairsSource

    @pytest.fixture(autouse=True)
    def pairs_on_disk(self, tmp_path, rng):
        from superres.io.images import write_image

        for name in ("a", "b"):
            for kind, side, pitch in (("coarse", 20, 0.185), ("fine", 50, 0.074)):
                pixels = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
                write_image(tmp_path / kind / name / f"{name}.tif", Image(pixels, pitch))
        self.options = {"folder": tmp_path}


def test_every_builtin_has_its_contract_tested_here():
    tested = {value.plugin for value in globals().values() if isinstance(value, type) and hasattr(value, "plugin")}
    assert tested == {entry.plugin for entry in Catalog.builtin().entries()}


TEMPLATE = Path(__file__).parents[2] / "plugins" / "superres-template"
PUBLIC = {module.__name__: set(module.__all__) for module in (superres, superres.api, superres.testing)}


@pytest.mark.parametrize("path", sorted(TEMPLATE.glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_template_needs_nothing_deeper_than_the_public_modules(path):
    """Anywhere in the file, imports inside functions included."""
    private = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            private += [each.name for each in node.names if each.name.split(".")[0] == "superres"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "superres":
            public = PUBLIC.get(node.module, set())
            private += [f"{node.module}.{each.name}" for each in node.names if each.name not in public]
    assert private == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_every_public_name_is_there():
    for module in (superres, superres.api, superres.testing):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_contracts_load_without_scipy_or_torch():
    """Whoever lists plug-ins imports them; SciPy alone takes as long as all the rest."""
    code = (
        "import sys, superres.api as api; "
        "heavy = {'torch', 'scipy', 'cv2', 'skimage', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy; "
        "assert api.bicubic.__module__ == 'superres.resample' and not hasattr(api, 'surely_unknown')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
