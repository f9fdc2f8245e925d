"""The command line inside the test's own process, and a small trained network to use it with."""

from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch

from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.io.weights import Weights, write_weights


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def superres(capsys, tmp_path, monkeypatch):
    """Call it with the words of a command line, in the test's own folder: what it writes by default stays out of the
    sources."""
    from superres.cli import app

    monkeypatch.chdir(tmp_path)

    def call(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            app([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(int(left.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def weights_file(tmp_path):
    """A small untrained network of the right geometry."""
    model = Rivenson2017Model(base_channels=4, blocks=1, alpha=2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = model.build().state_dict()
    path = tmp_path / "weights.safetensors"
    write_weights(
        path,
        Weights(
            model.name,
            model.options.model_dump(mode="json"),
            asdict(model.geometry),
            0.185,
            0.074,
            {name: np.asarray(tensor) for name, tensor in state.items()},
        ),
    )
    return path
