"""The weights file: one safetensors file with everything needed to rebuild, feed and judge a network.  Never
unpickles."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from superres.errors import WeightsError
from superres.io.atomic import write_bytes
from superres.optics import Optics

FORMAT = "superres-weights"
FORMAT_VERSION = 1
STAINS_VERSION = 1
"""Of what `stains` holds.  Files without it, or with that of another version, work but cannot judge a stain:
`examples/weights/stains.py` writes it into them."""
_METADATA_KEY = "superres"


@dataclass(frozen=True)
class Stain:
    """The colours of one specimen, as absorbed light.

    mean (3,), covariance (3, 3): over pixels, in the coordinates of superres.training.stain: share of red and of blue
    in the total optical density, natural logarithm of that total.
    """

    specimen: str
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class WorstInputs:
    """The most that training inputs had of what spoils images.

    noise: standard deviation of what their colours do not share at the finest frequencies, in units of white
    (superres.training.inputs).  blocks: contrast of the borders of JPEG's blocks (superres.optics.blocks).
    """

    noise: float
    blocks: float


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained network as data.

    plugin, options: name and full options of the model plug-in.  geometry: up, down, channels, halo_px and
    origin_multiple, as `dataclasses.asdict` of the model's Geometry gives them.
    coarse_pixel_size_um, fine_pixel_size_um: object-plane pitch of the training inputs and truths.  coarse, fine: their
    optics where known.  stains: of the training inputs, one for each specimen, by which a later image can be told to
    be of another stain; empty where nobody knows.  worst_inputs: of the same inputs, by which a later image can be told
    to be noisier or more compressed; None where nobody knows.
    provenance: JSON values (versions, seed, summary of the training data, the sentence on simulation).
    tensors: name → float array.
    """

    plugin: str
    options: Mapping[str, Any]
    geometry: Mapping[str, int | None]
    coarse_pixel_size_um: float
    fine_pixel_size_um: float
    tensors: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    coarse: Optics | None = None
    fine: Optics | None = None
    stains: tuple[Stain, ...] = ()
    worst_inputs: WorstInputs | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of values in all tensors."""
        return sum(int(tensor.size) for tensor in self.tensors.values())


def write_weights(path: Path, weights: Weights) -> None:
    """Write the file at once or not at all.

    The same weights give the same bytes.  Raises WeightsError for NaN or infinity in a tensor, StorageError.
    """
    _require_finite(weights.tensors, str(path))
    record = {
        "format": FORMAT, "version": FORMAT_VERSION, "plugin": weights.plugin, "options": dict(weights.options),
        "geometry": dict(weights.geometry), "coarse_pixel_size_um": weights.coarse_pixel_size_um,
        "fine_pixel_size_um": weights.fine_pixel_size_um,
        "coarse": asdict(weights.coarse) if weights.coarse else None,
        "fine": asdict(weights.fine) if weights.fine else None,
        "stains": {"version": STAINS_VERSION, "specimens": [asdict(stain) for stain in weights.stains]},
        "worst_inputs": asdict(weights.worst_inputs) if weights.worst_inputs else None,
        "provenance": dict(weights.provenance), "tensors_sha256": tensors_digest(weights.tensors),
    }
    metadata = {_METADATA_KEY: json.dumps(record, ensure_ascii=False, allow_nan=False, sort_keys=True)}
    # Not ascontiguousarray, which turns a scalar (a batch counter) into a vector.
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in weights.tensors.items()}
    write_bytes(path, save_tensors(tensors, metadata))


def read_weights(path: Path) -> Weights:
    """Read and check a weights file.

    Raises WeightsError if it is missing, truncated or corrupt, of another program, of a newer format, incomplete, or
    holds NaN or infinity (the tensor is named).
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"no weights file '{path}'",
                           hint="train one with `superres run PIPELINE`, or give its path") from None
    except OSError as error:
        raise WeightsError(f"cannot read weights '{path}': {error.strerror or error}", hint="check the path") from error
    record = _record(read_safetensors_metadata(content, str(path)), str(path))
    tensors = parse_safetensors(content, str(path))
    _require_finite(tensors, str(path))
    # Files of superres 0.1 before digests have none.
    if record.get("tensors_sha256", digest := tensors_digest(tensors)) != digest:
        raise _damaged(str(path), "its tensors are not those that were written (another SHA-256)")
    try:
        return Weights(
            plugin=str(record["plugin"]), options=dict(record["options"]), geometry=dict(record["geometry"]),
            coarse_pixel_size_um=float(record["coarse_pixel_size_um"]),
            fine_pixel_size_um=float(record["fine_pixel_size_um"]), tensors=tensors,
            coarse=Optics(**record["coarse"]) if record["coarse"] else None,
            fine=Optics(**record["fine"]) if record["fine"] else None,
            stains=_stains(record.get("stains", {})),
            worst_inputs=_worst_inputs(record.get("worst_inputs")),
            provenance=dict(record["provenance"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"the metadata of '{path}' are incomplete: {type(error).__name__}: {error}",
                           hint="the file was changed after superres wrote it; train or fetch it again") from error


def _worst_inputs(found: Mapping[str, Any] | None) -> WorstInputs | None:
    """None for files of before it was kept."""
    return None if found is None else WorstInputs(float(found["noise"]), float(found["blocks"]))


def tensors_digest(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and values, in the order of the names; hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name], order="C")
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def parse_safetensors(content: bytes, label: str) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a safetensors file.  Raises WeightsError for a truncated or damaged one."""
    try:
        tensors: dict[str, npt.NDArray[Any]] = load_tensors(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise _damaged(label, str(error)) from error
    return tensors


def read_safetensors_metadata(content: bytes, label: str) -> dict[str, str]:
    """The metadata strings of a safetensors file: 8 bytes of header length, then the header as JSON.

    Raises WeightsError for something that is no such file.
    """
    if len(content) < 8:
        raise _damaged(label, f"it has {len(content)} bytes")
    if content[8:9] != b"{":    # where every safetensors file has it
        raise WeightsError(f"'{label}' is not a weights file", hint="give the weights.safetensors of a superres run")
    (length,) = struct.unpack("<Q", content[:8])
    if length > len(content) - 8:
        raise _damaged(label, "its header is longer than the file")
    try:
        header = json.loads(content[8:8 + length])
        metadata = header.get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(label, "its header is no JSON table") from error


def _record(metadata: Mapping[str, str], label: str) -> dict[str, Any]:
    foreign = WeightsError(f"'{label}' is a safetensors file of another program: it has no superres metadata",
                           hint="give the weights.safetensors of a superres run")
    if _METADATA_KEY not in metadata:
        raise foreign
    try:
        record: dict[str, Any] = json.loads(metadata[_METADATA_KEY])
        kind, version = record["format"], int(record["version"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise foreign from None
    if kind != FORMAT:
        raise WeightsError(f"'{label}' is a {kind} file; expected {FORMAT}",
                           hint="give the weights.safetensors of a superres run")
    if version > FORMAT_VERSION:
        raise WeightsError(f"'{label}' has format version {version}; this superres reads up to {FORMAT_VERSION}",
                           hint="install a newer superres")
    return record


def _stains(record: Mapping[str, Any]) -> tuple[Stain, ...]:
    if record.get("version") != STAINS_VERSION:
        return ()
    return tuple(_stain(each) for each in record["specimens"])


def _stain(record: Mapping[str, Any]) -> Stain:
    mean = tuple(float(value) for value in record["mean"])
    covariance = tuple(tuple(float(value) for value in row) for row in record["covariance"])
    if np.shape(mean) != (3,) or np.shape(covariance) != (3, 3) or not np.isfinite([mean, *covariance]).all():
        raise ValueError(f"stain of '{record['specimen']}' is not three finite numbers and their covariance")
    return Stain(str(record["specimen"]), mean, covariance)


def _require_finite(tensors: Mapping[str, npt.NDArray[Any]], label: str) -> None:
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise WeightsError(f"tensor '{name}' of '{label}' holds NaN or infinite values",
                               hint="its training diverged; train again with a lower learning_rate")


def _damaged(label: str, reason: str) -> WeightsError:
    return WeightsError(f"'{label}' is truncated or damaged: {reason}", hint="copy or train it again")
