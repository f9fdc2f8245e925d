"""The weights in the package: small, of what they say, better than bicubic on slides that they never saw."""

import csv
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import superres
from superres.errors import ConfigError
from superres.io.images import read_image, write_image
from superres.io.weights import read_weights
from superres.plan import make_plan
from superres.weights import shipped_card, shipped_weights


@pytest.fixture(scope="module")
def scoring(project_root):
    """examples/weights/score.py as a module."""
    spec = importlib.util.spec_from_file_location("score", project_root / "examples/weights/score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_small_and_for_the_papers_geometry():
    weights = read_weights(shipped_weights())
    assert shipped_weights().stat().st_size <= 1_500_000
    assert (weights.plugin, weights.options["up"], weights.options["down"]) == ("rivenson2017", 5, 2)
    assert (weights.coarse_pixel_size_um, weights.fine_pixel_size_um) == (0.185, 0.074)
    assert weights.coarse.objective_na == 0.95 and weights.fine.objective_na == 1.4
    assert {stain.specimen for stain in weights.stains} == set(weights.provenance["training"]["specimens"])
    assert all(np.linalg.eigvalsh(stain.covariance).min() > 0 for stain in weights.stains)
    assert "Simulated" in weights.provenance["simulated"]


def test_they_were_trained_on_train_alone_and_the_card_lists_it(shared_data):
    with open(shared_data / "MANIFEST.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    training = {row["specimen"] for row in rows if row["folder"] == "train"}
    facts = read_weights(shipped_weights()).provenance["training"]
    used = {*facts["specimens"], *facts["validation_specimens"]}
    assert used <= training and not used & {row["specimen"] for row in rows if row["folder"] == "test"}
    card = shipped_card().read_text(encoding="utf-8")
    for row in rows:
        if row["folder"] == "train":
            assert f"| {row['file']} | {row['specimen']} |" in card
            assert row["licence"].replace("|", "/") in card


def test_the_cards_recipe_is_the_weights_own_and_that_of_the_committed_pipeline(scoring, project_root, monkeypatch):
    card, path = shipped_card().read_text(encoding="utf-8"), shipped_weights()
    assert scoring.filled(card, "recipe", scoring.recipe(path)) == card
    monkeypatch.setenv("SUPERRES_DATA", "unused")
    plan = superres.load_plan(project_root / "examples/weights/pipeline.toml")
    facts = read_weights(path).provenance["training"]
    asked = plan.config.train.model_dump(mode="json")
    assert facts["settings"] == {key: asked[key] for key in facts["settings"]}
    assert facts["seed"] == plan.config.run.seed and facts["validation_specimens"] == plan.config.split.validation
    varied = plan.source.options.vary
    for key in ("coarse_defocus_um", "noise_coarse"):
        assert key in varied, "the card's known failures begin where these end"
    assert f"Focus within {varied['coarse_defocus_um'][1]:g} µm" in card
    assert f"below\n  {varied['noise_coarse'][1]:g} of full scale" in card


def test_the_card_says_what_was_promised(scoring):
    """The bars of the project, read from the card; that the card is true is the slow test's and `make
    weights-scores`'s business."""
    told = scoring.read_table(shipped_card().read_text(encoding="utf-8"))
    for condition, bar in (("standard", 0.08), ("standard, none binned", 0.05)):
        gains = {specimen: own - raised for (key, specimen), (own, raised) in told.items() if key == condition}
        assert len(gains) == 5 and gains.pop("**mean**") >= bar and min(gains.values()) > 0


def test_one_slide_scores_what_the_card_says(scoring, shared_data):
    """The smallest of the four specimens; through a file and back, as the command does it."""
    told = scoring.read_table(shipped_card().read_text(encoding="utf-8"))
    engine = superres.Engine.load(shipped_weights(), device="cpu")
    others = [path.name for path in (shared_data / "test").iterdir() if "ihc" not in path.name]
    found = scoring.scores(engine, shared_data, exclude=others)
    # The noise is seeded by the row of a scene, and there is one scene here.
    assert found["skimage-ihc"][0] == pytest.approx(told["standard", "skimage-ihc"][0], abs=0.005)


def test_an_odd_side_ends_as_well_as_an_even_one(scoring, shared_data, project_root):
    """Measured on the smallest specimen, and read from the card, which has all of them, and which the README cites."""
    engine = superres.Engine.load(shipped_weights(), device="cpu")
    others = [path.name for path in (shared_data / "test").iterdir() if "ihc" not in path.name]
    measured = {where: 100 * error for where, error in
                scoring.border_errors(engine, shared_data, exclude=others).items()}
    told = scoring.read_borders(shipped_card().read_text(encoding="utf-8"))
    assert measured.keys() == told.keys() and len(told) == 4
    for errors in (measured, told):
        assert errors["last row and column, odd side"] < 1.5 * max(errors["first row and column"],
                                                                   errors["last row and column, even side"])
    first, even, odd, inside = (told[where] for where in (
        "first row and column", "last row and column, even side", "last row and column, odd side",
        "farther than 13 input pixels from the border"))
    said = (f"errs by {first:.1f} % of white, the last by {even:.1f} % of white where the side is even, by {odd:.1f} % "
            f"where it is odd, and the inside by {inside:.1f} %")
    assert said in " ".join((project_root / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.slow
def test_the_command_of_the_card_reproduces_it(project_root, shared_data):
    done = subprocess.run([sys.executable, project_root / "examples/weights/score.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "as in the model card"


def test_upscale_uses_them_and_says_so(tmp_path, rng):
    from superres.image import Image

    write_image(tmp_path / "photo.png", Image(rng.integers(0, 256, (20, 24, 3)).astype(np.uint8), 0.185))
    done = subprocess.run([sys.executable, "-m", "superres", "upscale", "photo.png", "sharp.png"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no --weights given: 'stained-tissue-2.5x' of superres" in done.stderr and "simulated images" in done.stderr
    assert done.stdout == "sharp.png\n"
    engine = superres.Engine.load(shipped_weights(), device="cpu")
    np.testing.assert_array_equal(read_image(tmp_path / "sharp.png", 0.074).pixels,
                                  engine(read_image(tmp_path / "photo.png", 0.185).pixels))


def test_a_plan_can_start_from_them_or_says_why_not():
    tables = {"source": {"plugin": "simulate"}, "train": {"start_from": "shipped"}}
    assert make_plan(tables).start_from == shipped_weights()
    for model, message in (({"plugin": "rivenson2017", "options": {"alpha": 9}}, "holds weights of 'rivenson2017'"),
                           ({"plugin": "bicubic"}, "holds weights of 'rivenson2017'")):
        with pytest.raises(ConfigError, match=message):
            make_plan({**tables, "model": model})
    with pytest.raises(ConfigError, match=r"train.start_from: no weights file '.*lost.safetensors'"):
        make_plan({**tables, "train": {"start_from": "lost.safetensors"}})
