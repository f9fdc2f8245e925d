"""The arithmetic of tiles, without a network."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.api.model import Geometry
from superres.inference.tiles import core_ranges, plan_axis, plan_span

GEOMETRIES = st.builds(
    lambda up, down, halo: Geometry(max(up, down), down, halo_px=halo,
                                    origin_multiple=down // math.gcd(max(up, down), down)),
    st.integers(1, 8), st.integers(1, 4), st.integers(0, 20))


@given(GEOMETRIES, st.integers(1, 300), st.integers(1, 120))
def test_tiles_cover_the_output_once_and_read_what_they_need(geometry, length, core):
    spans = plan_axis(length, core, geometry)
    expected_top = 0
    for span, (start, stop) in zip(spans, core_ranges(length, core, geometry), strict=True):
        assert span.place[0] == expected_top, "no gap and no overlap"
        expected_top = span.place[1]
        assert span.keep[1] - span.keep[0] == span.place[1] - span.place[0] > 0
        assert 0 <= span.read[0] <= max(0, start - geometry.halo_px) and span.read[0] % geometry.origin_multiple == 0
        assert span.read[1] == min(length, stop + geometry.halo_px)
        tile_output = geometry.output_shape(span.read[1] - span.read[0], 1)[0]
        assert span.keep[0] >= 0 and span.keep[1] <= tile_output
        assert span.read[0] * geometry.scale + span.keep[0] == span.place[0], "the tile keeps the phase of the whole"
    assert expected_top == geometry.output_shape(length, 1)[0]


@given(GEOMETRIES, st.integers(1, 300), st.integers(1, 120))
def test_cores_are_nearly_equal_and_not_larger_than_asked(geometry, length, core):
    ranges = core_ranges(length, core, geometry)
    sides = [stop - start for start, stop in ranges]
    assert max(sides) <= max(core, geometry.origin_multiple)
    assert len({*sides[:-1]}) <= 1


def test_the_papers_network_on_a_line_of_100():
    """By hand: cores of 34, 34, 32; halo 13 rounded out to even origins; ×2.5."""
    spans = plan_axis(100, 40, Geometry(5, 2, halo_px=13, origin_multiple=2))
    assert [span.read for span in spans] == [(0, 47), (20, 81), (54, 100)]
    assert [span.place for span in spans] == [(0, 85), (85, 170), (170, 250)]
    assert [span.keep for span in spans] == [(0, 85), (35, 120), (35, 115)]


def test_global_context_is_never_tiled():
    geometry = Geometry(2, 1, halo_px=None)
    assert core_ranges(5000, 64, geometry) == ((0, 5000),)
    with pytest.raises(ValueError, match="whole image"):
        plan_span(100, (0, 50), geometry)


def test_an_odd_origin_is_refused():
    with pytest.raises(ValueError, match="multiples of 2"):
        plan_span(100, (33, 66), Geometry(5, 2, halo_px=13, origin_multiple=2))
