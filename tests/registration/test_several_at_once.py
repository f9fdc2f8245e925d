"""The register stage works on several fields at once, and nobody can tell from what it leaves."""

from __future__ import annotations

import json
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from superres.api import Acquisition, FineField, Mosaic, Registrar, Registration, Scan
from superres.builtin.registrars.paper import PaperRegistrar
from superres.errors import Cancelled, SuperresError
from superres.events import Events, Progress
from superres.image import Image
from superres.io.images import ImageFile, write_image
from superres.stages.ahead import in_order
from superres.stages.register import Registered, register
from superres.stages.store import StageFolder
from superres.transform import Transform
from tests.registration.specimens import FINE_UM, Slide, speckle


@pytest.fixture(scope="module")
def acquisition(tmp_path_factory: pytest.TempPathFactory) -> Acquisition:
    """Four tiles; six fields, of which one is blank, one holds NaN and one ends early on disk."""
    folder = tmp_path_factory.mktemp("scan") / "fine" / "s1"
    cells = Slide(speckle(3, 1000))
    tiles, _ = cells.scan(2, 2, 200, 0.15, jitter_px=3, noise=0.01)
    fields = []
    for number, (y, x) in enumerate(((20.0, 20.0), (30.0, 18.0), (16.0, 28.0), (28.0, 30.0))):
        fine = cells.fine(Transform.shift(y, x), (220, 220), noise=0.004, name=f"f{number}")
        fields.append(FineField(fine, "s1"))
    blank = fields[0].image.read().with_pixels(np.full((220, 220, 3), 240, np.uint8), name="glass")
    write_image(folder / "short.tif", fields[1].image.read())
    content = (folder / "short.tif").read_bytes()
    (folder / "short.tif").write_bytes(content[:len(content) // 2])
    import tifffile

    holes = np.full((220, 220), 0.5, np.float32)
    holes[3, 4] = np.nan
    tifffile.imwrite(folder / "holes.tif", holes)
    bad = [FineField(ImageFile(folder / f"{name}.tif", FINE_UM), "s1") for name in ("short", "holes")]
    order = [fields[0], bad[0], fields[1], FineField(blank, "s1"), fields[2], bad[1], fields[3]]
    return Acquisition((Scan("s1", tuple(tiles), tuple(order)),))


def registered(acquisition: Acquisition, folder: Path, workers: int, registrar: Registrar | None = None) -> Registered:
    return register(acquisition, registrar or PaperRegistrar(), Fraction(5, 2), 0.5, StageFolder(folder), Events(),
                    workers)


def test_one_worker_and_two_leave_the_same(acquisition: Acquisition, tmp_path: Path) -> None:
    one, two = (registered(acquisition, tmp_path / str(workers), workers) for workers in (1, 2))
    tables = [(tmp_path / name / "registration.json").read_bytes() for name in "12"]
    assert tables[0] == tables[1]
    assert [pair.name for pair in one.pairs] == [pair.name for pair in two.pairs] == ["f0", "f1", "f2", "f3"]
    for a, b in zip(one.pairs, two.pairs, strict=True):
        np.testing.assert_array_equal(a.coarse.pixels, b.coarse.pixels)
        np.testing.assert_array_equal(a.fine.pixels, b.fine.pixels)


def test_a_damaged_file_costs_one_field(acquisition: Acquisition, tmp_path: Path) -> None:
    """It is refused with its reason and its folder, and the others go on."""
    registered(acquisition, tmp_path, 2)
    rows = {row["name"]: row for row in json.loads((tmp_path / "registration.json").read_text())["pairs"]}
    assert sum(row["kept"] for row in rows.values()) == 4
    for name, said in (("short.tif", "short.tif"), ("holes.tif", "NaN")):
        assert rows[name]["reason"] == "unreadable"
        assert said in rows[name]["message"] and "fine/s1" in rows[name]["message"]


class Watched(Registrar):
    """Notes how many fields it is asked about at once."""

    name = "watched"
    patience_s = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.present, self.most, self.lock = 0, 0, threading.Lock()
        self.company = threading.Event()

    def register(self, fine: Image, coarse: Mosaic | Image, guess: Transform | None = None) -> Registration:
        with self.lock:
            self.present += 1
            self.most = max(self.most, self.present)
        if self.most >= 2:
            self.company.set()
        self.company.wait(self.patience_s)
        with self.lock:
            self.present -= 1
        return Registration(Transform.shift(-20.0, -20.0), 0.01, 1.0)


class Shareable(Watched):
    """Waits for a second field, so that it does not depend on how busy the machine is whether one comes."""

    name = "shareable"
    concurrent = True
    patience_s = 30.0


@pytest.mark.parametrize(("kind", "fewest", "most"), [(Watched, 1, 1), (Shareable, 2, 3)])
def test_registrars_that_do_not_say_they_can_are_asked_one_by_one(
        acquisition: Acquisition, tmp_path: Path, kind: type[Watched], fewest: int, most: int) -> None:
    registrar = kind()
    registered(acquisition, tmp_path, 3, registrar)
    assert fewest <= registrar.most <= most


class Impatient(Events):
    """Cancels after the first field."""

    def progress(self, progress: Progress) -> None:
        if progress.done == 1:
            self.cancel()


def test_cancelling_does_not_wait_for_all_fields(acquisition: Acquisition, tmp_path: Path) -> None:
    registrar = Shareable()
    with pytest.raises(Cancelled):
        register(acquisition, registrar, Fraction(5, 2), 0.5, StageFolder(tmp_path), Impatient(), 2)
    assert registrar.present == 0, "work that has begun is waited for"


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_few_wait(workers: int) -> None:
    """Early items take longest; no more than workers + 1 are begun beyond those that were taken."""
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.03 if item % 4 == 0 else 0.001)
        return item * item

    taken = []
    for result in in_order(work, range(20), workers):
        taken.append(result)
        assert len(begun) <= len(taken) + workers
    assert taken == [item * item for item in range(20)]


def test_what_the_work_raises_comes_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise SuperresError("three")
        return item

    taken = []
    with pytest.raises(SuperresError, match="three"):
        for result in in_order(work, range(100), 2):
            taken.append(result)
    assert taken == [0, 1, 2]
