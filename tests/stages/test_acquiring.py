"""Acquiring: what a source that makes its images tells meanwhile, where it can be stopped, and ready pairs whose white
level cannot be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from superres.api import Acquisition, Events, Progress, Scan, Source, Tile
from superres.builtin.sources.pairs import PairsSource
from superres.builtin.sources.simulate import SimulateSource
from superres.errors import Cancelled, ImageError, SourceError
from superres.image import Image
from superres.io.images import write_image
from superres.stages.acquire import acquired

SMALL = {"scenes": ["builtin:tissue:2"], "tissue_px": 260, "tile_px": 64, "fields_per_specimen": 5}


class Heard(Events):
    """Keeps all progress, and cancels as soon as a remark ends with `until`."""

    def __init__(self, until: str = "never") -> None:
        super().__init__()
        self.until, self.all = until, list[Progress]()

    def progress(self, progress: Progress) -> None:
        self.all.append(progress)
        if progress.message.endswith(self.until):
            self.cancel()


@pytest.mark.parametrize("until", ["scene tissue-1", "colour 2 of 3", "tissue-0_r00_c01", "tissue-0_f02"])
def test_a_cancelled_virtual_scan_ends_at_the_next_frame_or_colour(until: str) -> None:
    events = Heard(until)
    with pytest.raises(Cancelled):
        acquired(SimulateSource(**SMALL), events)
    assert events.all[-1].message.endswith(until)


def test_a_virtual_pair_can_be_cancelled_too() -> None:
    events = Heard("colour 2 of 3")
    with pytest.raises(Cancelled):
        acquired(SimulateSource(**SMALL, give="pairs"), events)
    assert events.all[-1].message.endswith("colour 2 of 3")


def test_a_virtual_scan_tells_of_every_frame_and_leaves_the_end_to_the_caller() -> None:
    events = Heard()
    acquisition = acquired(SimulateSource(**SMALL, visits=2), events)
    told = [progress.message for progress in events.all]
    frames = [frame.name for scan in acquisition.scans for frame in (*scan.tiles, *scan.fields)]
    assert len(frames) > 20 and [message for message in told if message in frames] == frames
    assert {(progress.stage, progress.total) for progress in events.all} == {("acquire", 4)}
    done = [progress.done for progress in events.all]
    assert done == sorted(done) and set(done) == {0, 1, 2, 3}


def test_a_source_gets_events_where_its_signature_asks_for_them() -> None:
    class Plain(SimulateSource):
        def acquire(self) -> Acquisition:  # type: ignore[override]  # as sources that need no events are written
            return super().acquire()

    class Asks(Source):
        name = "asks"
        summary = "keeps what it was given"

        def acquire(self, events: Events | None = None) -> Acquisition:
            self.given = events
            return SimulateSource(**SMALL).acquire()

    silent, events, asks = Heard(), Heard(), Asks()
    assert acquired(Plain(**SMALL), silent).scans and not silent.all
    assert acquired(asks, events).scans and asks.given is events


@pytest.mark.parametrize("wrong", ["coarse", "fine"])
def test_ready_pairs_far_brighter_than_their_white_level_are_refused_as_scans_are(
        tmp_path: Path, rng: np.random.Generator, wrong: str) -> None:
    """A 12-bit camera whose white level was given as that of 8 bits: a network would train on white."""
    for kind, side in (("coarse", 20), ("fine", 50)):
        stored = rng.integers(400, 3900, (side, side)).astype(np.uint16)
        white = 255.0 if kind == wrong else 4095.0
        write_image(tmp_path / kind / "slide" / "a.tif", Image(stored, 3.7 / side, white))
    with pytest.raises(ImageError, match=f"'{wrong}/slide/a.tif' are brighter than its white level 255"):
        acquired(PairsSource(folder=tmp_path), Events())
    assert len(acquired(PairsSource(folder=tmp_path, white_level=4095), Events()).pairs) == 1


@pytest.mark.parametrize(("slides", "clash"), [(("s 1", "s_1"), True), (("a:b", "a*b"), True), (("s 1", "s 2"), False)])
def test_two_slides_whose_files_would_have_one_name_are_refused(slides: tuple[str, str], clash: bool) -> None:
    """The mosaic of the second would take the place of the first's, without a word."""
    class Two(Source):
        name = "two"

        def acquire(self) -> Acquisition:
            tile = Image(np.zeros((8, 8), np.uint8), 0.185, name="tile")
            return Acquisition(tuple(Scan(slide, (Tile(tile),), ()) for slide in slides))

    if not clash:
        assert len(acquired(Two(), Events()).scans) == 2
        return
    with pytest.raises(SourceError, match=r"would have files of one name, '[sa]_[1b]'"):
        acquired(Two(), Events())
