"""A pipeline file becomes a plan, or all of its mistakes at once."""

import json
import re
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from superres import hookimpl
from superres.api import Loss, PluginOptions
from superres.api.source import Pair
from superres.builtin.models.bicubic import BicubicModel
from superres.catalog import Catalog
from superres.errors import ConfigError
from superres.image import Image
from superres.plan import load_plan, make_plan
from superres.training.patches import cut_patches

SMALL = {"source": {"plugin": "simulate", "options": {"scenes": ["builtin:ihc"]}}}


def problems_of(tables, **more):
    with pytest.raises(ConfigError) as caught:
        make_plan(tables, **more)
    return {problem.where: problem for problem in caught.value.problems}


class Flat(BicubicModel):
    name = "flat"
    geometry = (5, 2)


class Opaque(Loss):
    """Its options can be described, and not be stored."""

    name = "opaque"

    class Options(PluginOptions):
        value: Any = Field(default_factory=object)

    def build(self):
        raise NotImplementedError


@pytest.mark.parametrize(("tables", "where", "words"), [
    ({"model": {"plugin": "flat"}}, "model.plugin", "model 'flat' of labsoft 2 cannot be made: TypeError: geometry"),
    ({"loss": [{"plugin": "opaque"}]}, "loss[0].options", "unable to serialize unknown type: <class 'object'>"),
])
def test_a_plugin_that_breaks_its_contract_is_one_problem_among_others(tables, where, words):
    catalog = Catalog.builtin()
    hooks = type("Hooks", (), {"superres_models": staticmethod(hookimpl(lambda: [Flat])),
                               "superres_losses": staticmethod(hookimpl(lambda: [Opaque]))})
    catalog.register(hooks, distribution="labsoft", version="2")
    found = problems_of({**SMALL, **tables, "run": {"sead": 7}}, catalog=catalog)
    assert set(found) == {"run.sead", where} and found[where].message.lower().startswith(words.lower())


def test_defaults_are_the_papers():
    config = make_plan(SMALL).config
    assert (config.train.patch_px, config.train.batch_size, config.train.learning_rate) == (60, 64, 1e-4)
    assert config.train.schedule == "constant"
    plan = make_plan(SMALL)
    assert (plan.model.name, plan.registrar.name) == ("rivenson2017", "paper")
    assert [loss.name for loss, _ in plan.losses] == ["mse-gradient"]
    assert [evaluator.name for evaluator in plan.evaluators] == ["ssim", "psnr", "difference-map"]


def test_four_mistakes_are_reported_at_once_with_their_places_and_suggestions(tmp_path):
    path = tmp_path / "pipeline.toml"
    path.write_text("""
[run]
sead = 7
[source]
plugin = "simulate"
options = { scenes = ["builtin:ihc"], tile_pxx = 3 }
[model]
plugin = "rivenson2071"
[train]
patch_px = 4
[[loss]]
plugin = "mse-gradient"
options = { gradient_weight = -1 }
""")
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    found = {problem.where: problem for problem in caught.value.problems}
    assert set(found) == {
        "run.sead",
        "source.options.tile_pxx",
        "model.plugin",
        "train.patch_px",
        "loss[0].options.gradient_weight",
    }
    assert "did you mean 'seed'" in found["run.sead"].hint
    assert "tile_px" in found["source.options.tile_pxx"].hint
    assert "rivenson2017" in found["model.plugin"].hint
    assert "not 4" in found["train.patch_px"].message
    message = str(caught.value)
    assert "5 problems" in message and str(path) in message


@pytest.mark.parametrize(
    ("tables", "where", "message"),
    [
        ({}, "source", "missing"),
        ({"source": {}}, "source.plugin", "missing"),
        ({**SMALL, "train": {"steps": 5, "epochs": 3}}, "train", "steps and epochs"),
        ({**SMALL, "train": {"patch_px": 41}}, "train.patch_px", "no multiple of 2 coarse px"),
        ({**SMALL, "train": {"patch_stride_px": 7}}, "train.patch_stride_px", "no multiple of 2 coarse px"),
        ({**SMALL, "run": {"device": "gpu0"}}, "run.device", "device is 'gpu0'; expected auto, cpu, cuda or cuda:N"),
        ({**SMALL, "run": {"device": "cuda:"}}, "run.device", "expected auto, cpu, cuda or cuda:N"),
        (
            {**SMALL, "evaluate": [{"plugin": "ssim"}, {"plugin": "psnr"}, {"plugin": "ssim"}]},
            "evaluate[2].plugin",
            "'ssim' is evaluate[0] already",
        ),
        ({**SMALL, "split": {"test": ["a"], "validation": ["a"]}}, "split", "in test and in validation"),
        ({**SMALL, "split": {"test": -1}}, "split.test", "-1"),
        ({**SMALL, "split": {"test": "ihc"}}, "split.test", "list of specimen ids"),
        ({**SMALL, "train": {"steps": True}}, "train.steps", "integer"),
        ({**SMALL, "train": {"learning_rate": "1e-3"}}, "train.learning_rate", "number"),
        ({**SMALL, "infer": {"precision": "fst"}}, "infer.precision", "exact"),
        ({**SMALL, "model": {"options": {"up": 1, "down": 2}}}, "model.options", ""),
        ({**SMALL, "loss": []}, "loss", ""),
        ({**SMALL, "loss": [{"plugin": "l1", "factor": 0}]}, "loss[0].factor", "greater than 0"),
        ({**SMALL, "register": {"min_confidence": 2}}, "register.min_confidence", "less than or equal to 1"),
        (
            {"source": {"plugin": "simulate", "options": {"scenes": ["${SURELY_UNSET}/a.png"]}}},
            "source.options.scenes",
            "SURELY_UNSET",
        ),
    ],
)
def test_each_mistake_has_its_place_and_its_message(tables, where, message):
    found = problems_of(tables)
    places = [place for place in found if place.startswith(where)]
    assert places, f"{where} not in {list(found)}"
    assert message in found[places[0]].message


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_every_device_that_torch_may_know_passes(device):
    assert make_plan({**SMALL, "run": {"device": device}}).config.run.device == device


def test_a_loss_may_stand_twice():
    losses = [{"plugin": "l1", "factor": 0.1}, {"plugin": "l1", "factor": 0.2}]
    assert len(make_plan({**SMALL, "loss": losses}).losses) == 2


@pytest.mark.parametrize(("up", "down", "multiple"), [(6, 4, 2), (4, 4, 1), (8, 3, 3), (5, 2, 2)])
def test_plan_and_training_ask_for_the_same_multiple(up, down, multiple):
    """L = 6/4 = 3/2: patches of 42 px have whole partners, though 42 is no multiple of 4."""
    for patch_px in range(36, 49):
        tables = {**SMALL, "model": {"options": {"up": up, "down": down}}, "train": {"patch_px": patch_px}}
        if patch_px % multiple:
            assert "train.patch_px" in problems_of(tables)
            continue
        geometry = make_plan(tables).model.geometry
        pair = Pair(
            "p",
            "s",
            Image(np.zeros((48, 48, 3), np.uint8), 0.2),
            Image(np.zeros((*geometry.output_shape(48, 48), 3), np.uint8), 0.1),
        )
        assert len(cut_patches([pair], geometry, patch_px, patch_px)) > 0


def test_overrides_take_toml_values_and_bare_words():
    plan = make_plan(
        SMALL,
        overrides=[
            "train.steps=5",
            "train.schedule=one-cycle",
            "run.output='runs/a b'",
            "model.options.blocks=2",
            "source.options.scenes=['builtin:tissue']",
        ],
    )
    assert plan.config.train.steps == 5 and plan.config.train.schedule == "one-cycle"
    assert plan.output.name == "a b" and plan.model.options.blocks == 2


def test_a_run_folder_may_lie_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_plan(SMALL, overrides=["run.output='~/run'"]).output == tmp_path / "run"


def test_overrides_do_not_change_the_tables_given():
    tables = {**SMALL, "train": {"steps": 1}}
    make_plan(tables, overrides=["train.steps=5"])
    assert tables["train"] == {"steps": 1}


def test_overrides_reach_into_lists():
    tables = {**SMALL, "loss": [{"plugin": "l1"}, {"plugin": "mse"}]}
    plan = make_plan(tables, overrides=["loss[1].factor=0.5"])
    assert [factor for _, factor in plan.losses] == [1.0, 0.5]


@pytest.mark.parametrize("text", ["train.steps", "=5", ".=5", "loss[3].factor=1", "loss[²].factor=1", "run.seed.a=1"])
def test_a_wrong_override_is_a_problem_not_a_crash(text):
    found = problems_of({**SMALL, "run": {"seed": 1}, "loss": [{"plugin": "l1"}]}, overrides=[text])
    assert any(place.startswith("--set") for place in found)


def test_a_mistake_of_the_command_line_is_not_blamed_on_the_file():
    found = problems_of({**SMALL, "run": {"sead": 1}}, overrides=["train.stepz=5"])
    assert {"run.sead", "--set train.stepz"} <= set(found)


def test_an_override_of_a_list_shows_how_its_entries_are_named():
    with pytest.raises(ConfigError) as caught:
        make_plan({**SMALL, "loss": [{"plugin": "l1"}]}, overrides=["loss.factor=3"])
    assert "loss.0.factor=3" in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[run\n", r"not valid TOML: .*at line 1, column 5.*hint: line 1 is: \[run"),
        ('[run]\nseed = 1\noutput = """x\n', r"not valid TOML: .*hint: the last line is: output = \"\"\"x"),
        (None, "no such file"), (b"\xff\xfe", "not a text file in UTF-8: .* at byte 0hint: give the path"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, content, message):
    path = tmp_path / "pipeline.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    assert re.search(message, f"{caught.value}hint: {caught.value.hint}")


def test_the_resolved_plan_writes_every_default_out_as_json():
    resolved = make_plan(SMALL).resolved()
    json.dumps(resolved, allow_nan=False)
    assert resolved["model"]["options"]["base_channels"] == 32
    assert resolved["loss"][0]["options"] == {"gradient_weight": 0.001}
    assert resolved["register"]["plugin"] == "paper"


def test_a_resolved_plan_is_a_plan_again():
    first = make_plan(SMALL)
    assert make_plan(first.resolved()).resolved() == first.resolved()


def test_relative_paths_start_at_the_pipeline_file(tmp_path):
    plan = make_plan({"source": {"plugin": "acquisition", "options": {"folder": "scan"}}}, base=tmp_path)
    assert plan.source.options.folder == tmp_path / "scan"


def test_a_mistake_in_one_section_hides_none_in_another():
    """Checks over several values must not wait until every single value is right."""
    found = problems_of(
        {**SMALL, "run": {"sead": 1}, "train": {"steps": 3, "epochs": 5, "batch_size": 0, "patch_px": 41}}
    )
    assert set(found) == {"run.sead", "train.batch_size", "train", "train.patch_px"}


@pytest.mark.parametrize(("model", "said"), [
    ({"options": {"blocs": 5}}, "2 coarse px, which every model needs at L = 5/2"),
    ({"options": {"up": 4, "down": 3, "alpha": -1}}, "3 coarse px, which every model needs at L = 4/3"),
    ({"plugin": "rivenson2071", "options": {"up": 5, "down": 2}}, "2 coarse px, which every model needs at L = 5/2"),
    ({"plugin": "rivenson2071"}, None),
    ({"options": {"up": "five"}}, None),
    ({"options": {"up": 2, "down": 0}}, None),
    ({"plugin": 5}, None),
])
def test_a_mistaken_model_does_not_hide_patches_that_no_model_of_its_scale_takes(model, said):
    found = problems_of({**SMALL, "model": model, "train": {"patch_px": 41}})
    assert any(where.startswith("model") for where in found)
    assert (said in found["train.patch_px"].message) if said else "train.patch_px" not in found


def test_a_constructor_that_raises_is_one_problem_among_the_others(monkeypatch):
    from superres.builtin.losses.l1 import L1Loss

    def raises(self, options=None):
        raise RuntimeError("no licence")

    monkeypatch.setattr(L1Loss, "__init__", raises)
    found = problems_of({**SMALL, "loss": [{"plugin": "l1"}], "run": {"sead": 1}})
    assert (
        set(found) == {"run.sead", "loss[0].plugin"} and "RuntimeError: no licence" in found["loss[0].plugin"].message
    )
