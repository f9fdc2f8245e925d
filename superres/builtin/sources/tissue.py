"""A procedural stained section: glands, stroma, nuclei and fibres, drawn as light-absorbing stains (Beer-Lambert).

It stands in for a sharp image of a real section where there is none.  Structures have the size in pixels that they have
in a sharp 20× to 40× field (nuclei of 8 to 20 px), since that is how real fields are used at a declared virtual scale,
and its spectrum falls like that of real sections up to the finest pixel, so that a network trained on it learns edges
and texture, not circles.  Nothing in it is anatomy to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from superres.image import FloatArray

Mask = npt.NDArray[np.bool_]

_SUBPIXEL_BITS = 4
_LN10 = float(np.log(10.0))


@dataclass(frozen=True)
class Palette:
    """Optical density per unit of stain, in (red, green, blue), for what nuclei, cytoplasm, fibres and membranes take
    up.

    cytoplasm, fibre, membrane: typical amounts of stain in units of a nucleus.
    """

    nuclear: tuple[float, float, float]
    body: tuple[float, float, float]
    fibrous: tuple[float, float, float]
    cytoplasm: float
    fibre: float
    membrane: float


_HAEMATOXYLIN = (0.65, 0.70, 0.29)
_EOSIN = (0.10, 0.88, 0.42)
_DAB = (0.27, 0.57, 0.78)
# Haematoxylin, DAB: Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 23, 291 (2001); the others estimated from real
# fields.
PALETTES: tuple[Palette, ...] = (
    Palette(_HAEMATOXYLIN, _EOSIN, _EOSIN, cytoplasm=0.42, fibre=0.42, membrane=0.15),
    Palette(_HAEMATOXYLIN, _DAB, _HAEMATOXYLIN, cytoplasm=0.40, fibre=0.09, membrane=0.75),
    Palette((0.62, 0.66, 0.42), (0.16, 0.72, 0.67), (0.80, 0.55, 0.21), cytoplasm=0.34, fibre=0.45, membrane=0.2),
)
"""Haematoxylin & eosin, haematoxylin & DAB (immunohistochemistry), trichrome."""


def stained_section(shape_px: tuple[int, int], rng: np.random.Generator, palette: Palette) -> FloatArray:
    """Draw a section: (H, W, 3) float32 transmittance in (0, 1), the same for the same generator state and palette."""
    level = _clouds(shape_px, rng.uniform(45, 75), rng) + 0.12 * _clouds(shape_px, 9.0, rng)
    lumen_from, gland_from = np.quantile(level[::4, ::4], (rng.uniform(0.86, 0.95), rng.uniform(0.35, 0.6)))
    lumen = level > lumen_from
    gland = (level > gland_from) & ~lumen
    stroma = ~gland & ~lumen
    flow = _flow(level, rng)
    holes = _droplets(shape_px, rng, count=int(rng.choice([0, 0, 1]) * shape_px[0] * shape_px[1] / 4500))

    seeds = _cell_centres(shape_px, gland, stroma, holes > 0.5, rng)
    nuclei, inside = _nuclei(shape_px, seeds, gland, flow, rng)
    borders = _cell_borders(shape_px, seeds) * _soft(gland, 1.0)
    fibres, clefts = _fibres(shape_px, stroma, flow, rng)

    coarse_grain, fine_grain = _grain(shape_px, 2.6, rng), _grain(shape_px, 1.7, rng)
    soft_gland, soft_stroma, soft_lumen = _soft(gland, 0.8), _soft(stroma, 1.2), _soft(lumen, 0.8)
    body = soft_gland * (palette.cytoplasm * (1 + 0.30 * coarse_grain + 0.16 * fine_grain) + palette.membrane * borders
                         * (1 + 0.4 * coarse_grain))
    body *= 1 - 0.6 * inside
    fibrous = soft_stroma * palette.fibre * (0.5 + 1.0 * fibres + 0.25 * coarse_grain + 0.10 * fine_grain)
    fibrous *= 1 - 0.85 * clefts
    nuclear = nuclei * (1 + 0.20 * fine_grain) + 0.05 * soft_gland * (1 + 0.5 * coarse_grain)
    strength = rng.uniform(0.8, 1.25, size=3)
    open_area = 1 - np.maximum(0.97 * soft_lumen, holes)
    vectors = [_varied(vector, rng) for vector in (palette.nuclear, palette.body, palette.fibrous)]
    density = np.zeros((*shape_px, 3), dtype=np.float32)
    for amount, vector, gain in zip((nuclear, body, fibrous), vectors, strength, strict=True):
        density += (np.clip(amount, 0, None) * open_area * gain)[:, :, None] * vector
    density += 0.008 * (1 + fine_grain)[:, :, None]
    # Real sections differ in how sharp they are: power at 0.35 cycles/px spans 10^0.4 to 10^1.9 grey levels².
    density = np.asarray(cv2.GaussianBlur(density, (0, 0), rng.uniform(0.35, 0.65)), dtype=np.float32)
    white = np.float32(rng.uniform(0.93, 0.98)) * np.array([1.0, 1.0, rng.uniform(0.97, 1.0)], dtype=np.float32)
    return np.asarray(white * np.exp(-_LN10 * np.clip(density, 0, None)), dtype=np.float32)


def _varied(vector: tuple[float, float, float], rng: np.random.Generator) -> FloatArray:
    """The colour of a stain as another laboratory would mix it."""
    return np.asarray(np.clip(np.array(vector) * rng.normal(1, 0.08, size=3), 0.02, None), dtype=np.float32)


def _clouds(shape_px: tuple[int, int], size_px: float, rng: np.random.Generator) -> FloatArray:
    """Smooth random relief with features of about size_px, zero mean, unit deviation."""
    small = tuple(int(np.ceil(side / size_px)) + 4 for side in shape_px)
    knots = rng.standard_normal(small).astype(np.float32)
    y, x = (np.arange(side, dtype=np.float32) / np.float32(size_px) + 1.5 for side in shape_px)
    relief = cv2.remap(cv2.GaussianBlur(knots, (0, 0), 0.7), *_mesh(x, y), cv2.INTER_CUBIC)
    relief = cv2.GaussianBlur(relief, (0, 0), size_px / 6)
    return np.asarray((relief - relief.mean()) / (relief.std() + 1e-6), dtype=np.float32)


def _mesh(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    return (np.ascontiguousarray(np.broadcast_to(x[None, :], (len(y), len(x)))),
            np.ascontiguousarray(np.broadcast_to(y[:, None], (len(y), len(x)))))


def _grain(shape_px: tuple[int, int], exponent: float, rng: np.random.Generator) -> FloatArray:
    """Texture whose power falls as 1/f^exponent above 1/32 cycles/px, zero mean, unit deviation."""
    fast = tuple(fft.next_fast_len(side, real=True) for side in shape_px)
    spectrum = fft.rfft2(rng.standard_normal(fast, dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(fast[0])[:, None], np.fft.rfftfreq(fast[1])[None, :])
    spectrum *= (np.maximum(frequency, 1 / 32) ** (-exponent / 2)).astype(np.float32)
    spectrum[0, 0] = 0
    texture = fft.irfft2(spectrum, s=fast)[:shape_px[0], :shape_px[1]]
    return np.asarray(texture / texture.std(), dtype=np.float32)


def _soft(mask: Mask, sigma_px: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma_px), dtype=np.float32)


def _flow(level: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Direction along the level lines in radians, from the y axis towards x, slightly disordered."""
    smooth = cv2.GaussianBlur(level, (0, 0), 6)
    down, right = np.gradient(smooth)
    disorder = _clouds((level.shape[0], level.shape[1]), 25.0, rng)
    return np.asarray(np.arctan2(-down, right) + 0.25 * disorder, dtype=np.float32)


def _droplets(shape_px: tuple[int, int], rng: np.random.Generator, count: int) -> FloatArray:
    """Round empty vacuoles, as fat leaves them: 1 inside."""
    canvas = np.zeros(shape_px, dtype=np.uint8)
    for _ in range(count):
        centre = rng.uniform(0, shape_px[::-1])
        radius = 3 + rng.gamma(2.0, 4.0)
        cv2.circle(canvas, _fixed(centre), int(radius * (1 << _SUBPIXEL_BITS)), 255, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas.astype(np.float32) / np.float32(255)


def _fixed(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return int(point[0] * (1 << _SUBPIXEL_BITS)), int(point[1] * (1 << _SUBPIXEL_BITS))


def _cell_centres(shape_px: tuple[int, int], gland: Mask, stroma: Mask, empty: Mask, rng: np.random.Generator
                  ) -> npt.NDArray[np.float64]:
    """(N, 2) as (y, x): a disordered hexagonal grid, dense in glands, sparse in stroma, none in empty places."""
    pitch = rng.uniform(14, 19)
    y, x = np.meshgrid(np.arange(-pitch, shape_px[0] + pitch, pitch * 0.87),
                       np.arange(-pitch, shape_px[1] + pitch, pitch), indexing="ij")
    x = x + (np.arange(len(y)) % 2)[:, None] * pitch / 2
    points = np.stack([y.ravel(), x.ravel()], axis=1) + rng.normal(0, pitch * 0.17, size=(y.size, 2))
    places = np.clip(points.astype(int), 0, np.array(shape_px) - 1)
    chance = np.where(gland[places[:, 0], places[:, 1]], 0.93, np.where(stroma[places[:, 0], places[:, 1]], 0.30, 0.0))
    chance = np.where(empty[places[:, 0], places[:, 1]], 0.0, chance)
    return np.asarray(points[rng.random(len(points)) < chance])


def _nuclei(shape_px: tuple[int, int], centres: npt.NDArray[np.float64], gland: Mask, flow: FloatArray,
            rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """(stain, inside): amount of nuclear stain with chromatin, envelope and nucleoli, and 1 inside a nucleus."""
    stain, inside = (np.zeros(shape_px, dtype=np.float32) for _ in range(2))
    chromatin = _grain(shape_px, 1.6, rng)
    places = np.clip(centres.astype(int), 0, np.array(shape_px) - 1)
    epithelial = gland[places[:, 0], places[:, 1]]
    across = flow[places[:, 0], places[:, 1]] + np.where(epithelial, np.pi / 2, 0.0)
    slenderness = rng.uniform(0.5, 0.9)
    for centre, is_epithelial, angle in zip(centres, epithelial, across, strict=True):
        if is_epithelial:
            half_length, depth = rng.uniform(5.2, 8.8), rng.uniform(0.4, 0.85)
            ratio = slenderness * rng.uniform(0.75, 1.1)
        else:
            half_length, depth = rng.uniform(5.5, 10.5), rng.uniform(0.6, 1.1)
            ratio = rng.uniform(0.25, 0.55)
        shape = _Shape(half_length, half_length * ratio, angle + rng.normal(0, 0.25), depth, rng.uniform(0.6, 1.6))
        _draw_nucleus(stain, inside, chromatin, centre, shape, rng)
    return stain, inside


@dataclass(frozen=True)
class _Shape:
    half_length_px: float
    half_width_px: float
    angle: float
    depth: float
    edge_px: float


def _draw_nucleus(stain: FloatArray, inside: FloatArray, chromatin: FloatArray, centre: npt.NDArray[np.float64],
                  shape: _Shape, rng: np.random.Generator) -> None:
    reach = shape.half_length_px * 1.2 + 3
    top, left = (max(0, int(np.floor(place - reach))) for place in centre)
    bottom, right = (min(side, int(np.ceil(place + reach)) + 1)
                     for side, place in zip(stain.shape, centre, strict=True))
    if bottom <= top or right <= left:
        return
    y = (np.arange(top, bottom) - centre[0])[:, None]
    x = (np.arange(left, right) - centre[1])[None, :]
    cosine, sine = np.cos(shape.angle), np.sin(shape.angle)
    along, aside = y * cosine + x * sine, x * cosine - y * sine
    phase = np.arctan2(aside, along)
    wobble = sum(amplitude * np.cos(order * phase + offset) for order, amplitude, offset in zip(
        (2, 3, 5), rng.normal(0, (0.05, 0.05, 0.025)), rng.uniform(0, 2 * np.pi, 3), strict=True))
    radius = np.hypot(along / shape.half_length_px, aside / shape.half_width_px)
    distance = (radius * (1 + wobble) - 1) * shape.half_width_px
    cover = np.clip(0.5 - distance / shape.edge_px, 0, 1).astype(np.float32)
    envelope = np.exp(-0.5 * ((distance + 0.8) / 0.8) ** 2)
    spot_y, spot_x = rng.uniform(-0.4, 0.4) * shape.half_length_px, rng.uniform(-0.4, 0.4) * shape.half_width_px
    nucleolus = np.exp(-0.5 * ((along - spot_y) ** 2 + (aside - spot_x) ** 2) / rng.uniform(0.8, 1.6) ** 2)
    window = (slice(top, bottom), slice(left, right))
    amount = shape.depth * cover * (0.62 + 0.20 * chromatin[window] + 0.45 * envelope + 0.5 * nucleolus)
    np.maximum(stain[window], amount, out=stain[window])
    np.maximum(inside[window], cover, out=inside[window])


def _cell_borders(shape_px: tuple[int, int], centres: npt.NDArray[np.float64]) -> FloatArray:
    """Thin lines half-way between neighbouring cells, 1 on the line."""
    free = np.full(shape_px, 255, dtype=np.uint8)
    places = np.clip(centres.astype(int), 0, np.array(shape_px) - 1)
    free[places[:, 0], places[:, 1]] = 0
    if not len(places):
        return np.zeros(shape_px, dtype=np.float32)
    labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    lines = np.zeros(shape_px, dtype=np.float32)
    lines[:, 1:] = labels[:, 1:] != labels[:, :-1]
    lines[1:] = np.maximum(lines[1:], labels[1:] != labels[:-1])
    return np.asarray(np.clip(1.6 * cv2.GaussianBlur(lines, (0, 0), 0.8), 0, 1), dtype=np.float32)


def _fibres(shape_px: tuple[int, int], stroma: Mask, flow: FloatArray, rng: np.random.Generator
            ) -> tuple[FloatArray, FloatArray]:
    """(fibres, clefts): stained strands along the flow, and the unstained slits between them, both about 0 … 1."""
    area = shape_px[0] * shape_px[1]
    layers = []
    for share, thickness, softness in ((1 / 600, 1, 0.0), (1 / 1500, 2, 0.7), (1 / 2200, 5, 1.5), (1 / 2600, 2, 0.6)):
        canvas = np.zeros(shape_px, dtype=np.uint8)
        for path, grey in zip(_paths(shape_px, flow, max(1, int(area * share)), rng),
                              rng.integers(90, 256, size=max(1, int(area * share))), strict=True):
            cv2.polylines(canvas, [path], False, int(grey), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        layer = canvas.astype(np.float32) / 255
        layers.append(cv2.GaussianBlur(layer, (0, 0), softness) if softness else layer)
    strands = 0.55 * layers[0] + 0.55 * layers[1] + 0.5 * layers[2]
    return np.asarray(strands, dtype=np.float32), np.asarray(layers[3] * stroma, dtype=np.float32)


def _paths(shape_px: tuple[int, int], flow: FloatArray, count: int, rng: np.random.Generator
           ) -> list[npt.NDArray[np.int32]]:
    """Lines that follow the flow from random places, as OpenCV's fixed-point (x, y) polylines."""
    steps = 16
    points = np.empty((count, steps, 2))
    points[:, 0] = rng.uniform(0, shape_px, size=(count, 2))
    stride = rng.uniform(1.5, 5.0, size=(count, 1))
    wander = rng.normal(0, 0.12, size=count)
    for step in range(1, steps):
        places = np.clip(points[:, step - 1].astype(int), 0, np.array(shape_px) - 1)
        angle = flow[places[:, 0], places[:, 1]] + wander
        points[:, step] = points[:, step - 1] + stride * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return list(np.rint(points[:, :, ::-1] * (1 << _SUBPIXEL_BITS)).astype(np.int32))
