"""Source `simulate`: a virtual microscope scans sharp images, or drawn sections, through a coarse and a fine objective.

The defaults are the condition `standard`: 0.185 and 0.074 µm pixels, 40×/0.95NA and 100×/1.4NA in focus, condenser
0.55NA, 550 nm for every colour, Gaussian noise of 0.01 (coarse) and 0.004 (fine) of full scale that does not depend on
the signal, 8 bits, and a random generator seeded by (seed, number of the scene).  What makes registration necessary
comes on top: vignetting, stage jitter, a turned camera and magnifications off nominal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from superres.api.plugin import PluginOptions, ResolvedPath, resolve_pattern
from superres.api.source import Acquisition, GroundTruth, Pair, Scan, Source
from superres.builtin.sources.conditions import Ranges, Varied, check_ranges, draw_conditions
from superres.builtin.sources.scan_layout import Positions, ScanPlan, Section
from superres.builtin.sources.scenes import BUILTIN, Scene, SceneRules, check_builtin, find_scenes, read_scene
from superres.builtin.sources.virtual_scan import Microscope, Objective, Step, image_pair, scan_section, whole_scale
from superres.errors import SourceError
from superres.events import Events, Progress
from superres.optics import Optics
from superres.optics.camera import CameraSettings
from superres.transform import Transform


class SimulateSource(Source):
    """Virtual scans of scenes whose truth is known.  Scenes count as thin absorbing objects, linear in the stored
    value."""

    name = "simulate"
    summary = "virtual microscope: scans sharp images or drawn tissue through two objectives"

    class Options(PluginOptions):
        scenes: list[str] = Field(["builtin:tissue:6", "builtin:ihc"], min_length=1, description=(
            "what is scanned: 'builtin:ihc' (the real stained section of scikit-image), 'builtin:tissue' or "
            "'builtin:tissue:6' (drawn sections tissue-0 … tissue-5), 'builtin:usaf' (a resolution target, groups 8 to "
            "11), or glob patterns of your own sharp images, relative to the pipeline file; ${NAME} stands for an "
            "environment variable"))
        exclude: list[str] = Field([], description="patterns of file names that are left out")
        scene_pixel_size_um: float = Field(0.074, gt=0.005, le=1.0, description=(
            "declared size of a scene's pixels in µm, whatever they were in reality: the virtual scale"))
        max_scene_px: int = Field(2048, ge=64, le=20000, description=(
            "longest side of a scene in its own pixels; larger scenes are cropped to their centre, to save time"))
        tissue_px: int = Field(1024, ge=128, le=8192, description="side of a drawn section in pixels")
        monochrome: bool = Field(False, description="image with a single-channel camera (luma of the scene)")

        specimens: dict[str, str] = Field({}, description=(
            "specimen id by pattern of file names; files of one specimen stay on one side of a split.  First match "
            "wins; then specimen_csv; otherwise every file is a specimen named by its stem"))
        specimen_csv: ResolvedPath | None = Field(None, description=(
            "CSV with columns file, specimen and optionally bin2_before_use (yes/no); every scene file must be listed"))
        bin2: list[str] | Literal["from-csv"] = Field([], description=(
            "patterns of files that are binned 2 × 2 before use because they are soft, or 'from-csv'"))

        coarse_na: float = Field(0.95, gt=0.05, lt=1.6, description="aperture of the coarse objective")
        fine_na: float = Field(1.4, gt=0.05, lt=1.6, description="aperture of the fine objective")
        condenser_na: float = Field(0.55, gt=0.02, lt=1.6, description="aperture of the condenser, for both")
        wavelength_um: float = Field(0.55, ge=0.3, le=1.2, description="wavelength in µm, one for all colours")
        coarse_immersion: float = Field(1.0, ge=1.0, le=1.7, description="refractive index before the coarse objective")
        fine_immersion: float = Field(1.515, ge=1.0, le=1.7, description="refractive index before the fine objective")
        coarse_magnification: float = Field(40, gt=0, description="as printed on the coarse objective; a label")
        fine_magnification: float = Field(100, gt=0, description="as printed on the fine objective; a label")
        coarse_defocus_um: float = Field(0.0, ge=-10, le=10, description="distance of the section from focus, coarse")
        fine_defocus_um: float = Field(0.0, ge=-10, le=10, description="distance of the section from focus, fine")

        coarse_pixel_size_um: float = Field(0.185, gt=0.01, le=5, description="nominal coarse pixel on the object")
        fine_pixel_size_um: float = Field(0.074, gt=0.01, le=5, description="nominal fine pixel on the object")
        noise_coarse: float = Field(0.01, ge=0, le=0.2, description="sd of coarse noise at white, of full scale")
        noise_fine: float = Field(0.004, ge=0, le=0.2, description="sd of fine noise at white, of full scale")
        shot_share: float = Field(0.0, ge=0, le=1, description=(
            "part of the noise variance at white that is shot noise, proportional to light; the rest is read noise"))
        vignetting: float = Field(0.1, ge=0, le=0.8, description=(
            "loss of light in the corners of both cameras, growing with the square of the distance from the centre"))
        bits: Literal[8, 12, 16] = Field(8, description="bits of both cameras; 12 are stored in 16")

        tile_px: int = Field(256, ge=64, le=8192, description=(
            "largest side of a coarse frame in pixels; it shrinks so that whole frames cover the scene, and a scene of "
            "up to 1.25 frames is taken in one"))
        overlap: float = Field(0.15, ge=0.05, le=0.5, description="overlap of neighbouring frames, share of a frame")
        stage_jitter_um: float = Field(1.0, ge=0, le=50, description=(
            "the stage strays by up to this in y and x, and at most a sixth of the overlap"))
        camera_rotation_deg: float = Field(0.3, ge=-5, le=5, description="rotation of the coarse camera on the stage")
        magnification_error: float = Field(0.004, ge=-0.05, le=0.05, description=(
            "true coarse pixel on the object over the nominal one, minus 1"))
        field_px: int | None = Field(None, ge=64, le=4096, description=(
            "side of a fine field in pixels; default 480, or 85 % of a scan that is too small for it"))
        fields_per_specimen: int | None = Field(None, ge=1, le=1000, description=(
            "fine fields in every scene; default: 1.3 times its area, at least 2"))
        field_rotation_deg: float = Field(0.5, ge=0, le=5, description="fine fields are turned by up to ± this")
        field_scale_error: float = Field(0.002, ge=0, le=0.03, description="and magnified by up to 1 ± this")
        avoid_blank: bool = Field(True, description=(
            "place fields where at least 30 % is darker than 0.88 of clear glass and the grey values vary by 0.03"))
        positions: Positions = Field("nominal", description=(
            "what is known of a frame: 'exact' place, the 'nominal' place without jitter, only its row and column in "
            "the 'grid', or 'none'"))
        visits: int = Field(1, ge=1, le=100, description="how often every scene is scanned")
        vary: Ranges = Field({}, description=(
            "ranges from which each visit draws its conditions, such as { coarse_defocus_um = [-0.3, 0.3] }; may hold "
            + ", ".join(get_args(Varied))))
        give: Literal["scans", "pairs"] = Field("scans", description=(
            "'scans': frames, fields and everything that makes registration necessary; 'pairs': one exact pair of each "
            "whole scene, as a perfect registration would leave it, to train on much tissue in little time"))
        seed: int = Field(0, ge=0, description="of everything random: noise, jitter, places, drawn sections")

        @field_validator("scenes")
        @classmethod
        def _known_scenes(cls, scenes: list[str], info: ValidationInfo) -> list[str]:
            base = (info.context or {}).get("base")
            for scene in scenes:
                check_builtin(scene)
            return [scene if scene.startswith(BUILTIN) else resolve_pattern(scene, Path(base) if base else None)
                    for scene in scenes]

        @model_validator(mode="after")
        def _possible(self) -> SimulateSource.Options:
            for side in ("coarse", "fine"):
                aperture, index = getattr(self, f"{side}_na"), getattr(self, f"{side}_immersion")
                if aperture >= index:
                    raise ValueError(f"{side}_na is {aperture:g}, but an aperture stays below the refractive index "
                                     f"{index:g}; raise {side}_immersion (oil: 1.515)")
                if self.condenser_na > aperture:
                    raise ValueError(f"condenser_na is {self.condenser_na:g}, above {side}_na {aperture:g}; the "
                                     "part of the light that misses the objective is dark field and not simulated")
            if self.fine_pixel_size_um > self.coarse_pixel_size_um:
                raise ValueError(f"fine_pixel_size_um {self.fine_pixel_size_um:g} is larger than coarse_pixel_size_um "
                                 f"{self.coarse_pixel_size_um:g}; expected the fine pixels to be the smaller ones")
            check_ranges(self.vary)
            for end in (0, 1) if self.vary else ():
                values = {str(name): ends[end] for name, ends in self.vary.items()}
                try:  # the rules above and those of the options themselves hold at both ends
                    type(self).model_validate({**self.model_dump(exclude={"vary"}), **values})
                except ValidationError as error:
                    first = error.errors()[0]
                    where = f".{first['loc'][0]}" if first["loc"] else ""
                    raise ValueError(f"vary{where}: {first['msg'].removeprefix('Value error, ')}") from None
            if self.give == "pairs":
                whole_scale(self.coarse_pixel_size_um / self.fine_pixel_size_um)
            return self

    def acquire(self, events: Events | None = None) -> Acquisition:
        """Scan every scene.  The same options and files give the same frames, bit for bit.

        Scenes are imaged one after the other; only their 8- or 16-bit frames stay in memory.
        events: hears of every scene and frame before it is made, and may cancel there.
        """
        events = events if events is not None else Events()
        scenes = find_scenes(self._rules())
        slides = _slide_names(scenes)
        microscope = _microscope(self.options)
        scans: list[Scan] = []
        pairs: list[Pair] = []
        tiles: dict[tuple[str, str], Transform] = {}
        fields: dict[tuple[str, str], Transform] = {}
        origins: dict[str, str] = {}
        for row, (scene, slide) in enumerate(zip(scenes, slides, strict=True)):
            step = _announced(events, row * self.options.visits, len(scenes) * self.options.visits)
            step(f"scene {slide}")
            transmittance = read_scene(scene, self._rules())
            for visit in range(self.options.visits):
                conditions = draw_conditions(self.options.vary, self.options.seed, row, visit)
                options = self.options.model_copy(update=conditions)
                step = _announced(events, row * self.options.visits + visit, len(scenes) * self.options.visits)
                name = slide if self.options.visits == 1 else f"{slide}-visit{visit + 1}"
                section = Section(name, scene.specimen, transmittance, options.scene_pixel_size_um)
                rng = np.random.default_rng([options.seed, row, visit])
                if options.give == "pairs":
                    pairs.append(image_pair(section, _microscope(options), rng, step))
                else:
                    scanned = scan_section(section, _microscope(options), rng, step)
                    scans.append(scanned.scan)
                    tiles.update({(name, tile): place for tile, place in scanned.tiles.items()})
                    fields.update({(name, field): place for field, place in scanned.fields.items()})
                if conditions:
                    origins[f"conditions {name}"] = ", ".join(f"{key} {value:.4g}" for key, value in conditions.items())
            height, width = transmittance.shape[:2]
            binned = ", binned 2 × 2" if scene.bin2 else ""
            origins[f"scene {slide}"] = f"{_origin(scene)}, {height} × {width} px{binned}, specimen {scene.specimen}"
        return Acquisition(
            scans=tuple(scans), pairs=tuple(pairs), coarse=microscope.coarse.optics, fine=microscope.fine.optics,
            coarse_pixel_size_um=self.options.coarse_pixel_size_um, fine_pixel_size_um=self.options.fine_pixel_size_um,
            simulated=self._sentence(scenes), provenance={**origins, **self._conditions()},
            truth=GroundTruth(tiles, fields) if scans else None)

    def known_specimens(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(scene.specimen for scene in find_scenes(self._rules())))

    def fingerprint(self) -> str:
        lines = []
        for scene in find_scenes(self._rules()):
            if scene.is_builtin:
                lines.append(f"{scene.origin} {scene.name}")
            else:
                state = Path(scene.origin).stat()
                lines.append(f"{scene.origin} {state.st_size} {state.st_mtime_ns} {scene.specimen} {scene.bin2}")
        return "\n".join(lines)

    def _rules(self) -> SceneRules:
        o = self.options
        return SceneRules(o.scenes, o.exclude, o.specimens, o.specimen_csv, o.bin2, o.max_scene_px, o.tissue_px, o.seed,
                          o.monochrome, o.scene_pixel_size_um)

    def _sentence(self, found: Sequence[Scene]) -> str:
        o, microscope = self.options, _microscope(self.options)
        coarse, fine = microscope.coarse.optics, microscope.fine.optics
        scenes = "1 scene" if len(found) == 1 else f"{len(found)} scenes"
        drawn = sum(scene.is_drawn for scene in found)
        if drawn:
            scenes += " (drawn, no real section)" if drawn == len(found) == 1 else (
                " (drawn, no real sections)" if drawn == len(found) else f" ({drawn} drawn, no real sections)")
        return (f"Simulated, not photographed: a virtual microscope imaged {scenes}, declared to be sampled at "
                f"{o.scene_pixel_size_um:g} µm/px, through {coarse.label} at {o.coarse_pixel_size_um:g} µm/px and "
                f"{fine.label} at {o.fine_pixel_size_um:g} µm/px (condenser {o.condenser_na:g}NA, "
                f"{o.wavelength_um * 1000:g} nm for every colour); its scores are not those of the paper.")

    def _conditions(self) -> dict[str, str]:
        o = self.options
        return {
            "virtual noise": f"sd {o.noise_coarse:g} coarse, {o.noise_fine:g} fine, of full scale; shot noise makes up "
                             f"{o.shot_share:.0%} of its variance at white",
            "virtual cameras": f"{o.bits} bits, {o.vignetting:.0%} vignetting",
            "virtual focus": f"{o.coarse_defocus_um:g} µm off coarse, {o.fine_defocus_um:g} µm off fine",
            "seed": str(o.seed)} | (
                {"visits": f"{o.visits}, each with conditions of its own" if o.vary else str(o.visits)}
                if o.visits > 1 or o.vary else {})


def _announced(events: Events, done: int, total: int) -> Step:
    """A safe point that says what comes next, while `done` of `total` scans are finished."""
    def step(what: str) -> None:
        events.raise_if_cancelled()
        events.progress(Progress("acquire", done, total, what))

    return step


def _microscope(o: SimulateSource.Options) -> Microscope:
    coarse = Objective(
        Optics(o.coarse_na, o.condenser_na, o.wavelength_um, o.coarse_defocus_um, o.coarse_immersion,
               o.coarse_magnification),
        CameraSettings(o.coarse_pixel_size_um, o.vignetting, o.noise_coarse, o.shot_share, o.bits))
    fine = Objective(
        Optics(o.fine_na, o.condenser_na, o.wavelength_um, o.fine_defocus_um, o.fine_immersion,
               o.fine_magnification),
        CameraSettings(o.fine_pixel_size_um, o.vignetting, o.noise_fine, o.shot_share, o.bits))
    plan = ScanPlan(o.coarse_pixel_size_um, o.fine_pixel_size_um, o.tile_px, o.overlap, o.stage_jitter_um,
                    o.camera_rotation_deg, o.magnification_error, o.field_px, o.fields_per_specimen,
                    o.field_rotation_deg, o.field_scale_error, o.avoid_blank)
    return Microscope(coarse, fine, plan, o.positions)


def _slide_names(scenes: Sequence[Scene]) -> list[str]:
    """The specimen's id, with the scene's name where one specimen has several scenes; fit for file names.

    Raises SourceError if two of them become the same.
    """
    shared = Counter(scene.specimen for scene in scenes)
    wanted = [each.specimen if shared[each.specimen] == 1 else f"{each.specimen}.{each.name}" for each in scenes]
    slides = [re.sub(r"[^\w.+-]+", "-", name) for name in wanted]
    for slide, count in Counter(slides).items():
        if count > 1:
            raise SourceError(f"{count} scenes would both be slide '{slide}'", hint="give their specimens other names")
    return slides


def _origin(scene: Scene) -> str:
    return scene.origin if scene.is_builtin else Path(scene.origin).name
