"""The adapter keeps superres's contract, and starts no Java before tiles are stitched."""

import importlib.util
import shutil
import subprocess
import sys

import numpy as np
import pytest
from superres_ashlar.registrar import AshlarRegistrar

from superres.api import Tile
from superres.errors import RegistrationError
from superres.image import Image
from superres.testing import RegistrarContract

needs_ashlar = pytest.mark.skipif(importlib.util.find_spec("ashlar") is None or shutil.which("java") is None,
                                  reason="ashlar or a Java runtime is not installed")


@needs_ashlar
class TestAshlar(RegistrarContract):
    plugin = AshlarRegistrar
    tolerance_px = 0.8                      # tiles lie at whole pixels, and pairs across seams show it


def test_no_java_before_it_is_needed():
    code = ("import sys, superres_ashlar.hooks as h; from superres_ashlar.registrar import AshlarRegistrar as R; R(); "
            "sys.exit('jnius' in sys.modules or 'ashlar' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tiles_without_places_are_refused():
    tiles = [Tile(Image(np.zeros((40, 40), np.uint8), 0.2, name=name)) for name in "ab"]
    with pytest.raises(RegistrationError, match="needs stage positions") as caught:
        AshlarRegistrar().assemble(tiles)
    assert caught.value.reason == "no-positions"
