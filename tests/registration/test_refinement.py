"""Refinement: accuracy under the microscope's own optics, its estimate of itself, and what must not change it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from superres.api import Mosaic
from superres.builtin.registrars import paper
from superres.builtin.registrars.fields import Field, prepare
from superres.builtin.registrars.paper import PaperRegistrar
from superres.builtin.registrars.refinement import Sharpened, sharpen
from superres.errors import RegistrationError
from superres.image import FloatArray, Image
from superres.registration.icgn import Refined, refine
from superres.resample import bicubic
from superres.transform import Transform, rms_distance_um
from tests.registration.virtual import CLEAN, COARSE_UM, HARD, Condition, random_place, stained_section

SIDE_PX = 400


@dataclass(frozen=True, eq=False)
class Placement:
    """A field at the coarse pitch, the scene that holds it, and the true map between them."""

    template: FloatArray
    scene: FloatArray
    truth: Transform

    @property
    def size_um(self) -> tuple[float, float]:
        return self.template.shape[0] * COARSE_UM, self.template.shape[1] * COARSE_UM

    def refined(self, off_px: tuple[float, float] = (0.3, -0.2)) -> Refined:
        start = self.truth.then(Transform.shift(off_px[0] * COARSE_UM, off_px[1] * COARSE_UM))
        found = refine(self.template, COARSE_UM, self.scene, COARSE_UM, start)
        assert found is not None and found.converged
        return found

    def error_px(self, found: Refined) -> float:
        return rms_distance_um(found.transform, self.truth, *self.size_um) / COARSE_UM

    def centre_px(self, found: Refined) -> np.ndarray:
        middle = np.array(self.size_um) / 2
        return (found.transform.apply(middle) - self.truth.apply(middle)) / COARSE_UM


def placements(condition: Condition, count: int) -> list[Placement]:
    view, rng = stained_section(condition), np.random.default_rng(5)
    scene = view.whole(rng).grey()
    places = [random_place(view, SIDE_PX, rng) for _ in range(count)]
    return [Placement(bicubic(view.fine(place, (SIDE_PX, SIDE_PX), rng).grey(), Fraction(2, 5)), scene, place)
            for place in places]


@pytest.fixture(scope="module")
def clean() -> list[Placement]:
    return placements(CLEAN, 25)


@pytest.mark.parametrize(("condition", "median", "p95", "bias"),
                         [(CLEAN, 0.01, 0.02, 0.005), (HARD, 0.05, 0.09, 0.015)], ids=["clean", "hard"])
def test_under_the_microscopes_own_optics(condition: Condition, median: float, p95: float, bias: float) -> None:
    """The project's gates, in coarse px, on 25 fields of 160 coarse px.  The length of the mean error vector is what a
    wrong pixel convention would show in."""
    cases = placements(condition, 25)
    found = [case.refined() for case in cases]
    errors = np.array([case.error_px(each) for case, each in zip(cases, found, strict=True)])
    assert np.median(errors) <= median and np.percentile(errors, 95) <= p95
    assert np.hypot(*np.mean([case.centre_px(each) for case, each in zip(cases, found, strict=True)], axis=0)) <= bias
    estimates = np.array([each.error_px for each in found])
    assert 0.6 <= np.sqrt((estimates ** 2).mean() / (errors ** 2).mean()) <= 1.6


def test_the_start_leaves_no_trace(clean: list[Placement]) -> None:
    """From two starts 1.4 px apart to the same place, within 1e-5 px."""
    case = clean[0]
    one, other = case.refined((0.7, -0.6)), case.refined((-0.3, 0.4))
    assert rms_distance_um(one.transform, other.transform, *case.size_um) / COARSE_UM < 1e-5


def test_cropping_the_scene_adds_an_offset(clean: list[Placement]) -> None:
    case = clean[1]
    top, left = (int(place // COARSE_UM) - 30 for place in case.truth.apply(np.zeros(2)))
    top, left = max(top, 0), max(left, 0)
    cut = Placement(case.template, case.scene[top:, left:],
                    case.truth.then(Transform.shift(-top * COARSE_UM, -left * COARSE_UM)))
    back = cut.refined().transform.then(Transform.shift(top * COARSE_UM, left * COARSE_UM))
    assert rms_distance_um(back, case.refined().transform, *case.size_um) / COARSE_UM < 1e-3


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: np.rot90(a)],
                         ids=["upside down", "mirrored", "quarter turn"])
def test_turning_both_turns_the_answer(clean: list[Placement], turn: object) -> None:
    """Flips and quarter turns of field and scene together commute with refinement."""
    case = clean[2]
    maps = [_turned(shape, turn) for shape in (case.template.shape, case.scene.shape)]
    assert callable(turn)
    turned = Placement(np.ascontiguousarray(turn(case.template)), np.ascontiguousarray(turn(case.scene)),
                       maps[0].inverse().then(case.truth).then(maps[1]))
    back = maps[0].then(turned.refined().transform).then(maps[1].inverse())
    assert rms_distance_um(back, case.refined().transform, *case.size_um) / COARSE_UM < 1e-4


def _turned(shape: tuple[int, ...], turn: object) -> Transform:
    """The map of places of an image to places of the turned image, both in µm, read off two index planes."""
    assert callable(turn)
    y, x = np.indices(shape)
    y, x = turn(y), turn(x)
    corners = [(0, 0), (0, y.shape[1] - 1), (y.shape[0] - 1, 0)]
    old = np.array([(y[at] + 0.5, x[at] + 0.5, 1.0) for at in corners]) * (COARSE_UM, COARSE_UM, 1)
    new = np.array([(at[0] + 0.5, at[1] + 0.5, 1.0) for at in corners]) * (COARSE_UM, COARSE_UM, 1)
    matrix = np.linalg.solve(old, new).T
    return Transform(np.vstack([matrix[:2], (0, 0, 1)]))


def test_swapped_roles_invert_the_answer(clean: list[Placement]) -> None:
    """The middle of the scene as the field, the field as the scene: the two weigh pixels differently, so they agree to
    their own accuracy only."""
    case = clean[3]
    forward = case.refined().transform
    shape = np.array(case.template.shape)
    corner = np.rint(forward.apply(shape * COARSE_UM / 2) / COARSE_UM - shape / 2).astype(int) + 20
    size = shape - 40
    part = case.scene[corner[0]:corner[0] + size[0], corner[1]:corner[1] + size[1]]
    into = Transform.shift(*(corner * COARSE_UM))
    found = refine(part, COARSE_UM, case.template, COARSE_UM, into.then(forward.inverse()))
    assert found is not None
    there_and_back = found.transform.then(forward)
    assert rms_distance_um(there_and_back, into, *(size * COARSE_UM)) / COARSE_UM < 0.02


def test_what_was_never_taken_does_not_pull(clean: list[Placement]) -> None:
    """A third of the scene is missing, with the median in its place."""
    case = clean[4]
    known = np.ones(case.scene.shape, dtype=bool)
    middle = case.truth.apply(np.array(case.size_um) * 0.6)[0] / COARSE_UM
    known[int(middle):] = False
    holed = np.where(known, case.scene, np.float32(np.median(case.scene)))
    start = case.truth.then(Transform.shift(0.1, 0.1))
    found = refine(case.template, COARSE_UM, holed, COARSE_UM, start, known)
    assert found is not None and found.converged
    assert case.error_px(found) <= 0.03


def test_nothing_in_common_is_said(clean: list[Placement]) -> None:
    case = clean[0]
    outside = case.truth.then(Transform.shift(1000.0, 0.0))
    assert refine(case.template, COARSE_UM, case.scene, COARSE_UM, outside) is None
    assert refine(case.template[:12, :12], COARSE_UM, case.scene, COARSE_UM, case.truth) is None


@pytest.fixture(scope="module")
def field_and_mosaic(clean: list[Placement]) -> tuple[Field, Mosaic, Transform]:
    case = clean[5]
    mosaic = Mosaic.of(Image(case.scene, COARSE_UM, white_level=1.0))
    fine = Image(case.template, COARSE_UM, white_level=1.0, name="field")
    return prepare(fine, COARSE_UM, "none", "icgn", True), mosaic, case.truth


def test_a_refinement_that_runs_away_is_not_believed(field_and_mosaic: tuple[Field, Mosaic, Transform]) -> None:
    """From a start that is 3 px off it arrives, but features are never that wrong: something else is."""
    field, mosaic, truth = field_and_mosaic
    said = sharpen(field, mosaic, truth.then(Transform.shift(3 * COARSE_UM, 0.0)))
    assert isinstance(said, str) and "moved the place by 3.0 px; expected at most 2" in said
    assert isinstance(sharpen(field, mosaic, truth), Sharpened)
    outside = sharpen(field, mosaic, truth.then(Transform.shift(900.0, 0.0)))
    assert outside == "the field lies outside the scan"


def test_a_diverged_refinement_leaves_the_features_place_flagged(
        field_and_mosaic: tuple[Field, Mosaic, Transform], monkeypatch: pytest.MonkeyPatch) -> None:
    field, mosaic, _ = field_and_mosaic
    plain = PaperRegistrar().register(field.image, mosaic)
    monkeypatch.setattr(paper, "sharpen", lambda *_, **__: "the iteration did not come to rest")
    flagged = PaperRegistrar().register(field.image, mosaic)
    assert flagged.details["refinement refused"] == "the iteration did not come to rest"
    assert "refinement was refused: the iteration did not come to rest" in str(flagged.details["warning"])
    assert flagged.confidence == pytest.approx(0.7 * plain.confidence)
    assert flagged.residual_um > plain.residual_um
    assert rms_distance_um(flagged.transform, plain.transform, *field.image.size_um) / COARSE_UM < 0.2


def test_halves_that_disagree_are_flagged() -> None:
    """A small field in heavy noise: placed, with what is wrong in words and an estimate that admits it."""
    noisy = Condition("noisy", coarse_defocus_um=1.5, noise_coarse=0.05, noise_fine=0.05)
    view, rng = stained_section(noisy), np.random.default_rng(3)
    coarse = view.whole(rng)
    flagged = []
    for _ in range(6):
        fine = view.fine(random_place(view, 180, rng), (180, 180), rng)
        try:
            flagged.append(PaperRegistrar().register(fine, coarse))
        except RegistrationError:
            continue
    told = [found for found in flagged if "halves of the field disagree" in str(found.details.get(
        "refinement flagged", found.details.get("refinement refused", "")))]
    assert told and all(found.residual_um / COARSE_UM > 0.1 for found in told)
