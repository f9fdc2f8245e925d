"""Weak-object contrast of both objectives, against numbers on which three independent computations agree."""

from __future__ import annotations

import numpy as np
import pytest

from superres.optics import Optics
from superres.optics.abbe import condenser_source, image_bright_field, resample_periodic
from superres.optics.modes import coherent_modes, image_with_modes
from superres.optics.transfer import pixel_transfer, weak_object_transfer

COARSE = Optics(0.95, magnification=40)
FINE = Optics(1.4, refractive_index=1.515, magnification=100)
MODULATION = 0.02

# Closed form, 1001-point source sum and FFT Abbe agree on these to the third decimal.
TABLE = {
    COARSE: {.75: .997, .80: .983, .90: .940, 1.00: .888, 1.10: .831, 1.25: .738, 1.40: .643, 1.55: .548, 1.70: .455,
             1.85: .365, 2.00: .279, 2.15: .200, 2.30: .129, 2.45: .068, 2.60: .021, 2.70: .002, 2.73: 0.0},
    FINE: {1.60: .990, 1.70: .956, 1.80: .910, 1.90: .857, 2.00: .800, 2.15: .708, 2.30: .614, 2.45: .518, 2.60: .424,
           2.75: .334, 2.90: .248, 3.05: .170, 3.20: .100, 3.35: .043, 3.45: .015, 3.50: .005, 3.55: 0.0},
}
CASES = [pytest.param(optics, frequency, contrast, id=f"{optics.label} {frequency:.2f}")
         for optics, row in TABLE.items() for frequency, contrast in row.items()]


def grating(frequency: float, samples_per_period: int = 32, periods: int = 4) -> tuple[np.ndarray, float]:
    """(1, N) transmittance of a weak absorbing cosine with whole periods, and its pitch in µm."""
    phase = 2 * np.pi * np.arange(samples_per_period * periods) / samples_per_period
    return ((1 + MODULATION * np.cos(phase)) / (1 + MODULATION))[None], 1 / (frequency * samples_per_period)


def contrast_of(image: np.ndarray) -> float:
    return float((image.max() - image.min()) / (image.max() + image.min()) / MODULATION)


@pytest.mark.parametrize(("optics", "frequency", "expected"), CASES)
def test_contrast_of_a_weak_grating_meets_the_table(optics: Optics, frequency: float, expected: float) -> None:
    transmittance, pitch_um = grating(frequency)
    image = image_bright_field(transmittance, pitch_um, optics, border="periodic")
    assert contrast_of(image) == pytest.approx(expected, abs=1e-6 if frequency > optics.cutoff_cycles_per_um else 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("optics", "frequency", "expected"), CASES)
def test_contrast_with_a_finely_sampled_condenser(optics: Optics, frequency: float, expected: float) -> None:
    transmittance, pitch_um = grating(frequency)
    image = image_bright_field(transmittance, pitch_um, optics, source_across=101, border="periodic")
    assert contrast_of(image) == pytest.approx(expected, abs=1e-6 if frequency > optics.cutoff_cycles_per_um else 0.003)


@pytest.mark.parametrize(("optics", "frequency", "expected"), CASES)
def test_fast_imaging_meets_the_same_table(optics: Optics, frequency: float, expected: float) -> None:
    transmittance, pitch_um = grating(frequency)
    image = image_with_modes(transmittance, pitch_um, coherent_modes(optics), border="periodic")
    # float32 arithmetic leaves 1e-7 of intensity, 1e-5 of this contrast.
    assert contrast_of(image) == pytest.approx(expected, abs=2e-5 if frequency > optics.cutoff_cycles_per_um else 0.003)


@pytest.mark.parametrize("optics", TABLE, ids=lambda optics: optics.label)
def test_closed_form_meets_the_table(optics: Optics) -> None:
    row = TABLE[optics]
    assert weak_object_transfer(list(row), optics) == pytest.approx(list(row.values()), abs=0.0006)  # three decimals
    plateau = (optics.objective_na - optics.condenser_na) / optics.wavelength_um
    assert weak_object_transfer([0.0, plateau * 0.999, -plateau * 0.5], optics) == pytest.approx([1, 1, 1], abs=1e-12)


def test_closed_form_of_equal_apertures_is_the_incoherent_transfer() -> None:
    # Goodman, Introduction to Fourier Optics, eq. 6-31: 2/π (arccos ν − ν √(1 − ν²)) at ν = f / cut-off.
    nu = np.linspace(0, 1, 11)
    incoherent = 2 / np.pi * (np.arccos(nu) - nu * np.sqrt(1 - nu * nu))
    optics = Optics(0.6, condenser_na=0.6)
    assert weak_object_transfer(nu * optics.cutoff_cycles_per_um, optics) == pytest.approx(incoherent, abs=1e-9)
    wider = Optics(0.6, condenser_na=0.9)
    assert weak_object_transfer(nu * optics.cutoff_cycles_per_um, wider) == pytest.approx(incoherent, abs=1e-9)


def test_pixel_transfer_is_the_mean_over_the_pixel() -> None:
    across = (np.arange(1000) + 0.5) / 1000 - 0.5
    assert pixel_transfer(2.1, 0.185) == pytest.approx(np.mean(np.cos(2 * np.pi * 2.1 * 0.185 * across)), abs=1e-6)


def test_default_condenser_has_at_least_300_points_in_pairs() -> None:
    source = condenser_source(COARSE)
    assert len(source) >= 300
    assert {tuple(point) for point in np.round(source, 9)} == {tuple(point) for point in np.round(-source, 9)}
    assert np.hypot(*source.T).max() <= COARSE.condenser_na / COARSE.wavelength_um


def test_defocus_lowers_contrast_in_both_methods() -> None:
    transmittance, pitch_um = grating(1.5)
    contrasts = []
    for defocus_um in (0.0, 0.3, 0.6):
        optics = Optics(0.95, defocus_um=defocus_um)
        exact = contrast_of(image_bright_field(transmittance, pitch_um, optics, border="periodic"))
        contrasts.append(exact)
    fast = contrast_of(image_with_modes(transmittance, pitch_um, coherent_modes(optics), border="periodic"))
    assert fast == pytest.approx(exact, abs=0.005)  # 31 points across against 75
    assert contrasts[0] > 1.2 * contrasts[1] > 1.2 * 1.2 * contrasts[2]


def test_sign_of_defocus_does_not_matter_for_an_absorbing_object(rng: np.random.Generator) -> None:
    scene = rng.uniform(0.2, 1.0, size=(24, 24))
    near, far = (image_bright_field(scene, 0.1, Optics(0.95, defocus_um=z), source_across=9) for z in (0.8, -0.8))
    assert near == pytest.approx(far, abs=1e-12)


@pytest.mark.parametrize("shape", [(40, 40), (33, 57), (9, 120), (24, 31, 3)])
def test_clear_and_evenly_grey_objects_stay_even(shape: tuple[int, ...]) -> None:
    for level in (1.0, 0.25):
        scene = np.full(shape, level)
        assert image_bright_field(scene, 0.074, COARSE, source_across=7) == pytest.approx(scene, abs=1e-12)
        assert image_with_modes(scene, 0.074, coherent_modes(COARSE)) == pytest.approx(scene, abs=3e-6)  # float32


def test_fast_imaging_of_a_strongly_stained_scene(rng: np.random.Generator) -> None:
    """Not only weak objects: edges of optical density 1 under fine texture."""
    blocks = np.kron(rng.uniform(0.1, 1.0, size=(12, 12)), np.ones((12, 12)))
    scene = np.clip(blocks + 0.05 * rng.standard_normal(blocks.shape), 0, 1)
    for optics in (COARSE, FINE):
        exact = image_bright_field(scene, 0.074, optics, source_across=41)
        fast = image_with_modes(scene, 0.074, coherent_modes(optics))
        # The finest camera noise of condition `standard` is 0.004; the method must stay far below.
        assert np.sqrt(np.mean((fast - exact) ** 2)) < 0.0008
        assert np.abs(fast - exact).max() < 0.008


def test_energy_that_passes_the_pupil_is_that_of_the_spectrum(rng: np.random.Generator) -> None:
    """Parseval: under axial light alone, mean intensity = power of the amplitude spectrum inside the pupil."""
    scene = rng.uniform(0, 1, size=(32, 48))
    optics = Optics(0.95, condenser_na=1e-6)
    image = image_bright_field(scene, 0.15, optics, source_across=1, border="periodic")
    power = np.abs(np.fft.fft2(np.sqrt(scene)) / scene.size) ** 2
    frequency = np.hypot(np.fft.fftfreq(32, 0.15)[:, None], np.fft.fftfreq(48, 0.15)[None])
    assert image.mean() == pytest.approx(power[frequency <= 0.95 / 0.55].sum(), abs=1e-12)


def test_coarse_object_grids_give_the_same_point_samples(rng: np.random.Generator) -> None:
    """On a grid too coarse for the intensity's band the values are still those of the continuous image."""
    smooth = resample_periodic(rng.uniform(0.4, 0.6, size=(11, 11)), (48, 48), 1)  # an amplitude within the coarse band
    exact = image_bright_field(smooth ** 2, 0.075, FINE, source_across=9, border="periodic")
    coarse = image_bright_field(smooth[::4, ::4] ** 2, 0.3, FINE, source_across=9, border="periodic")
    assert coarse == pytest.approx(exact[::4, ::4], abs=1e-9)


def test_border_is_a_mirror_not_the_opposite_side() -> None:
    scene = np.ones((60, 60))
    scene[-20:] = 0.05
    image = image_bright_field(scene, 0.074, COARSE, source_across=15)
    assert image[:25] == pytest.approx(np.ones((25, 60)), abs=0.02)  # fringes of the edge 15 px away stay below 2 %
    assert image_bright_field(scene, 0.074, COARSE, source_across=15, border="periodic")[0, 0] < 0.9


def test_transmittance_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"spans 0\.5 … 1\.5; expected values in \[0, 1\]"):
        image_bright_field(np.array([[0.5, 1.5]]), 0.1, COARSE)
    with pytest.raises(ValueError, match="expected \\(H, W\\)"):
        image_with_modes(np.ones((4, 4, 2)), 0.1, coherent_modes(COARSE))


def test_light_that_misses_the_objective_shows_as_dark_field_in_the_direct_sum_only(rng: np.random.Generator) -> None:
    scene = rng.uniform(0.2, 1.0, size=(32, 32))
    narrow, wide = Optics(0.6, condenser_na=0.6), Optics(0.6, condenser_na=0.9)
    bright, with_dark_field = (image_bright_field(scene, 0.15, optics, source_across=15) for optics in (narrow, wide))
    assert with_dark_field.mean() > bright.mean() + 0.002
    assert image_bright_field(np.ones((32, 32)), 0.15, wide, source_across=15) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match=r"condenser \(0\.9NA\) is wider than the objective"):
        coherent_modes(wide)
