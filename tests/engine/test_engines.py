"""Every engine gives what the reference gives, and which one runs is never a secret."""

from __future__ import annotations

import copy
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from superres import hookimpl, native
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.catalog import Catalog
from superres.engine import Engine
from superres.errors import EngineError, WeightsError
from superres.inference import engines
from superres.inference.tiles import core_ranges

from ..models import twin
from .specimens import SMALL, make_weights, stained

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
needs_native = pytest.mark.skipif(not native.available(), reason=native.reason_unavailable())
ENGINES = ["torch", "openvino", pytest.param("native", marks=needs_native)]


def load(engine, precision="exact", tile_px=32, **options):
    return Engine.from_weights(make_weights(**(options or SMALL)), device="cpu", engine=engine, precision=precision,
                               catalog=Catalog.builtin(), tile_px=tile_px)


def float64(engine, unit):
    options = engine.weights.options
    return twin.forward(unit, engine.weights.tensors, blocks=options["blocks"], up=options["up"], down=options["down"],
                        input_relu=options["input_relu"])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [SMALL, {**SMALL, "grow": "first", "up": 3, "down": 1}, {
    "base_channels": 40, "blocks": 2, "alpha": 0, "up": 4, "down": 3, "input_relu": True}])
def test_every_engine_is_within_one_grey_level_of_float64(engine, options):
    loaded = load(engine, **options)
    image = stained(37, 50)
    expected = float64(loaded, image / 255.0)
    result = loaded(image)
    assert np.abs(result - np.rint(np.clip(expected, 0, 1) * 255)).max() <= 1
    floats = loaded(image / np.float32(255))
    np.testing.assert_allclose(floats, expected, atol=5e-6 * max(1, np.abs(expected).max()))
    assert loaded.describe().engine == engine and "asked for" in loaded.describe().why


@pytest.mark.parametrize("engine", ENGINES)
def test_single_channels_tensors_and_passes_work_in_every_engine(engine):
    loaded, reference = load(engine), load("torch")
    image = stained(33, 20)
    assert np.abs(loaded(image[:, :, 0]).astype(int) - reference(image[:, :, 0])).max() <= 1
    assert np.abs(loaded(image, passes=2).astype(int) - reference(image, passes=2)).max() <= 1
    batch = torch.rand(3, 3, 9, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loaded(batch), reference(batch), atol=5e-6, rtol=0)
    sixteen = stained(12, 12, np.uint16, 4095)
    assert np.abs(loaded(sixteen, 4095).astype(int) - reference(sixteen, 4095)).max() <= 1


@pytest.mark.parametrize("engine", ENGINES)
def test_four_threads_on_one_engine_give_what_each_gives_alone(engine):
    loaded = load(engine)
    images = [stained(40 + 8 * index, 50, seed=index) for index in range(4)]
    alone = [loaded(image) for image in images]
    wrong = []

    def work(index):
        for _ in range(5):
            if not np.array_equal(loaded(images[index]), alone[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_auto_takes_the_fastest_that_was_measured_and_says_so(monkeypatch):
    """libsuperres, without AVX2 OpenVINO, without that torch."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    if native.winograd() is not None:
        described = load("auto").describe()
        assert described.engine == "native" and "the fastest on the CPU that was measured" in described.why
    monkeypatch.setattr(native, "winograd", lambda: None)
    described = load("auto").describe()
    assert described.engine == "openvino" and "auto takes OpenVINO" in described.why
    assert "libsuperres, which was the fastest on the CPU that was measured, cannot run here" in described.why
    monkeypatch.setattr(engines, "openvino_version", lambda: "")
    described = load("auto").describe()
    assert described.engine == "torch" and "cannot run here" in described.why


def test_auto_says_that_no_engine_was_measured_with_avx_512(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    described = load("auto").describe()
    assert described.engine == "openvino" and "no engine was measured on a CPU with AVX-512" in described.why


@needs_native
def test_auto_runs_weights_that_libsuperres_refuses():
    made = make_weights(**SMALL)
    weights = replace(made, tensors={name: np.where(name == "output.bias", np.float32(7e4), tensor)
                                     for name, tensor in made.tensors.items()})
    with pytest.raises(WeightsError, match="beyond the range of float16"):
        Engine.from_weights(weights, device="cpu", engine="native", catalog=Catalog.builtin())
    assert Engine.from_weights(weights, device="cpu", catalog=Catalog.builtin()).describe().engine == "openvino"


def test_tiles_are_as_large_as_suits_the_engine():
    """OpenVINO's time per pixel does not grow with the tile, PyTorch's does."""
    assert load("torch", tile_px=None).describe().tile_px == 384
    assert load("openvino", tile_px=None).describe().tile_px == 704
    assert not native.available() or load("native", tile_px=None).describe().tile_px == 704
    assert load("openvino", tile_px=100).describe().tile_px == 100


def test_a_model_without_a_native_form_runs_in_torch():
    from superres.builtin.models.bicubic import BicubicModel

    weights = replace(make_weights(**SMALL), plugin="bicubic", options={}, tensors={},
                      geometry=asdict(BicubicModel().geometry))
    described = Engine.from_weights(weights, device="cpu", catalog=Catalog.builtin()).describe()
    assert described.engine == "torch" and "no form" in described.why
    for engine in ("native", "openvino"):
        with pytest.raises(EngineError, match=rf"engine '{engine}' cannot run"):
            Engine.from_weights(weights, device="cpu", engine=engine, catalog=Catalog.builtin())


class ForeignModel(Rivenson2017Model):
    """Calls its network by a name that only its own package knows."""

    name = "foreign"

    def native(self, module):
        return replace(super().native(module), architecture="foreign2026")


class Hooks:
    @hookimpl
    def superres_models(self):
        return [ForeignModel]


def test_auto_runs_a_foreign_architecture_in_torch_and_by_name_it_is_refused():
    catalog = Catalog.empty()
    catalog.register(Hooks())
    weights = replace(make_weights(**SMALL), plugin="foreign")
    loaded = Engine.from_weights(weights, device="cpu", catalog=catalog)
    described = loaded.describe()
    assert described.engine == "torch"
    assert "no other engine can be given the architecture 'foreign2026'" in described.why
    image = stained(20, 30)
    np.testing.assert_array_equal(loaded(image), Engine.from_weights(weights, "cpu", "torch", catalog=catalog)(image))
    for engine in ("native", "openvino"):
        with pytest.raises(EngineError, match=rf"engine '{engine}' cannot run .*'foreign2026'"):
            Engine.from_weights(weights, device="cpu", engine=engine, catalog=catalog)


@needs_native
def test_what_the_native_engine_cannot_do_is_an_error():
    with pytest.raises(EngineError, match="'native' has no precision 'fast'"):
        load("native", precision="fast")
    weights = make_weights(**SMALL)
    weights.tensors["expand.bias"][3] = 1e5
    with pytest.raises(WeightsError, match=r"'expand.bias' holds 100000.*beyond the range of float16"):
        Engine.from_weights(weights, device="cpu", engine="native", catalog=Catalog.builtin())


def test_weights_that_overflow_float16_are_refused_where_float16_computes():
    """On a GPU; here the same check on the same module in float16 on the CPU."""
    weights = make_weights(**SMALL)
    reference = Engine.from_weights(weights, device="cpu", engine="torch", catalog=Catalog.builtin())._runner.network
    like = torch.zeros((), dtype=torch.float16)
    engines.require_float16_suffices(copy.deepcopy(reference).half(), reference, like)
    reference.blocks[0][0].weight.fill_(6e4)
    with pytest.raises(WeightsError, match=r"off on a test frame.*activations leave its range \(65504\)"):
        engines.require_float16_suffices(copy.deepcopy(reference).half(), reference, like)
    hidden = copy.deepcopy(reference)   # as a ReLU that makes NaN zero would
    hidden.blocks[0][0].weight.zero_()
    with pytest.raises(WeightsError, match="off on a test frame"):
        engines.require_float16_suffices(hidden.half(), reference, like)


def test_an_engine_that_is_not_installed_is_an_error_with_the_way_out(monkeypatch):
    monkeypatch.setattr(native, "_load", lambda: (None, "it was not built"))
    with pytest.raises(EngineError, match="the native engine is not here: it was not built"):
        load("native")
    monkeypatch.setattr("superres.inference.openvino_network.openvino_version", lambda: "")
    with pytest.raises(EngineError, match="OpenVINO is not installed") as caught:
        load("openvino")
    assert "superres[openvino]" in caught.value.hint


@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_fast_without_bfloat16_is_exact_and_says_so(monkeypatch, engine):
    """An emulated bfloat16 would be slower than float32: nobody who asks for speed wants it."""
    monkeypatch.setattr(engines, "has_fast_bfloat16", lambda device: False)
    fast, exact = load(engine, precision="fast"), load(engine)
    image = stained(40, 40)
    np.testing.assert_array_equal(fast(image), exact(image))
    described = fast.describe()
    assert described.precision == "fast" and described.engine == exact.describe().engine
    assert "float32, which is the fastest here: this processor has no bfloat16" in str(described)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_fast_with_bfloat16_is_near_exact_and_says_what_it_is(monkeypatch, engine):
    """As on a processor that has it: this one may emulate it in torch, and OpenVINO then takes float32."""
    monkeypatch.setattr(engines, "has_fast_bfloat16", lambda device: True)
    fast, exact = load(engine, precision="fast"), load(engine)
    image = stained(40, 40)
    # bfloat16 has 8 bits of mantissa: 1/256 of white for each rounding, a few of them in a row.
    assert np.abs(fast(image).astype(int) - exact(image)).max() <= 8
    assert fast.describe().arithmetic == "bfloat16" and exact.describe().arithmetic == "float32"
    assert engine == "openvino" or np.abs(fast(image).astype(int) - exact(image)).max() > 0


def test_auto_says_what_was_not_measured_about_bfloat16(monkeypatch):
    monkeypatch.setattr(engines, "has_fast_bfloat16", lambda device: True)
    assert "no engine was measured on a CPU with AVX-512 or bfloat16" in load("auto", precision="fast").describe().why
    assert "not measured" not in load("auto").describe().why
    monkeypatch.setattr(engines, "openvino_version", lambda: "")
    assert load("auto", precision="fast").describe().engine == "torch"


def test_ctrl_c_works_after_engines_came_and_went():
    """Two runtimes of OpenVINO in one process, gone in the order in which they came, made the next Ctrl-C a crash."""
    import subprocess
    import sys
    from pathlib import Path

    code = """
import faulthandler, gc, os, signal, time
faulthandler.enable()       # as pytest does: signal handlers then run on a stack of their own
from tests.engine.specimens import SMALL, make_weights
from superres.catalog import Catalog
from superres.engine import Engine
load = lambda: Engine.from_weights(make_weights(**SMALL), device="cpu", engine="openvino", catalog=Catalog.builtin())
first, second = load(), load()
del first; gc.collect()
del second; gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)          # another thread may receive it, and tell this one later
except KeyboardInterrupt:
    print("interrupted")
"""
    # Processes that a shell starts in the background ignore interrupts, and hand that on: here it would be no crash.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    done = subprocess.run([sys.executable, "-c", listen + code], cwd=Path(__file__).resolve().parents[2],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


@pytest.mark.parametrize(("engine", "device", "tiles"), [
    ("native", "cuda:1", 1), ("torch", "cuda:0", 2), ("openvino", "cpu", 3), ("torch", "cpu", 6), ("native", "cpu", 3)])
def test_the_papers_frame_is_cut_into_as_many_columns_as_suit_the_engine(engine, device, tiles):
    """On a GPU the compiled kernels take it whole: no halo is computed, and nothing is put together."""
    cores = core_ranges(2048, engines.tile_px_for(engine, torch.device(device)), Rivenson2017Model().geometry)
    assert len(cores) == tiles
