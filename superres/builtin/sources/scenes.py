"""Scenes: what lies under the virtual microscope.  Image files found by pattern, and sections that come with
superres."""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PureWindowsPath
from typing import Literal

import numpy as np

from superres.errors import SourceError
from superres.image import Array, FloatArray, luma
from superres.io.images import IMAGE_SUFFIXES, read_image
from superres.io.table import read_table

BUILTIN = "builtin:"
_BUILTIN_NAMES = ("builtin:ihc", "builtin:tissue", "builtin:usaf")
_SINGLE = {"builtin:ihc": "ihc", "builtin:usaf": "usaf"}
_TISSUE = re.compile(r"builtin:tissue(?::([1-9][0-9]{0,3}))?")
_USAF = 1951
_YES, _NO = ("yes", "true", "1"), ("", "no", "false", "0")


@dataclass(frozen=True)
class SceneRules:
    """Which scenes there are and how they are prepared; the options of source `simulate` say the same at length.

    patterns: absolute glob patterns and builtin names.  specimens: pattern of file names → specimen id.
    bin2: patterns of file names that are binned 2 × 2 before use, or "from-csv".  max_scene_px: longest side that is
    used.  scene_pixel_size_um: at which a resolution target is drawn.
    """

    patterns: Sequence[str]
    exclude: Sequence[str] = ()
    specimens: Mapping[str, str] = field(default_factory=dict)
    specimen_csv: Path | None = None
    bin2: Sequence[str] | Literal["from-csv"] = ()
    max_scene_px: int = 2048
    tissue_px: int = 1024
    seed: int = 0
    monochrome: bool = False
    scene_pixel_size_um: float = 0.074


@dataclass(frozen=True)
class Scene:
    """One scene before its pixels are read.

    name: unique; origin: the file's path, or a builtin name; index: number among the builtin sections.
    """

    name: str
    specimen: str
    origin: str
    bin2: bool = False
    index: int = 0

    @property
    def is_builtin(self) -> bool:
        return self.origin.startswith(BUILTIN)

    @property
    def is_drawn(self) -> bool:
        """Whether a program drew it: the one other builtin scene is a photograph."""
        return self.is_builtin and self.origin != "builtin:ihc"


def check_builtin(pattern: str) -> None:
    """Raises ValueError, with a suggestion, for a builtin scene that does not exist."""
    if pattern.startswith(BUILTIN) and pattern not in _SINGLE and not _TISSUE.fullmatch(pattern):
        near = difflib.get_close_matches(pattern, _BUILTIN_NAMES, n=1)
        raise ValueError(f"there is no scene '{pattern}'; " + (f"did you mean '{near[0]}'?" if near else
                         "expected 'builtin:ihc', 'builtin:usaf', 'builtin:tissue' or 'builtin:tissue:N' (N sections)"))


def find_scenes(rules: SceneRules) -> tuple[Scene, ...]:
    """All scenes, in the order of the patterns, files of one pattern in order of their names; a file counts once.

    Raises SourceError for a pattern without a file, a missing or unsuitable CSV, a file that the CSV does not list, a
    rule that matches nothing, or two scenes of one name.
    """
    table = _SpecimenTable.read(rules.specimen_csv) if rules.specimen_csv else None
    if rules.bin2 == "from-csv" and (table is None or not table.tells_bin2):
        reason = f"'{rules.specimen_csv}' has no column bin2_before_use" if table else "no specimen_csv is given"
        raise SourceError(f'bin2 = "from-csv", but {reason}',
                          hint="name a CSV with the columns file, specimen, bin2_before_use, or list the files in bin2")
    scenes: dict[str, Scene] = {}
    for pattern in rules.patterns:
        found = _builtin(pattern) if pattern.startswith(BUILTIN) else _files(pattern, rules, table)
        for scene in found:
            earlier = scenes.get(scene.name)
            if earlier is not None and earlier.origin != scene.origin:
                raise SourceError(f"two scenes are named '{scene.name}': '{earlier.origin}' and '{scene.origin}'",
                                  hint="rename one file, or exclude it")
            scenes.setdefault(scene.name, scene)
    if not scenes:
        raise SourceError("no scenes are left: every file is excluded", hint="check the patterns in exclude")
    _forbid_idle_rules(rules, scenes.values())
    return tuple(scenes.values())


def read_scene(scene: Scene, rules: SceneRules) -> FloatArray:
    """The scene's transmittance: (H, W, 3) or (H, W) float32 in [0, 1], binned and cropped to its centre as the rules
    say.

    Stored values are taken as linear in the transmittance; those above white count as clear.
    Raises ImageError for a file that cannot be read.
    """
    if scene.is_builtin:
        pixels = _builtin_pixels(scene, rules)
    else:
        # The pixel size is declared, not read: a scene stands in for an object finer than it really is.
        pixels = read_image(Path(scene.origin), pixel_size_um=1.0).unit()
    if rules.monochrome and pixels.ndim == 3:
        pixels = luma(pixels)
    pixels = np.clip(pixels, np.float32(0), np.float32(1))
    if scene.bin2:
        height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
        even = pixels[:height, :width]
        pixels = np.float32(0.25) * (even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2])
    height, width = (min(side, rules.max_scene_px) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top:top + height, left:left + width], dtype=np.float32)


def _builtin(pattern: str) -> list[Scene]:
    if pattern in _SINGLE:
        return [Scene(_SINGLE[pattern], _SINGLE[pattern], pattern)]
    match = _TISSUE.fullmatch(pattern)
    if match is None:
        raise SourceError(f"there is no scene '{pattern}'",
                          hint="expected builtin:ihc, builtin:usaf, builtin:tissue or builtin:tissue:N")
    names = [f"tissue-{index}" for index in range(int(match[1] or 1))]
    return [Scene(name, name, "builtin:tissue", index=index) for index, name in enumerate(names)]


def _builtin_pixels(scene: Scene, rules: SceneRules) -> FloatArray:
    if scene.name == "ihc":
        from skimage import data

        stored: Array = data.immunohistochemistry()  # type: ignore[no-untyped-call]
        return stored.astype(np.float32) / np.float32(255)
    from superres.io.raster import load_cv2

    load_cv2()  # says in plain words what to do where OpenCV cannot be imported
    if scene.name == "usaf":
        from superres.optics.usaf.target import TargetSpec, draw_target

        # Groups 8 to 11, 256 to 3649 cycles/mm: those of the paper's Table S4.
        spec = TargetSpec(first_group=8, nests=2, dust=20)
        drawn = draw_target(spec, rules.scene_pixel_size_um, np.random.default_rng([rules.seed, _USAF]))
        return np.repeat(drawn.transmittance[:, :, None], 3, axis=2)
    from superres.builtin.sources.tissue import PALETTES, stained_section

    rng = np.random.default_rng([rules.seed, scene.index])
    return stained_section((rules.tissue_px, rules.tissue_px), rng, PALETTES[scene.index % len(PALETTES)])


def _files(pattern: str, rules: SceneRules, table: _SpecimenTable | None) -> list[Scene]:
    paths = [Path(found) for found in sorted(glob.glob(pattern, recursive=True))]
    paths = [path for path in paths if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise SourceError(f"no image file matches '{pattern}'",
                          hint="check the folder and the pattern; scenes are TIFF, SVS, PNG, JPEG or BMP files")
    kept = [path for path in paths if not _matches(path.name, rules.exclude)]
    return [Scene(path.stem, _specimen(path, rules, table), str(path), _is_binned(path, rules, table)) for path in kept]


def _matches(file_name: str, patterns: Sequence[str]) -> bool:
    """Patterns apply to the file name, with or without its suffix."""
    return any(fnmatchcase(file_name, pattern) or fnmatchcase(Path(file_name).stem, pattern) for pattern in patterns)


def _specimen(path: Path, rules: SceneRules, table: _SpecimenTable | None) -> str:
    for pattern, specimen in rules.specimens.items():
        if _matches(path.name, [pattern]):
            return specimen
    return table.row(path)[0] if table else path.stem


def _is_binned(path: Path, rules: SceneRules, table: _SpecimenTable | None) -> bool:
    if rules.bin2 == "from-csv":
        return table is not None and table.row(path)[1]
    return _matches(path.name, rules.bin2)


def _forbid_idle_rules(rules: SceneRules, scenes: Iterable[Scene]) -> None:
    """A pattern that matches nothing is a spelling mistake that would silently change what is trained on."""
    names = [Path(scene.origin).name for scene in scenes]
    asked = [("specimens", list(rules.specimens)), ("bin2", [] if rules.bin2 == "from-csv" else list(rules.bin2))]
    for option, patterns in asked:
        for pattern in patterns:
            if not any(_matches(name, [pattern]) for name in names):
                raise SourceError(f"{option}: '{pattern}' matches none of the scenes {', '.join(names[:6])}"
                                  + (" …" if len(names) > 6 else ""),
                                  hint="patterns apply to file names; check the spelling")


@dataclass(frozen=True)
class _SpecimenTable:
    path: Path
    rows: Mapping[str, tuple[str, bool]]
    tells_bin2: bool

    @classmethod
    def read(cls, path: Path) -> _SpecimenTable:
        table = read_table(path)
        if not table.has("file", "specimen"):
            raise SourceError(f"'{path}' has the columns {', '.join(table.columns)}; expected file and specimen",
                              hint="specimen_csv needs the columns file and specimen (and may have bin2_before_use)")
        tells_bin2 = table.has("bin2_before_use")
        rows: dict[str, tuple[str, bool]] = {}
        for row in table.rows:
            name = PureWindowsPath(row.cells["file"]).name  # which takes either slash
            answer = row.cells["bin2_before_use"].lower() if tells_bin2 else ""
            if answer not in (*_YES, *_NO):
                raise SourceError(f"'{path.name}', line {row.line}: bin2_before_use is '{answer}'",
                                  hint=f"write one of {', '.join((*_YES, *_NO[1:]))}, or leave it empty for no")
            found = row.cells["specimen"], answer in _YES
            if name and rows.setdefault(name, found) != found:
                raise SourceError(f"'{path.name}', line {row.line}: '{name}' is listed before with another specimen or "
                                  "binning", hint="remove one of them, or rename one of two files of one name")
        return cls(path, rows, tells_bin2)

    def row(self, path: Path) -> tuple[str, bool]:
        found = self.rows.get(path.name)
        if found is None:
            raise SourceError(f"scene '{path.name}' is not listed in '{self.path}'",
                              hint="add a row for it, give its specimen in specimens, or exclude it")
        if not found[0]:
            raise SourceError(f"'{self.path}' gives no specimen for '{path.name}'", hint="fill in the column specimen")
        return found
