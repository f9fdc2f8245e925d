"""The weights file keeps everything, and tells what is wrong with a bad one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from superres import hookimpl
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.catalog import Catalog
from superres.engine import Engine
from superres.errors import PluginError, WeightsError
from superres.inference.load import model_of, network_of
from superres.io.weights import WorstInputs, read_weights, write_weights

from .specimens import SMALL, make_weights


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, make_weights(**SMALL))
    return path


def test_everything_comes_back(path):
    written = replace(make_weights(**SMALL), worst_inputs=WorstInputs(0.02, 1.01))
    write_weights(path, written)
    read = read_weights(path)
    for field in ("plugin", "options", "geometry", "coarse_pixel_size_um", "fine_pixel_size_um", "coarse", "fine",
                  "stains", "worst_inputs", "provenance"):
        assert getattr(read, field) == getattr(written, field), field
    assert read.tensors.keys() == written.tensors.keys()
    for name, tensor in written.tensors.items():
        np.testing.assert_array_equal(read.tensors[name], tensor)


def test_scalars_and_counters_keep_their_shape(tmp_path):
    """Batch normalisation keeps a counter of shape () and of integers."""
    weights = replace(make_weights(**SMALL), tensors={"count": np.array(7), "steps": np.array([[1.0, 2.0]], order="F")})
    write_weights(tmp_path / "w.safetensors", weights)
    read = read_weights(tmp_path / "w.safetensors").tensors
    assert read["count"].shape == () and read["count"] == 7
    np.testing.assert_array_equal(read["steps"], [[1.0, 2.0]])


def test_equal_weights_give_equal_bytes(path, tmp_path):
    again = tmp_path / "again.safetensors"
    write_weights(again, read_weights(path))
    assert again.read_bytes() == path.read_bytes()
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_other_programs_can_read_the_tensors(path):
    from safetensors import safe_open

    with safe_open(path, framework="np") as opened:
        assert "input.weight" in opened.keys()  # noqa: SIM118  safe_open is no mapping
        assert json.loads(opened.metadata()["superres"])["coarse_pixel_size_um"] == 0.185


@pytest.mark.parametrize(("keep", "words"), [(0, "it has 0 bytes"), (5, "it has 5 bytes"), (100, "header is longer"),
                                             (-3, "truncated or damaged")])
def test_truncated_files(path, keep, words):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(path)
    assert "weights.safetensors" in str(caught.value) and caught.value.hint


def test_one_byte_of_a_tensor_that_changed(path):
    """The number is finite and the file well formed; only the digest knows."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not those that were written") as caught:
        read_weights(path)
    assert "weights.safetensors" in str(caught.value) and caught.value.hint


def test_a_file_that_is_no_safetensors(path):
    path.write_bytes(b"\x20" + bytes(7) + b"<html> not found </html>" + bytes(60))
    with pytest.raises(WeightsError, match="is not a weights file"):
        read_weights(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="no weights file") as caught:
        read_weights(tmp_path / "absent.safetensors")
    assert "superres run" in caught.value.hint


def test_weights_of_another_program(tmp_path):
    save_file({"conv": np.zeros(3, np.float32)}, tmp_path / "a.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match="another program"):
        read_weights(tmp_path / "a.safetensors")
    save_file({"conv": np.zeros(3, np.float32)}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match="another program"):
        read_weights(tmp_path / "b.safetensors")


def rewrite(path, change):
    from safetensors import safe_open
    from safetensors.numpy import load_file

    with safe_open(path, framework="np") as opened:
        record = json.loads(opened.metadata()["superres"])
    change(record)
    save_file(load_file(path), path, {"superres": json.dumps(record)})


def test_a_newer_format_asks_for_a_newer_superres(path):
    rewrite(path, lambda record: record.update(version=99))
    with pytest.raises(WeightsError, match="format version 99; this superres reads up to 1") as caught:
        read_weights(path)
    assert "newer superres" in caught.value.hint


def test_stains_of_an_older_or_newer_superres_count_as_none(path):
    for change in (lambda record: record.pop("stains"), lambda record: record.update(stains={"version": 9})):
        write_weights(path, make_weights(**SMALL))
        rewrite(path, change)
        assert read_weights(path).stains == ()


def test_files_of_before_the_worst_inputs_were_kept_say_nothing_of_them(path):
    rewrite(path, lambda record: record.pop("worst_inputs"))
    assert read_weights(path).worst_inputs is None


@pytest.mark.parametrize("found", [{"noise": 0.1}, {"noise": "much", "blocks": 1.0}, [1, 2]])
def test_damaged_worst_inputs_are_refused(path, found):
    rewrite(path, lambda record: record.update(worst_inputs=found))
    with pytest.raises(WeightsError, match="incomplete"):
        read_weights(path)


@pytest.mark.parametrize("mean", [[1.0, 2.0], [1.0, 2.0, "three"]])
def test_damaged_stains_are_refused(path, mean):
    rewrite(path, lambda record: record["stains"]["specimens"][0].update(mean=mean))
    with pytest.raises(WeightsError, match="incomplete: ValueError"):
        read_weights(path)


def test_incomplete_metadata_name_what_is_missing(path):
    rewrite(path, lambda record: record.pop("fine_pixel_size_um"))
    with pytest.raises(WeightsError, match="incomplete: KeyError: 'fine_pixel_size_um'"):
        read_weights(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_on_both_ways(path, tmp_path, value):
    weights = make_weights(**SMALL)
    weights.tensors["expand.bias"][2] = value
    with pytest.raises(WeightsError, match=r"tensor 'expand.bias' .* NaN or infinite"):
        write_weights(tmp_path / "nan.safetensors", weights)
    assert not (tmp_path / "nan.safetensors").exists()
    from safetensors import safe_open

    with safe_open(path, framework="np") as opened:
        metadata = opened.metadata()
    save_file(weights.tensors, path, metadata)
    with pytest.raises(WeightsError, match=r"tensor 'expand.bias' .* NaN or infinite"):
        read_weights(path)


def test_tensors_that_do_not_fit_the_model_are_named():
    weights = make_weights(**SMALL)
    model = model_of(weights, Catalog.builtin())
    without = {name: tensor for name, tensor in weights.tensors.items() if name != "output.bias"}
    with pytest.raises(WeightsError, match=r"lack tensor 'output.bias' of shape \(3,\)"):
        network_of(model, without)
    with pytest.raises(WeightsError, match="unknown tensor 'extra'"):
        network_of(model, {**weights.tensors, "extra": np.zeros(1)})
    with pytest.raises(WeightsError, match=r"tensor 'output.bias' .* shape \(4,\); .* expects \(3,\)"):
        network_of(model, {**weights.tensors, "output.bias": np.zeros(4)})


def test_weights_that_do_not_fit_the_plugin_are_named():
    weights = make_weights(**SMALL)
    catalog = Catalog.builtin()
    with pytest.raises(WeightsError, match=r"geometry up 5, down 2, .*; the model has up 4, down 2"):
        model_of(replace(weights, options={**weights.options, "up": 4}), catalog)
    with pytest.raises(WeightsError, match="refuses the options of these weights: colour"):
        model_of(replace(weights, options={"colour": "red"}), catalog)
    with pytest.raises(WeightsError, match="need the model plug-in 'swinir'"):
        model_of(replace(weights, plugin="swinir"), catalog)


class _Hooks:
    def __init__(self, model):
        self.model = model

    @hookimpl
    def superres_models(self):
        return [self.model]


def _fails_when_made(self, options=None, **values):
    raise RuntimeError("no licence")


@pytest.mark.parametrize(("spoilt", "when"), [
    ({"__init__": _fails_when_made}, "with the options of these weights"),
    ({"geometry": property(_fails_when_made)}, "with the options of these weights"),
    ({"build": _fails_when_made}, "while it built its network"),
    ({"native": _fails_when_made}, "while it gave its native form"),
], ids=["constructor", "geometry", "build", "native"])
def test_a_foreign_plugin_that_fails_is_named_and_not_the_weights(spoilt, when):
    foreign = type("ForeignModel", (Rivenson2017Model,), {"name": "foreign", "__module__": "elsewhere", **spoilt})
    catalog = Catalog.empty()
    catalog.register(_Hooks(foreign))
    with pytest.raises(PluginError, match=f"model 'foreign' failed {when}: RuntimeError: no licence") as caught:
        Engine.from_weights(replace(make_weights(**SMALL), plugin="foreign"), device="cpu", catalog=catalog)
    assert "mend the plug-in" in caught.value.hint and isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("returned", [None, {}, Rivenson2017Model])
def test_what_a_model_builds_is_a_module(returned):
    foreign = type("ForeignModel", (Rivenson2017Model,), {"name": "foreign", "build": lambda self: returned})
    with pytest.raises(PluginError, match="model 'foreign' failed while it built its network: TypeError: build "
                                          f"returned a {type(returned).__name__}; expected a torch.nn.Module"):
        network_of(foreign(), {})


def test_a_loaded_network_is_ready_and_the_generator_untouched():
    import torch

    weights = make_weights(**SMALL)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    network = network_of(model_of(weights, Catalog.builtin()), weights.tensors)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    weights.tensors["input.bias"][:] = 7
    assert network.input.bias.max() < 1, "the network has its own copy"
