"""The built-ins keep the contracts that third parties inherit, and `superres.api` is all that a third party needs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import superres
import superres.api
import superres.testing
from superres.builtin.evaluators.difference_map import DifferenceMapEvaluator
from superres.builtin.evaluators.psnr import PsnrEvaluator
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


class TestPaper(RegistrarContract):
    plugin = PaperRegistrar


class TestPaperWithSurf(RegistrarContract):
    plugin = PaperRegistrar
    options = {"refine": "surf"}
    # REGISTRATION.md: own SURF reaches 0.17 px at p95 on clean data.
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
        import numpy as np

        from superres.image import Image
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
