"""A resolution target is read without hints: drawn ones at any orientation, a real scan, a foreign drawing."""

import cv2
import numpy as np
import pytest
from skimage.measure import label, regionprops

from superres.errors import ImageError
from superres.optics.usaf.measure import measure_target
from superres.optics.usaf.reading import read_target
from superres.optics.usaf.target import Element, TargetSpec, bar_rectangles, draw_target
from superres.optics.usaf.triplets import LEVELS, _bars

SPEC = TargetSpec(first_group=4, nests=2, dust=60, margin_um=40.0)
PIXEL_UM = 2.0


@pytest.fixture(scope="module")
def drawn():
    return draw_target(SPEC, PIXEL_UM, np.random.default_rng(4))


@pytest.fixture(scope="module")
def seen(drawn):
    """A camera's view of it: a pixel of blur, 1 % of noise, dust."""
    blurred = cv2.GaussianBlur(drawn.transmittance, (0, 0), 0.8)
    return (blurred + np.random.default_rng(5).normal(0, 0.01, blurred.shape)).astype(np.float32)


def test_bars_are_measured_like_scikit_image_measures_regions(seen):
    """Whole frames of noise too, in seconds: all patches are measured at once, by the moments of their pixels."""
    noise = np.random.default_rng(1).random((400, 400)).astype(np.float32)
    for mask in (seen < 0.5, noise > 0.5):
        regions = {tuple(np.round(each.centroid, 6)): each for each in regionprops(label(mask, connectivity=1))}
        found = _bars(mask)
        assert len(found) > 20
        for bar in found:
            region = regions[tuple(np.round(bar.centre, 6))]
            values = np.sort(np.linalg.eigvalsh(np.cov(region.coords.T)))
            assert bar.length == pytest.approx(np.sqrt(12 * values[1] + 1))
            apart = (bar.angle - region.orientation + np.pi / 2) % np.pi - np.pi / 2
            assert abs(apart) < 1e-6


def test_the_search_tells_how_far_it_is_and_can_be_stopped(seen):
    told = []
    read_target(seen, step=lambda done, total: told.append((done, total)))
    assert told == [(number, LEVELS) for number in range(LEVELS)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_target(seen, step=stop)


def turned(image, angle_deg, scale=1.0):
    """(image, 2 × 3 matrix of (x, y)) turned about its middle on a canvas that holds it."""
    height, width = image.shape
    side = int(np.hypot(height, width) * scale) + 4
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), angle_deg, scale)
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_AREA, borderValue=1.0), matrix


def assert_truth(reading, drawn, matrix=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), tolerance=0.12):
    """Every pattern has the right name and lies within `tolerance` periods of its true place."""
    matrix = np.array(matrix)
    truth = {(each.element, each.bars): np.array(each.centre) / PIXEL_UM - 0.5 for each in drawn.patterns}
    assert reading.absolute and reading.patterns
    for found in reading.patterns:
        y, x = truth[found.element, found.bars]
        expected = matrix @ (x, y, 1.0)
        error = np.hypot(found.place.centre_px[0] - expected[1], found.place.centre_px[1] - expected[0])
        # what is too fine to be seen apart has the place that the fit gives it
        allowed = tolerance if found.detected else 2 * tolerance
        assert error <= allowed * found.place.period_length_px, (found.element.label, found.bars, error)


@pytest.mark.parametrize("angle_deg", [33, *(pytest.param(angle, marks=pytest.mark.slow)
                                             for angle in (0, 3, 45, 90, 180, -118))])
def test_any_orientation(drawn, seen, angle_deg):
    image, matrix = turned(seen, angle_deg)
    reading = read_target(image)
    assert_truth(reading, drawn, matrix)
    assert sum(each.detected for each in reading.patterns) >= 36
    assert reading.dark and not reading.mirrored
    assert abs((reading.rotation_deg - angle_deg + 180) % 360 - 180) < 0.5
    assert reading.pixel_size_um == pytest.approx(PIXEL_UM, rel=0.005)


def test_seen_from_behind_and_in_chrome(drawn, seen):
    mirrored = read_target(1 - seen[:, ::-1])
    assert mirrored.mirrored and not mirrored.dark
    width = seen.shape[1]
    assert_truth(mirrored, drawn, ((-1.0, 0.0, width - 1), (0.0, 1.0, 0.0)))


@pytest.mark.parametrize("part", [
    pytest.param(np.s_[260:, :], id="lower half"),
    pytest.param(np.s_[:, 270:], id="right half", marks=pytest.mark.slow),
    pytest.param(np.s_[:220, :], id="upper rows", marks=pytest.mark.slow),
    pytest.param(np.s_[170:420, 180:430], id="inner nest", marks=pytest.mark.slow),
])
def test_part_of_it(drawn, seen, part):
    top, left = part[0].start or 0, part[1].start or 0
    assert_truth(read_target(np.ascontiguousarray(seen[part])), drawn, ((1.0, 0.0, -left), (0.0, 1.0, -top)))


@pytest.mark.slow
def test_lens_distortion(drawn, seen):
    """3 % of barrel distortion at the edge: bars are found where they are, not where a flat target would have them."""
    height, width = seen.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    square = ((y - height / 2) ** 2 + (x - width / 2) ** 2) / (height * height / 4)
    bent = cv2.remap(seen, (x - width / 2) * (1 + 0.03 * square) + width / 2,
                     (y - height / 2) * (1 + 0.03 * square) + height / 2, cv2.INTER_CUBIC, borderValue=1.0)
    reading = read_target(bent)
    assert {each.element for each in reading.patterns if each.detected} >= {Element(4, 2), Element(5, 6), Element(6, 4)}
    truth = {(each.element, each.bars): np.array(each.centre) / PIXEL_UM - 0.5 for each in drawn.patterns}
    middle = np.array([height / 2, width / 2])
    for found in reading.patterns:
        if found.detected:
            # the true place, sought by fixed-point iteration of the distortion
            bent_place = truth[found.element, found.bars]
            for _ in range(20):
                offset = bent_place - middle
                bent_place = middle + (truth[found.element, found.bars] - middle) / (
                    1 + 0.03 * (offset @ offset) / (height * height / 4))
            error = np.linalg.norm(bent_place - found.place.centre_px)
            assert error < 0.15 * found.place.period_length_px


@pytest.mark.slow
def test_a_wrong_scale_in_the_file_does_not_make_another_group(seen):
    reading = read_target(seen[260:], pixel_size_um=1.5 * PIXEL_UM)
    assert reading.patterns[0].element.group == 4
    assert reading.pixel_size_um == pytest.approx(PIXEL_UM, rel=0.005)


def test_numerals_that_contradict_the_pixel_size_are_pointed_out(seen):
    assert "numerals" not in read_target(seen[:, 270:], pixel_size_um=PIXEL_UM).how
    assert "numerals read as +2 groups from that: check the pixel size" in read_target(
        seen[:, 270:], pixel_size_um=4 * PIXEL_UM).how


def test_without_numerals_and_pixel_size_groups_are_counted_and_said_to_be(drawn):
    plain = draw_target(TargetSpec(first_group=4, nests=1, numerals=False, margin_um=40.0), PIXEL_UM)
    reading = read_target(plain.transmittance)
    assert not reading.absolute and reading.pixel_size_um is None and "unknown" in reading.how
    assert {each.element.group for each in reading.patterns} == {0, 1}
    assert reading.label(reading.patterns[0].element) == "+0/1"
    assert read_target(plain.transmittance, first_group=4).patterns[0].element == Element(4, 1)


def test_too_little_to_tell_is_refused_with_what_to_do(seen):
    with pytest.raises(ImageError, match="too few to tell which elements") as refused:
        read_target(seen[:220, :250])
    assert "--pixel-size-um" in refused.value.hint
    assert read_target(seen[:220, :250], pixel_size_um=PIXEL_UM).patterns[0].element == Element(4, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(pytest.param(name)
                                             for name in ("page", "immunohistochemistry", "camera", "brick"))])
def test_other_pictures_are_no_target(name):
    from skimage import data

    image = getattr(data, name)()
    with pytest.raises(ImageError, match="no USAF-1951 target"):
        read_target(image if image.ndim == 2 else image[:, :, 1])


def test_the_real_scan(shared_data):
    """A scanning microscope's picture of a real target, groups 2–7: shaded, dusty, with a saturated square, cut off."""
    scan = np.load(shared_data / "usaf" / "usaf_real_scan_319x312.npy")
    reading = read_target(scan)
    assert reading.absolute and "read off the numerals" in reading.how
    assert not reading.dark and not reading.mirrored and abs(reading.rotation_deg) < 2
    detected = {(each.element.label, each.bars) for each in reading.patterns if each.detected}
    whole = {"2/1", "2/3", "2/4", "2/5", "2/6", "3/2", "3/3", "3/4", "3/5"}
    assert {(label, bars) for label in whole for bars in ("lying", "standing")} <= detected
    assert len(detected) >= 20 and {label for label, _ in detected} <= whole | {"3/6", "4/1", "4/2"}
    places = {(each.element.label, each.bars): each.place.centre_px for each in reading.patterns}
    # read off the picture by eye, to a pixel
    assert places["2/4", "lying"] == pytest.approx((120.5, 82.3), abs=1.5)
    assert places["3/4", "standing"] == pytest.approx((88.8, 277.8), abs=1.5)
    assert places["4/1", "lying"] == pytest.approx((128.9, 236.3), abs=1.5)


@pytest.mark.slow
def test_the_vector_drawing(shared_data):
    """Somebody else's drawing, with other row gaps; its colours say which element a bar belongs to."""
    picture = cv2.imread(str(shared_data / "usaf" / "usaf_geometry_template.png"), cv2.IMREAD_COLOR)
    reading = read_target(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    assert not reading.absolute  # it has no group numerals
    assert len(reading.patterns) == 48 and all(each.detected for each in reading.patterns)
    for found in reading.patterns:
        y, x = found.place.centre_px
        half = np.array(found.place.period_px)
        for step in (-1, 0, 1):  # the colour in the middle of each bar: orientation, group, element
            blue, green, red = picture[round(y + step * half[0]), round(x + step * half[1])]
            assert (red, green, blue) == (200 if found.bars == "lying" else 100, 10 * found.element.group,
                                          10 * found.element.number)


def test_a_drawing_has_bars_five_times_as_long_as_wide_at_its_frequency(drawn):
    for pattern in drawn.patterns:
        bars = bar_rectangles(pattern)
        thin, long = sorted(bars[0][2:])
        assert long == pytest.approx(5 * thin)
        assert 2 * thin == pytest.approx(1000 / 2 ** (pattern.element.group + (pattern.element.number - 1) / 6))
    area = sum(height * width for pattern in drawn.patterns for _, _, height, width in bar_rectangles(pattern))
    plain = draw_target(TargetSpec(first_group=4, nests=2, numerals=False, margin_um=40.0), PIXEL_UM)
    squares = sum((2.27 * Element(group, 1).period_um) ** 2 for group in (4, 6))
    dark = float((1 - plain.transmittance).sum(dtype=np.float64)) * PIXEL_UM ** 2 / (1 - 0.001)
    assert dark == pytest.approx(area + squares, rel=1e-4)


def test_the_same_seed_draws_the_same_dust():
    first, second, other = (draw_target(SPEC, 8.0, np.random.default_rng(seed)).transmittance for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    with pytest.raises(ValueError, match="generator"):
        draw_target(SPEC, 8.0)


def test_elements_that_the_target_lacks_are_not_called_lost():
    """A target that shows only its finer elements: nothing is said of the coarse ones."""
    drawn = draw_target(TargetSpec(first_group=4, nests=1, only_from=Element(4, 3), margin_um=40.0), PIXEL_UM)
    reading = read_target(drawn.transmittance, pixel_size_um=PIXEL_UM)
    rows = measure_target(drawn.transmittance, reading.patterns)
    assert {row.pattern.element for row in rows} == {each.element for each in drawn.patterns}
    assert all(row.measured.contrast > 0.9 for row in rows)
    blurred = cv2.GaussianBlur(drawn.transmittance, (0, 0), 6.0)
    lost = [row for row in measure_target(blurred, reading.patterns) if row.measured.contrast == 0]
    assert {row.pattern.element for row in lost} >= {Element(5, 5), Element(5, 6)}
