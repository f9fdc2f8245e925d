"""What plug-ins hand over is checked where it enters: names that become files, pixel sizes, places, geometries that
cannot be tiled."""

import json
from pathlib import Path

import numpy as np
import pytest

from superres.api import Acquisition, Events, FineField, Pair, Registration, Scan, Source, Tile, Transform
from superres.api.model import Geometry
from superres.errors import SourceError
from superres.image import Image
from superres.stages.acquire import acquired


def image(name="image", pixel_size_um=0.185):
    return Image(np.zeros((4, 4, 3), np.uint8), pixel_size_um, name=name)


def pair(name, specimen="mouse"):
    return Pair(name, specimen, image(), image(pixel_size_um=0.074))


def scan(tile="tile", field="field", slide="slide", specimen="mouse"):
    return Scan(slide, (Tile(image(tile)),), (FineField(image(field, 0.074), specimen),))


@pytest.mark.parametrize("name", ["", ".", "..", "../../away", "a/b", "a\\b", "a\0b", ".hidden", "/etc/passwd"])
@pytest.mark.parametrize(("what", "made"), [
    ("coarse tile", lambda name: Acquisition((scan(tile=name),))),
    ("fine field", lambda name: Acquisition((scan(field=name),))),
    ("slide", lambda name: Acquisition((scan(slide=name),))),
    ("specimen", lambda name: Acquisition((scan(specimen=name),))),
    ("pair", lambda name: Acquisition(pairs=(pair(name),))),
    ("specimen", lambda name: Acquisition(pairs=(pair("a", name),))),
])
def test_names_that_are_no_file_names_are_refused(what, made, name):
    with pytest.raises(SourceError, match=f"^{what}.* name .*; expected") as caught:
        made(name)
    assert repr(name) in caught.value.message and caught.value.hint


@pytest.mark.parametrize("name", ["s 10", "Maus Ä-3", "tile 1.5", "a..b", "field_pass", "x_pass2"])
def test_usual_names_are_taken(name):
    assert Acquisition((scan(name, name, name, name),)).specimens == (name,)


@pytest.mark.parametrize("made", [
    lambda: Acquisition((scan(), scan(slide="other"))),
    lambda: Acquisition(pairs=(pair("a"), pair("a"))),
    lambda: Acquisition((scan(),), (pair("field"),)),
    lambda: Acquisition((scan(), scan(field="other"))),
])
def test_a_name_stands_once(made):
    with pytest.raises(SourceError, match="are both named"):
        made()


def test_a_name_that_is_another_ones_second_pass_is_refused():
    with pytest.raises(SourceError, match="'a_pass2' would have the same output file as a further pass of 'a'"):
        Acquisition(pairs=(pair("a"), pair("a_pass2")))
    with pytest.raises(SourceError, match="'field_pass3'"):
        Acquisition((scan(),), (pair("field_pass3"),))
    assert Acquisition(pairs=(pair("b"), pair("a_pass2"))).pairs


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "a", None])
@pytest.mark.parametrize("name", ["coarse_pixel_size_um", "fine_pixel_size_um"])
def test_a_pixel_size_is_a_positive_number(name, value):
    with pytest.raises(SourceError, match=f"{name} of the acquisition is {value!r}; expected a positive number"):
        Acquisition((scan(),), **{name: value})


def test_pixel_sizes_of_numpy_become_numbers_that_json_takes():
    made = Acquisition((scan(),), coarse_pixel_size_um=np.float32(0.185), fine_pixel_size_um=np.float64(0.074))
    assert type(made.coarse_pixel_size_um) is type(made.fine_pixel_size_um) is float


@pytest.mark.parametrize(("stated", "words"), [
    ({"coarse_pixel_size_um": 0.37, "fine_pixel_size_um": 0.148}, "coarse image 't' has pixels of 0.185 µm; .* 0.37"),
    ({"fine_pixel_size_um": 0.148}, "fine image 'f' has pixels of 0.074 µm; the acquisition states 0.148 µm"),
])
@pytest.mark.parametrize("made", [
    lambda **stated: Acquisition((scan("t", "f"),), **stated),
    lambda **stated: Acquisition(pairs=(Pair("p", "s", image("t"), image("f", 0.074)),), **stated),
])
def test_images_of_another_pixel_size_than_the_stated_one_are_refused(made, stated, words):
    """L is the same, and nothing else would tell: every length in the run would be wrong."""
    with pytest.raises(SourceError, match=words):
        made(**stated)


class Stack:
    """A frame of a plug-in's own kind, such as a plane of one large file, which is read when asked for."""

    def __init__(self, name, pixel_size_um):
        self.name, self.pixel_size_um = name, pixel_size_um

    def read(self):
        return image(self.name, self.pixel_size_um)


@pytest.mark.parametrize(("coarse_um", "fine_um", "kind"), [(0.2, 0.074, "coarse"), (0.185, 0.1, "fine")])
def test_frames_that_are_read_later_are_asked_when_they_are(coarse_um, fine_um, kind):
    class Lazy(Source):
        name = "lazy"

        def acquire(self):
            return Acquisition((Scan("s", (Tile(Stack("t", coarse_um)),), (FineField(Stack("f", fine_um), "s"),)),))

    with pytest.raises(SourceError, match=f"^{kind} image "):
        acquired(Lazy(), Events())


def test_provenance_becomes_text_that_json_takes():
    made = Acquisition((scan(),), provenance={"folder": Path("/slides"), "seed": np.int64(7), 3: None}, simulated=None)
    assert (made.provenance, made.simulated) == ({"folder": "/slides", "seed": "7", "3": "None"}, "")


def test_a_registration_holds_what_json_takes():
    details = {"peak": np.float32(0.5), "inliers": np.int64(12), "found by": "features", "count": 3}
    made = Registration(Transform.identity(), np.float32(0.25), np.float64(1.0), details)
    assert json.loads(json.dumps([made.residual_um, made.confidence, dict(made.details)], allow_nan=False)) == [
        0.25, 1.0, {"peak": 0.5, "inliers": 12, "found by": "features", "count": 3}]


@pytest.mark.parametrize(("given", "error", "words"), [
    ((np.eye(3), 0.1, 1.0), TypeError, "transform is a ndarray; expected a Transform or a Warp"),
    ((Transform.identity(), np.inf, 1.0), ValueError, "residual_um is inf; expected a finite number >= 0"),
    ((Transform.identity(), np.nan, 1.0), ValueError, "residual_um is nan"),
    ((Transform.identity(), 0.1, 1.5), ValueError, "confidence is 1.5"),
    ((Transform.identity(), 0.1, np.nan), ValueError, "confidence is nan"),
    ((Transform.identity(), 0.1, 1.0, {"peaks": [1, 2]}), TypeError, "detail 'peaks' is a list; expected a number or"),
    ((Transform.identity(), 0.1, 1.0, {"peak": np.float32("nan")}), ValueError, "detail 'peak' is nan"),
])
def test_a_registration_that_could_not_be_stored_is_refused_where_it_is_made(given, error, words):
    with pytest.raises(error, match=words):
        Registration(*given)


@pytest.mark.parametrize(("numbers", "words"), [
    ({"up": 5, "down": 2}, "origin_multiple is 1, .* at L = 5/2; expected a multiple of 2"),
    ({"up": 8, "down": 3, "origin_multiple": 4}, "expected a multiple of 3"),
    ({"up": 2, "down": 1, "channels": 1}, "channels is 1; expected 3"),
    ({"up": 2, "down": 1, "halo_px": -1}, "halo_px is -1"),
    ({"up": 1, "down": 2}, "scale 1/2"),
    ({"up": 2, "down": 1, "origin_multiple": 0}, "origin_multiple is 0"),
])
def test_a_geometry_that_cannot_be_tiled_is_refused(numbers, words):
    with pytest.raises(ValueError, match=words):
        Geometry(**numbers)


def test_a_geometry_that_can_be_tiled_is_taken():
    assert Geometry(6, 4, origin_multiple=2).patch_multiple_px == 2
    assert Geometry(4, 4).patch_multiple_px == 1
    assert Geometry(5, 2, origin_multiple=8, halo_px=None).patch_multiple_px == 8
