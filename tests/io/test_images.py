"""Pixels, sampling and colour profile come through a file unchanged.  Outside tools: tifffile, OpenCV, Pillow."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from superres.errors import ImageError, StorageError
from superres.image import NETWORK, Image
from superres.io.images import ImageFile, read_header, read_image, write_image, write_image_bands

PROFILE = b"\0\0\2\x0cprofile" * 40
TIFF_SUFFIXES = (".tif", ".ome.tif")
SIDES = st.integers(1, 9)


def pixels_of(rng: np.random.Generator, dtype: type, shape: tuple[int, ...] = (23, 37, 3),
              top: float = 255) -> np.ndarray:
    return (rng.random(shape) * (1 if dtype is np.float32 else top)).astype(dtype)


@pytest.mark.parametrize("suffix", [*TIFF_SUFFIXES, ".png"])
@pytest.mark.parametrize(("shape", "made_by"), [((23, 37), ""), ((37, 23, 3), NETWORK), ((1, 1), NETWORK),
                                                ((2, 3), "")])
@pytest.mark.parametrize(("dtype", "white"), [
    (np.uint8, None), (np.uint8, 200.0), (np.uint16, None), (np.uint16, 4095.0), (np.uint16, 4000.0),
    (np.float32, None), (np.float32, 2.5)])
def test_everything_that_an_image_holds_survives_its_file(tmp_path, rng, suffix, shape, made_by, dtype, white):
    if suffix == ".png" and dtype is np.float32:
        with pytest.raises(ImageError, match=r"PNG holds 8 or 16 bits"):
            write_image(tmp_path / "a.png", Image(pixels_of(rng, dtype, shape), 0.185))
        return
    image = Image(pixels_of(rng, dtype, shape), 0.185, white, icc_profile=PROFILE, made_by=made_by)
    path = tmp_path / f"field{suffix}"
    write_image(path, image)
    back = read_image(path)
    np.testing.assert_array_equal(back.pixels, image.pixels)
    assert back.pixels.dtype == dtype
    assert (back.pixel_size_um, back.white, back.name, back.made_by) == (0.185, image.white, path.name, made_by)
    header = read_header(path)
    assert (header.shape, header.dtype) == (shape, np.dtype(dtype))
    if suffix != ".png":
        np.testing.assert_array_equal(tifffile.imread(path), image.pixels)
        assert back.icc_profile == PROFILE
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "a temporary file stayed behind"


@given(pixels=hnp.arrays(st.sampled_from([np.uint8, np.uint16]),
                         st.tuples(SIDES, SIDES) | st.tuples(SIDES, SIDES, st.just(3))),
       pixel_nm=st.integers(1, 20_000), suffix=st.sampled_from([*TIFF_SUFFIXES, ".png"]))
def test_any_pixels_and_any_pixel_size_survive(tmp_path_factory, pixels, pixel_nm, suffix):
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    write_image(path, Image(pixels, pixel_nm / 1000))
    back = read_image(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.pixel_size_um == pytest.approx(pixel_nm / 1000, rel=1e-8)  # a rational of 32 bits, to nine digits


def test_colour_profile_of_png_is_read_and_written(tmp_path, rng, shared_data):
    real = read_header(shared_data / "usaf" / "usaf_geometry_template.png").icc_profile
    assert real is not None and real[36:40] == b"acsp"  # the signature that ICC.1 puts into every profile
    image = Image(pixels_of(rng, np.uint16, top=65535), 0.074, icc_profile=real)
    write_image(tmp_path / "a.png", image)
    assert read_image(tmp_path / "a.png").icc_profile == real


def test_colour_profile_of_a_jpeg_is_joined_from_its_segments(tmp_path, rng):
    cv2.imwrite(str(tmp_path / "a.jpg"), pixels_of(rng, np.uint8))
    content = (tmp_path / "a.jpg").read_bytes()
    parts = [PROFILE[:100], PROFILE[100:]]
    segments = b"".join(b"\xff\xe2" + (16 + len(part)).to_bytes(2, "big") + b"ICC_PROFILE\0" + bytes([number, 2]) + part
                        for number, part in reversed(list(enumerate(parts, 1))))
    (tmp_path / "a.jpg").write_bytes(content[:2] + segments + content[2:])
    assert read_image(tmp_path / "a.jpg", 0.5).icc_profile == PROFILE


def test_imagej_and_ome_readers_find_the_pixel_size(tmp_path, rng):
    image = Image(pixels_of(rng, np.uint16, (30, 20), top=4095), 0.074, 4095)
    write_image(tmp_path / "a.tif", image)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_imagej and tiff.imagej_metadata["unit"] == "um" and tiff.imagej_metadata["max"] == 4095
        numerator, denominator = tiff.pages.first.tags["XResolution"].value
        assert denominator / numerator == pytest.approx(0.074, rel=1e-9)
    write_image(tmp_path / "a.ome.tif", image)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"], pixels["SignificantBits"]) == (0.074, "µm", 12)
    write_image(tmp_path / "b.tif", Image(pixels_of(rng, np.uint16), 0.074))  # ImageJ's format has no 48-bit colour
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        page = tiff.pages.first
        assert page.resolutionunit == 3 and page.resolution[0] == pytest.approx(1e4 / 0.074, rel=1e-9)


# ---- sampling stated by others -------------------------------------------------------------------------------------

def ome(path: Path, pixels: np.ndarray, **metadata: object) -> Path:
    tifffile.imwrite(path, pixels, ome=True, photometric="rgb" if pixels.ndim == 3 else "minisblack",
                     metadata={"axes": "YXS" if pixels.ndim == 3 else "YX", **metadata})
    return path


@pytest.mark.parametrize(("size", "unit", "um"), [(0.185, "µm", 0.185), (185.0, "nm", 0.185), (1.85e-4, "mm", 0.185)])
def test_ome_units(tmp_path, rng, size, unit, um):
    path = ome(tmp_path / "a.ome.tif", pixels_of(rng, np.uint8), PhysicalSizeX=size, PhysicalSizeXUnit=unit,
               PhysicalSizeY=size, PhysicalSizeYUnit=unit)
    assert read_image(path).pixel_size_um == pytest.approx(um, rel=1e-9)


def test_significant_bits_are_the_white_level(tmp_path, rng):
    path = ome(tmp_path / "a.ome.tif", pixels_of(rng, np.uint16, top=4095), PhysicalSizeX=1.0, PhysicalSizeY=1.0,
               SignificantBits=12)
    assert read_image(path).white == 4095
    assert read_image(path, white_level=1000).white == 1000


def test_twelve_bits_packed_by_the_file(tmp_path, rng):
    pixels = pixels_of(rng, np.uint16, (16, 24), top=4096)
    tifffile.imwrite(tmp_path / "a.tif", pixels, bitspersample=12, photometric="minisblack")
    back = read_image(tmp_path / "a.tif", 0.5)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.white == 4095


@pytest.mark.parametrize(("unit", "per_unit"), [("um", 4.0), ("micron", 4.0), ("\\u00B5m", 4.0), ("nm", 0.004),
                                                ("cm", 40_000.0), ("inch", 101_600.0)])
def test_imagej_units(tmp_path, rng, unit, per_unit):
    tifffile.imwrite(tmp_path / "a.tif", pixels_of(rng, np.uint8), imagej=True, resolution=(per_unit, per_unit),
                     metadata={"unit": unit})
    assert read_image(tmp_path / "a.tif").pixel_size_um == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize(("unit", "per_unit"), [("centimeter", 40_000.0), ("inch", 101_600.0)])
def test_resolution_tags(tmp_path, rng, unit, per_unit):
    tifffile.imwrite(tmp_path / "a.tif", pixels_of(rng, np.uint8), photometric="rgb", resolution=(per_unit, per_unit),
                     resolutionunit=unit)
    assert read_image(tmp_path / "a.tif").pixel_size_um == pytest.approx(0.25, rel=1e-9)


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_a_screens_resolution_is_no_pixel_size(tmp_path, rng, dpi):
    tifffile.imwrite(tmp_path / "a.tif", pixels_of(rng, np.uint8), photometric="rgb", resolution=(dpi, dpi),
                     resolutionunit="inch")
    with pytest.raises(ImageError, match=rf"no pixel size is known for 'a\.tif'.*{dpi} dpi") as caught:
        read_image(tmp_path / "a.tif")
    assert "coarse_pixel_size_um" in caught.value.hint
    assert read_image(tmp_path / "a.tif", 0.185).pixel_size_um == 0.185


def test_zero_and_unequal_pixel_sizes_are_named(tmp_path, rng):
    zero = ome(tmp_path / "zero.ome.tif", pixels_of(rng, np.uint8), PhysicalSizeX=0.0, PhysicalSizeY=0.0)
    with pytest.raises(ImageError, match=r"pixel size of 'zero.ome.tif' is \(0, 0\) µm in its OME metadata") as caught:
        read_image(zero)
    assert "set source.options.coarse_pixel_size_um" in caught.value.hint
    assert "fix the OME metadata" in caught.value.hint
    oblong = ome(tmp_path / "oblong.ome.tif", pixels_of(rng, np.uint8), PhysicalSizeX=0.185, PhysicalSizeY=0.37)
    with pytest.raises(ImageError, match=r"not square: \(0.37, 0.185\) µm"):
        read_image(oblong)
    assert read_image(oblong, 0.185).pixel_size_um == 0.185


def test_png_and_jpeg_need_a_pixel_size(tmp_path, rng):
    for suffix in (".png", ".jpg", ".bmp"):
        cv2.imwrite(str(tmp_path / f"a{suffix}"), pixels_of(rng, np.uint8))
        with pytest.raises(ImageError, match=r"no pixel size is known"):
            read_image(tmp_path / f"a{suffix}")


def test_aperio_slides_give_their_mpp(shared_data):
    image = read_image(shared_data / "train" / "he_CMU-1-small.svs")
    assert (image.pixels.shape, image.pixel_size_um) == ((2967, 2220, 3), 0.499)


# ---- layouts -------------------------------------------------------------------------------------------------------

def test_colour_order_bits_and_alpha_of_rasters(tmp_path, rng):
    rgba = pixels_of(rng, np.uint16, (9, 8, 4), top=65535)
    cv2.imwrite(str(tmp_path / "a.png"), rgba[:, :, [2, 1, 0, 3]])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1.0).pixels, rgba[:, :, :3])
    for suffix in (".png", ".bmp"):
        for pixels in (rgba[:, :, :3].astype(np.uint8), rgba[:, :, 0].astype(np.uint8)):
            cv2.imwrite(str(tmp_path / f"b{suffix}"), pixels[:, :, ::-1] if pixels.ndim == 3 else pixels)
            np.testing.assert_array_equal(read_image(tmp_path / f"b{suffix}", 1.0).pixels, pixels)
    grey = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    cv2.imwrite(str(tmp_path / "c.jpg"), grey)
    back = read_image(tmp_path / "c.jpg", 1.0).pixels
    assert back.shape == grey.shape and np.abs(back.astype(int) - grey).max() <= 8  # quality 95 on a ramp


def test_tiff_layouts(tmp_path, rng):
    rgb = pixels_of(rng, np.uint16, (11, 13, 3), top=65535)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(rgb, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(path, 1.0).pixels, rgb)
    tifffile.imwrite(path, np.dstack([rgb, rgb[:, :, 0]]), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(path, 1.0).pixels, rgb)
    tifffile.imwrite(path, np.moveaxis(rgb, 2, 0), imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    np.testing.assert_array_equal(read_image(path, 1.0).pixels, rgb)
    tifffile.imwrite(path, rgb.astype(">u2"), photometric="rgb", byteorder=">", tile=(16, 16), compression="zlib")
    back = read_image(path, 1.0).pixels
    np.testing.assert_array_equal(back, rgb)
    assert back.dtype.isnative
    tifffile.imwrite(path, rgb[:, :, 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path, 1.0).pixels, 65535 - rgb[:, :, 0])
    unit = rgb / 65535.0
    tifffile.imwrite(path, unit, photometric="rgb")
    np.testing.assert_array_equal(read_image(path, 1.0).pixels, unit.astype(np.float32))
    smooth = np.full((32, 32, 3), (180, 120, 160), np.uint8)
    PIL.Image.fromarray(smooth).convert("YCbCr").save(path, compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.photometric == tifffile.PHOTOMETRIC.YCBCR
    assert np.abs(read_image(path, 1.0).pixels.astype(int) - smooth).max() <= 3  # JPEG's rounding, not a colour error


@pytest.mark.parametrize(("pixels", "keywords", "message"), [
    (np.zeros((5, 8, 9), np.uint8), {"photometric": "minisblack"}, r"is a stack of shape \(5, 8, 9\)"),
    (np.zeros((2, 8, 9, 3), np.uint8), {"photometric": "rgb"}, r"is a stack of shape \(2, 8, 9, 3\)"),
    (np.zeros((8, 9, 5), np.uint8), {"photometric": "rgb", "planarconfig": "contig"}, r"has 5 channels"),
    (np.zeros((8, 9, 4), np.uint8), {"photometric": "separated"}, r"as SEPARATED"),
    (np.zeros((8, 9), np.uint8), {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
     r"palette image"),
    (np.zeros((8, 9), np.int32), {}, r"samples of type int32; expected 8- or 16-bit"),
    (np.zeros((8, 9), bool), {}, r"samples of type 1 bit per pixel \(bool\)"),
    (np.full((8, 9), 200.0, np.float32), {}, r"float values up to 200; expected 0 \(black\) … 1"),
    (np.full((8, 9), np.nan, np.float32), {}, r"contains NaN"),
])
def test_refused_layouts_are_named(tmp_path, pixels, keywords, message):
    tifffile.imwrite(tmp_path / "odd.tif", pixels, **{"photometric": "minisblack", **keywords})
    with pytest.raises(ImageError, match=message) as caught:
        read_image(tmp_path / "odd.tif", 1.0)
    assert "odd.tif" in caught.value.message and caught.value.hint


# ---- files that are no images --------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.98])
def test_a_file_cut_short_is_never_half_an_image(tmp_path, rng, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    pixels = pixels_of(rng, np.uint8, (120, 90, 3))
    if suffix in (".jpg", ".bmp"):
        cv2.imwrite(str(path), pixels)
    else:
        write_image(path, Image(pixels, 0.2))
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * kept)])
    if (suffix, kept) == (".ome.tif", 0.98):  # only the metadata, which stand last, are gone; the tags remain
        np.testing.assert_array_equal(read_image(path).pixels, pixels)
        assert read_image(path).pixel_size_um == 0.2
        return
    for read in (lambda: read_image(path, 0.2), lambda: read_header(path)):
        with pytest.raises(ImageError, match="cut") as caught:
            read()
        assert caught.value.hint


def test_damaged_pixels_are_found(tmp_path, rng):
    for name in ("a.png", "a.tif"):
        write_image(tmp_path / name, Image(pixels_of(rng, np.uint8, (120, 90, 3)), 0.2))
        content = bytearray((tmp_path / name).read_bytes())
        middle = len(content) // 2
        content[middle:middle + 64] = bytes(64)
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=name.replace(".", r"\.")):
            read_image(tmp_path / name)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "notes.tif").write_text("stage position list")
    (tmp_path / "stub.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, message in [("empty.tif", r"'empty.tif' is empty \(0 bytes\)"),
                          ("gone.tif", r"no such file: .*gone\.tif"),
                          ("notes.tif", r"not an image that superres reads: it starts with b'stage po'"),
                          ("stub.png", r"'stub.png' is truncated"), (".", r"is a folder")]:
        with pytest.raises(ImageError, match=message) as caught:
            read_image(tmp_path / name)
        assert caught.value.hint


@given(signature=st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"]),
       rest=st.binary(max_size=200))
def test_noise_behind_a_signature_is_an_image_error(tmp_path_factory, signature, rest):
    path = tmp_path_factory.mktemp("noise") / "noise.tif"
    path.write_bytes(signature + rest)
    with pytest.raises(ImageError, match=r"noise\.tif"):
        read_header(path)


@given(place=st.integers(8, 4000), value=st.integers(0, 255),
       suffix=st.sampled_from([".tif", ".ome.tif", ".png", ".jpg"]))
def test_one_wrong_byte_never_raises_anything_else(tmp_path_factory, place, value, suffix):
    path = tmp_path_factory.mktemp("byte") / f"a{suffix}"
    pixels = np.arange(60 * 20 * 3, dtype=np.uint8).reshape(60, 20, 3)
    cv2.imwrite(str(path), pixels) if suffix == ".jpg" else write_image(path, Image(pixels, 0.2))
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    try:
        header = read_header(path)
    except ImageError as error:
        assert error.hint
    else:
        assert len(header.shape) in (2, 3)


def test_strips_that_were_never_written_are_found(tmp_path, rng):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels_of(rng, np.uint8), photometric="rgb", rowsperstrip=5)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = tiff.pages.first.tags["StripByteCounts"]
        counts.overwrite([*counts.value[:-2], 0, 0])
    with pytest.raises(ImageError, match=r"'a.tif' is truncated: 2 of its 5 strips"):
        read_image(path, 1.0)


def test_a_codec_that_gives_false_colours_is_refused(tmp_path, rng):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels_of(rng, np.uint8), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(33003)
    with pytest.raises(ImageError, match="Aperio JPEG 2000 in YCbCr"):
        read_image(path, 1.0)


def test_image_file_reads_when_asked_and_keeps_its_name(tmp_path, rng):
    image = Image(pixels_of(rng, np.uint8), 0.2)
    file = ImageFile(tmp_path / "a.png", pixel_size_um=0.185, white_level=250, name="section 3")
    with pytest.raises(ImageError, match="no such file"):
        file.read()
    write_image(file.path, image)
    back = file.read()
    assert (back.name, back.pixel_size_um, back.white) == ("section 3", 0.185, 250)
    assert ImageFile(tmp_path / "a.png").name == "a.png"


@pytest.mark.parametrize(("dtype", "black", "white", "given"), [
    (np.uint8, 16, 239, None), (np.uint16, 100, 3995, 4095), (np.float32, 0.125, 0.875, None)])
def test_what_a_camera_stores_without_light_is_taken_off(tmp_path, dtype, black, white, given):
    """Off white too, so that white stays 1.0; noise below it is black."""
    pixels = np.array([[0, black, 2 * black, white + black]], dtype)
    write_image(tmp_path / "a.tif", Image(pixels, 0.2))
    read = read_image(tmp_path / "a.tif", white_level=given, black_level=black)
    assert read.white == white and read.pixels.dtype == dtype
    below = -black if dtype is np.float32 else 0
    np.testing.assert_array_equal(read.pixels, np.array([[below, 0, black, white]], dtype))
    assert read.unit().max() == 1.0
    held = ImageFile(tmp_path / "a.tif", white_level=given, black_level=black).read()
    np.testing.assert_array_equal(held.pixels, read.pixels)


@pytest.mark.parametrize("black", [-1, 255, 300, 0.5, np.nan])
def test_a_black_level_that_is_none_is_refused(tmp_path, black):
    write_image(tmp_path / "a.png", Image(np.zeros((2, 2), np.uint8), 0.2))
    with pytest.raises(ImageError, match=r"black level is .* for 'a.png', uint8 with white at 255; expected a number"):
        read_image(tmp_path / "a.png", black_level=black)


# ---- writing -------------------------------------------------------------------------------------------------------

@settings(max_examples=12)
@given(heights=st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_bands_of_any_height_give_the_whole(tmp_path_factory, heights):
    height = sum(heights)
    if height == 0:
        return
    whole = np.arange(height * 70_000, dtype=np.uint32).astype(np.uint16).reshape(height, 70_000)  # strips of 7 rows
    bands = np.split(whole, np.cumsum(heights)[:-1])
    path = tmp_path_factory.mktemp("bands") / "a.tif"
    write_image_bands(path, whole.shape, whole.dtype, bands, 0.074)
    np.testing.assert_array_equal(tifffile.imread(path), whole)


@pytest.mark.parametrize(("rows", "message"), [(9, "9 rows were given"), (11, "more rows were given")])
def test_bands_must_add_up(tmp_path, rows, message):
    with pytest.raises(ImageError, match=message):
        write_image_bands(tmp_path / "a.tif", (10, 7), np.uint8, [np.zeros((rows, 7), np.uint8)], 0.1)
    assert not list(tmp_path.iterdir())


def test_beyond_four_gigabytes_it_is_bigtiff_without_imagej(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("superres.io.tiff_write._CLASSIC_LIMIT", 1000)
    image = Image(pixels_of(rng, np.uint8), 0.074, icc_profile=PROFILE)
    write_image(tmp_path / "a.tif", image)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff and not tiff.is_imagej
    back = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels, image.pixels)
    assert (back.pixel_size_um, back.icc_profile) == (0.074, PROFILE)


def test_a_large_result_is_written_in_little_memory(tmp_path):
    code = """
import resource, sys
import numpy as np
from superres.io.images import write_image, write_image_bands
from superres.image import Image
write_image(sys.argv[1], Image(np.zeros((9, 9), np.uint8), 1.0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
band = np.zeros((100, 12000, 3), np.uint8)
write_image_bands(sys.argv[1], (12000, 12000, 3), np.uint8, (band for _ in range(120)), 0.074)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.tif")], capture_output=True, text=True,
                          check=True)
    assert read_header(tmp_path / "a.tif").shape == (12000, 12000, 3)
    assert float(done.stdout) < 60  # MB; the image is 432 MB, a band 3.6 MB, tifffile's own queue some 20 MB


def test_a_full_disk_leaves_the_old_file(tmp_path, rng):
    path = tmp_path / "a.tif"
    write_image(path, Image(np.zeros((8, 8), np.uint8), 1.0))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        for name in ("a.tif", "a.png"):
            with pytest.raises(StorageError, match=rf"cannot write .*{name}"):
                write_image(tmp_path / name, Image(pixels_of(rng, np.uint8, (300, 300, 3)), 1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_a_lossy_suffix_is_refused(tmp_path, rng):
    with pytest.raises(ImageError, match=r"images are written as \.tif .* not '\.jpg'"):
        write_image(tmp_path / "a.jpg", Image(pixels_of(rng, np.uint8), 1.0))
