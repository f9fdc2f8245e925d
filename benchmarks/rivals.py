"""The other ways to run the paper's network, each as a function (N, 3, H, W) float32 → (N, 3, H', W') float32."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]


def eager(network: nn.Module) -> Forward:
    return lambda planes: _inferred(network, planes.contiguous())


def channels_last(network: nn.Module) -> Forward:
    network = network.to(memory_format=torch.channels_last)
    return lambda planes: _inferred(network, planes.contiguous(memory_format=torch.channels_last))


def bfloat16(network: nn.Module) -> Forward:
    network = network.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    return lambda planes: _inferred(
        network, planes.to(dtype=torch.bfloat16, memory_format=torch.channels_last)).float()


def compiled(network: nn.Module) -> Forward:
    """torch.compile with its weights frozen, so that oneDNN may pack them in advance."""
    fast = _compiled(network.to(memory_format=torch.channels_last))
    return lambda planes: _inferred(fast, planes.contiguous(memory_format=torch.channels_last))


def compiled_bfloat16(network: nn.Module) -> Forward:
    fast = _compiled(network.to(dtype=torch.bfloat16, memory_format=torch.channels_last))
    return lambda planes: _inferred(
        fast, planes.to(dtype=torch.bfloat16, memory_format=torch.channels_last)).float()


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    import torch._inductor.config as inductor

    # Not as an option of this one call: the process measures, it does not serve.
    inductor.freezing = True
    fast: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
    return fast


def onnxruntime(network: nn.Module) -> Forward:
    import numpy as np
    import onnxruntime as runtime

    exported = io.BytesIO()
    sizes = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    with torch.enable_grad():       # the form of the residual without writes in place
        program = torch.onnx.export(network, (torch.zeros(1, 3, 32, 40),), dynamo=True, verbose=False,
                                    dynamic_shapes=(sizes,))
    assert program is not None
    program.save(exported)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda planes: torch.from_numpy(session.run(None, {name: np.ascontiguousarray(planes.numpy())})[0])


def openvino(precision: str) -> Callable[[nn.Module], Forward]:
    """OpenVINO's own converter and its own settings, whole images."""

    def make(network: nn.Module) -> Forward:
        import openvino as ov

        from superres.inference.openvino_network import _core  # one runtime a process: see there

        with torch.enable_grad():
            traced = torch.jit.trace(network, torch.zeros(1, 3, 32, 40), check_trace=False)
        model = ov.convert_model(traced, example_input=torch.zeros(1, 3, 32, 40))
        model.reshape([-1, 3, -1, -1])
        ready = _core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision,
                                                       "INFERENCE_NUM_THREADS": torch.get_num_threads()})
        return lambda planes: torch.from_numpy(ready([planes.contiguous().numpy()])[0])

    return make


def _inferred(network: Callable[[Tensor], Tensor], planes: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(planes)
