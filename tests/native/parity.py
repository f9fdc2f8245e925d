"""Requests to csrc/tests/parity.cpp: forwards through the C API on any device, in a process of their own."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CPU, EMULATED = -1, -2
POISON = 0xA5
DEFAULT, LAYERS, BLOCKS, FOLDED = range(4)
NUMBERS = ("base_channels", "blocks", "alpha", "grow", "up", "down", "input_relu")


@dataclass(frozen=True)
class Outcome:
    """Of one record.  status: an sr_status.  message: of a failure, or of a model what it says of itself.  output: the
    whole output buffer, None for a model."""

    status: int
    message: str
    output: np.ndarray[Any, Any] | None = None


class Service:
    """A driver that stays for many requests: a process of its own would wait for its GPU each time, up to seconds.

    It ends with the first failure, which a GPU may not get over in the same process, and starts again when needed.
    """

    def __init__(self, program: str | Path) -> None:
        self._program = str(program)
        self._process: subprocess.Popen[str] | None = None

    def run(self, request: Path, result: Path) -> None:
        """Raises AssertionError with what the driver said if it fails."""
        if self._process is None:
            self._process = subprocess.Popen([self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.STDOUT, text=True)
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):     # it has ended since; what follows finds that out
            print(request, result, sep="\n", file=process.stdin, flush=True)
        said = []
        for line in process.stdout:
            if line == "done\n":
                return
            said.append(line)
        self.stop()
        raise AssertionError("".join(said) + f"the driver ended with status {process.returncode}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None


@dataclass
class Request:
    """Records in the order in which the process serves them; the last model is the one that forwards use."""

    parts: list[bytes] = field(default_factory=lambda: [b"SRP1"])
    outputs: list[np.dtype[Any] | None] = field(default_factory=list)

    def model(self, hyper: Mapping[str, int | str], tensors: Mapping[str, Any], device: int, threads: int = 1,
              variant: int = DEFAULT) -> None:
        numbers = [int(hyper[key] == "first") if key == "grow" else int(hyper[key]) for key in NUMBERS]
        self.parts.append(b"M" + struct.pack("<3i7ii", device, threads, variant, *numbers, len(tensors)))
        for name, tensor in tensors.items():
            values = np.ascontiguousarray(tensor, dtype="<f4")
            self.parts.append(struct.pack("<i", len(name)) + name.encode()
                              + struct.pack(f"<i{values.ndim}q", values.ndim, *values.shape) + values.tobytes())
        self.outputs.append(None)

    def forward(self, source: np.ndarray[Any, Any], target: np.ndarray[Any, Any], workspace_bytes: int = 0,
                by_graph: bool = False) -> None:
        """source, target: (N, 3, H, W) views of uint8 or float32 buffers; the target tells layout and size only.

        workspace_bytes: by bands in so many; 0 for one forward of the whole.  by_graph: captured, launched over black
        frames, and launched again over these.
        """
        wide = source.dtype.itemsize
        buffer, offset = _buffer(source)
        target_buffer, target_offset = _buffer(target)
        n, _, h, w = source.shape
        self.parts += [
            b"G" if by_graph else b"F", struct.pack("<qi3q", workspace_bytes, source.dtype == np.uint8, n, h, w),
            struct.pack("<q4qq", offset, *(stride // wide for stride in source.strides), buffer.size), buffer.tobytes(),
            struct.pack("<q4qq", target_offset, *(stride // wide for stride in target.strides), target_buffer.size)]
        self.outputs.append(source.dtype)

    def workspace(self, count: int, height: int, width: int) -> None:
        """Ask how many bytes a forward takes; the answer is the outcome's message."""
        self.parts.append(b"W" + struct.pack("<3q", count, height, width))
        self.outputs.append(None)

    def serve(self, driver: Sequence[str | Path] | Service, folder: Path,
              environment: Mapping[str, str] | None = None) -> list[Outcome]:
        """Raises AssertionError with what a sanitizer said if the process fails.

        environment: of a process of its own; a Service keeps the one that it was started in.
        """
        request, result = folder / "request.bin", folder / "result.bin"
        request.write_bytes(b"".join(self.parts))
        if isinstance(driver, Service):
            driver.run(request, result)
            outcomes = list(self._outcomes(result.read_bytes()))
            if any(each.status for each in outcomes):
                driver.stop()
            return outcomes
        done = subprocess.run([*map(str, driver), str(request), str(result)], capture_output=True, text=True,
                              env=None if environment is None else dict(environment), check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return list(self._outcomes(result.read_bytes()))

    def _outcomes(self, content: bytes):
        at = 0
        for dtype in self.outputs:
            status, length = struct.unpack_from("<2i", content, at)
            message, at = content[at + 8:at + 8 + length].decode(), at + 8 + length
            output = None
            if dtype is not None:
                (count,) = struct.unpack_from("<q", content, at)
                output = np.frombuffer(content, dtype=dtype, count=count, offset=at + 8).copy()
                at += 8 + output.nbytes
            yield Outcome(status, message, output)
        assert at == len(content)


def _buffer(view: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """The flat memory that a view lies in, and where in it the view's first element is."""
    base = view
    while isinstance(base.base, np.ndarray):
        base = base.base
    flat = base.reshape(-1) if base.flags.c_contiguous else base.ravel(order="K")
    offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return flat, offset // view.dtype.itemsize
