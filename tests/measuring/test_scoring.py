"""Scores of weights whose outcome is known: the bicubic network against bicubic up-sampling."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from superres.builtin.evaluators.ssim import SsimEvaluator
from superres.builtin.models.bicubic import BicubicModel
from superres.engine import Engine
from superres.errors import Cancelled, SourceError
from superres.events import Events
from superres.image import Image
from superres.io.images import write_image
from superres.io.weights import Weights
from superres.measuring import paper
from superres.measuring.cross_tissue import cross_tissue, cross_tissue_page
from superres.measuring.scoring import doubts, load_pairs, score_weights


@pytest.fixture(scope="module")
def bicubic_engine():
    model = BicubicModel()
    tensors = {name: tensor.numpy() for name, tensor in model.build().state_dict().items()}
    return Engine.from_weights(Weights("bicubic", model.options.model_dump(), asdict(model.geometry), 0.185, 0.074,
                                       tensors), device="cpu")


@pytest.fixture
def pairs(tmp_path, rng):
    """Two specimens of smooth texture; the second with noise in its fine image."""
    for specimen, noise in (("clean", 0.0), ("noisy", 0.1)):
        y, x = np.mgrid[0:120, 0:120] * 0.074
        fine = 0.5 + 0.2 * np.sin(2 * np.pi * (0.8 * y + 0.5 * x))[:, :, None] * np.array([1, 0.8, 0.6])
        coarse = fine.reshape(24, 5, 24, 5, 3).mean(axis=(1, 3))
        coarse = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)
        rough = fine + rng.normal(0, noise, fine.shape)
        for kind, pixels, pitch in (("fine", rough, 0.074), ("coarse", coarse, 0.185)):
            stored = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
            write_image(tmp_path / kind / specimen / f"{specimen}.tif", Image(stored, pitch))
    return load_pairs([str(tmp_path)])


def test_the_bicubic_network_gains_nothing_over_bicubic(bicubic_engine, pairs):
    evaluation = score_weights(bicubic_engine, pairs, [SsimEvaluator()], Events())
    for score in evaluation.summary:
        # float32 sums in another order may round a grey level the other way
        assert score.value == pytest.approx(score.baseline, abs=2e-3) and score.n == 2
    assert evaluation.by_specimen["clean"][0].value > evaluation.by_specimen["noisy"][0].value + 0.1


def test_the_matrix_has_every_network_on_every_specimen(bicubic_engine, pairs):
    found = cross_tissue({"a": bicubic_engine, "b": bicubic_engine}, pairs, Events())
    assert set(found.ssim) == {(name, specimen) for name in "ab" for specimen in ("clean", "noisy")}
    assert all(found.ssim["a", specimen] == found.ssim["b", specimen] for specimen in found.specimens)
    assert set(found.chains) == {(first, second) for first in "ab" for second in "ab"}
    assert len(set(found.chains.values())) == 1
    # 2.5× more by bicubic and back again changes next to nothing
    first = np.mean([found.ssim["a", specimen] for specimen in found.specimens])
    assert found.chains["a", "b"] == pytest.approx(first, abs=0.02)
    page = cross_tissue_page(found, pairs)
    assert [len(section.table.rows) for section in page.sections[:2]] == [3, 2]
    assert found.alone["a"] == pytest.approx(first, abs=0.02) and page.sections[1].table.head[1] == "alone"
    assert [(section.title, [picture.title for picture in section.pictures]) for section in page.sections[2:]] == [
        ("clean", ["bicubic", "a", "b", "truth"]), ("noisy", ["bicubic", "a", "b", "truth"]),
        ("clean, one network after another", [f"{one}, then {two}" for one in "ab" for two in "ab"])]
    assert not found.doubted


class Told(Events):
    def __init__(self):
        super().__init__()
        self.lines = []

    def progress(self, progress):
        self.lines.append((progress.stage, progress.done, progress.total, progress.message))


def test_progress_names_the_network_and_runs_through_all_of_them(bicubic_engine, pairs):
    told = Told()
    cross_tissue({"a": bicubic_engine, "b": bicubic_engine}, pairs, told)
    scored = [line[1:] for line in told.lines if line[0] == "cross-tissue"]
    names = [pair.name for pair in pairs.pairs]
    assert [done for done, _, _ in scored] == [0, 1, 1, 2, 2, 3, 3, 4] and {total for _, total, _ in scored} == {4}
    assert [message.split(":")[0] for _, _, message in scored] == ["a"] * 4 + ["b"] * 4
    assert [message for _, _, message in scored[::2]] == [f"{each}: {name}" for each in "ab" for name in names]
    assert [line[1:] for line in told.lines if line[0] == "chains"][:4] == [
        (0, 4, "a, then a"), (1, 4, "a, then b"), (2, 4, "b, then a"), (3, 4, "b, then b")]
    assert {line[0] for line in told.lines} == {"cross-tissue", "chains"}


def test_stopping_reaches_the_scoring_of_any_network(bicubic_engine, pairs):
    class Impatient(Told):
        def progress(self, progress):
            super().progress(progress)
            if progress.message.startswith("b:"):
                self.cancel()

    told = Impatient()
    with pytest.raises(Cancelled):
        cross_tissue({"a": bicubic_engine, "b": bicubic_engine}, pairs, told)
    assert told.lines[-1][:3] == ("cross-tissue", 2, 4)


def test_scoring_is_one_stage(bicubic_engine, pairs):
    """Two that take turns would each begin anew at every image."""
    told = Told()
    score_weights(bicubic_engine, pairs, [SsimEvaluator()], told)
    assert [line[:3] for line in told.lines] == [("evaluate", done, 2) for done in (0, 1, 1, 2)]


def test_pairs_that_nobody_told_apart_are_no_matrix(bicubic_engine, pairs):
    merged = replace(pairs, pairs=tuple(replace(pair, specimen="pairs") for pair in pairs.pairs))
    page = cross_tissue_page(cross_tissue({"a": bicubic_engine}, merged, Events()), merged)
    warning, = (text for text in page.sections[0].warnings if "folder of its own" in text)
    assert warning.startswith("All 2 pairs count as one specimen, 'pairs'") and "may not fit" not in page.headline


def test_another_scale_is_refused(bicubic_engine, tmp_path):
    for kind, side in (("coarse", 20), ("fine", 40)):
        write_image(tmp_path / kind / "a" / "a.tif", Image(np.zeros((side, side, 3), np.uint8), 3.7 / side))
    with pytest.raises(SourceError, match=r"makes \(50, 50\) px of \(20, 20\), the fine image has \(40, 40\)"):
        score_weights(bicubic_engine, load_pairs([str(tmp_path)]), [SsimEvaluator()], Events())


def test_pairs_of_a_12_bit_camera_need_their_white_level(tmp_path):
    for kind, side in (("coarse", 20), ("fine", 50)):
        write_image(tmp_path / kind / "a" / "a.tif", Image(np.full((side, side), 3000, np.uint16), 3.7 / side))
    with pytest.raises(SourceError, match="look like 12 bits") as caught:
        load_pairs([str(tmp_path)])
    assert caught.value.hint.startswith("set source.options.white_level = 4095")
    assert load_pairs([str(tmp_path)], 4095).pairs[0].fine.white_level == 4095
    with pytest.raises(SourceError, match="--white-level is 4095, but scenes"):
        load_pairs(["builtin:ihc"], 4095)


def test_places_that_hold_no_pairs(tmp_path):
    with pytest.raises(SourceError, match="has no coarse/ and fine/"):
        load_pairs([str(tmp_path)])
    with pytest.raises(SourceError, match="expected one folder"):
        load_pairs([str(tmp_path), "builtin:ihc"])
    with pytest.raises(SourceError, match="neither a folder"):
        load_pairs(["surely/not.png"])


def test_every_image_that_does_not_fit_is_named_or_counted(bicubic_engine, pairs):
    """Two gratings that are no tissue, and eight."""
    many = replace(pairs, pairs=tuple(replace(pair, name=f"{pair.name}-{number}") for number in range(4)
                                      for pair in pairs.pairs))
    two, eight = (doubts(bicubic_engine, each)[0] for each in (pairs, many))
    assert "2 of 2 images may not fit these weights." in two and two.endswith(f"Likewise: {pairs.pairs[1].name}.")
    names = [pair.name for pair in many.pairs]
    assert eight.endswith(f"Likewise: {', '.join(names[1:7])} and 1 more.")


def test_the_papers_numbers_are_those_that_the_project_answers_to():
    """READING's list, typed again here."""
    assert [(row.bicubic, row.network) for row in paper.TABLE_S1] == [(0.672, 0.796), (0.685, 0.806)]
    assert [(row.patches, row.epochs) for row in paper.TABLE_S2] == [(9536, 630), (51008, 460)]
    assert [(row.side_px, row.once, row.twice, row.once_two_gpus, row.twice_two_gpus) for row in paper.TABLE_S3] == [
        (2048, 1.193, 8.343, 0.695, 4.615), (818, 0.209, 1.281, 0.135, 0.730), (160, 0.038, 0.081, 0.037, 0.062)]
