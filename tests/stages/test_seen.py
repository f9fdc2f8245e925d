"""What the weights know of the specimens of their training, and which of those to score are among them."""

import numpy as np
import pytest

from superres.builtin.sources.simulate import SimulateSource
from superres.image import Image
from superres.io.images import write_image
from superres.io.weights import read_weights
from superres.measuring.scoring import load_pairs
from superres.stages.seen import files_seen, seen_before, seen_note, specimens_seen
from superres.weights import shipped_weights
from tests.registration.specimens import speckle


def test_trained_on_validated_on_and_those_of_the_first_weights_count_as_seen():
    provenance = {"training": {"specimens": ["a"], "validation_specimens": ["b"],
                               "started_from": {"specimens": ["c"], "files": {"c.png": "c"}}}}
    assert specimens_seen(provenance) == {"a", "b", "c"}
    assert files_seen(provenance) == {"c.png": "c"}
    assert seen_before(provenance, ["d", "c", "a"], {}) == {"c": "c", "a": "a"}
    assert not seen_before({}, ["a"], {}), "weights of elsewhere say nothing"


def test_the_folder_of_a_runs_registered_pairs_is_known_again():
    """It is spelt without what a path cannot hold."""
    provenance = {"training": {"specimens": ["Fall 3, links"]}}
    assert seen_before(provenance, ["Fall_3__links", "Fall 4"], {}) == {"Fall_3__links": "Fall 3, links"}


@pytest.fixture
def scene(tmp_path):
    """A file called like one of the shipped weights' training slides, which there had a name of its own."""
    path = tmp_path / "he_histoqc_1.png"
    write_image(path, Image(np.rint(255 * speckle(0, 150)).astype(np.uint8), 0.074))
    return path


def test_a_file_is_known_again_under_another_specimens_name(scene):
    provenance = read_weights(shipped_weights()).provenance
    assert files_seen(provenance)["he_histoqc_1.png"] == "histoqc-1"
    acquired = load_pairs([str(scene)])
    seen = seen_before(provenance, [pair.specimen for pair in acquired.pairs], acquired.provenance)
    assert seen == {"he_histoqc_1": "histoqc-1"}
    assert "of these names: he_histoqc_1 (there: histoqc-1). Their scores" in seen_note(seen)
    renamed = scene.rename(scene.with_name("new.png"))
    acquired = load_pairs([str(renamed)])
    assert seen_before(provenance, ["new"], acquired.provenance) == {}


def test_a_file_that_was_only_tested_is_new(scene):
    """The provenance names every scene of the run, also those that did not train."""
    source = SimulateSource(scenes=[str(scene), "builtin:ihc"], give="pairs", max_scene_px=150, specimens={"he_*": "s"})
    acquired = dict(source.acquire().provenance)
    provenance = {"acquired": acquired, "training": {"specimens": ["ihc"]}}
    assert files_seen(provenance) == {}
    assert files_seen({**provenance, "training": {"specimens": ["s", "ihc"]}}) == {"he_histoqc_1.png": "s"}
