"""The compiled convolutions work on threads that the process has already: torch's would spin beside new ones."""

import os
import resource
import subprocess
import sys

import pytest

from superres import native

pytestmark = pytest.mark.skipif(native.winograd() is None, reason=native.reason_unavailable() or
                                "this processor, or the build, has no AVX2 convolutions")

CONVOLVE = """
import sys
import numpy as np
from superres import native
core = native.winograd()
rng = np.random.default_rng(7)
x, w = (rng.random(shape, dtype=np.float32) for shape in ((3, 21, 18, 20), (24, 20, 3, 3)))
y, gw = np.empty((3, 21, 18, 24), np.float32), np.empty_like(w)
strides = [each // 4 for each in w.strides]
sizes = (3, 21, 18, 20, 24)
def convolve():
    core.winograd_forward(sizes, x.ctypes.data, w.ctypes.data, strides, 0, y.ctypes.data, 3)
    core.winograd_weight_gradient(sizes, x.ctypes.data, y.ctypes.data, gw.ctypes.data, strides, 3)
    return y.tobytes() + gw.tobytes()
"""


def run(program, *arguments, **options):
    outcome = subprocess.run([sys.executable, "-c", CONVOLVE + program, *arguments], capture_output=True, text=True,
                             check=False, **options)
    assert outcome.returncode == 0, outcome.stderr


def no_threads():
    # A new thread gets a stack of this size, for which there is no room.
    resource.setrlimit(resource.RLIMIT_STACK, (16 << 30, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, resource.RLIM_INFINITY))


def test_without_torch_the_threads_are_its_own_and_with_it_torchs_and_the_bits_are_the_same():
    run("""
assert "torch" not in sys.modules
assert core.winograd_team() == "own"
alone = convolve()
import torch
assert core.winograd_team() == "OpenMP"
assert convolve() == alone
""")


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads by /proc")
def test_beside_torch_no_thread_is_added():
    # The workers of torch's team wait for work as long as they live; one of ours would be a fifth of them.
    run("""
import os, threading
import torch
torch.set_num_threads(3)
torch.ones(4_000_000).sum()
before = set(os.listdir("/proc/self/task"))
seen, done = set(), False
def watch():
    while not done:
        seen.update(os.listdir("/proc/self/task"))
watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(50):
    convolve()
done = True
watcher.join()
assert len(seen - before) == 1, sorted(seen - before)
""")


@pytest.mark.skipif(sys.platform != "linux", reason="makes threads impossible by limits that Linux obeys")
def test_in_a_process_that_may_start_no_thread_the_calling_one_does_all_parts(tmp_path):
    save = "open(sys.argv[1], 'wb').write(convolve())"
    run(save, str(tmp_path / "free"))
    run(f"""
import threading
try:
    threading.Thread(target=print).start()
except RuntimeError:
    {save}
else:
    raise SystemExit("threads are still to be had")
""", str(tmp_path / "limited"), preexec_fn=no_threads, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    assert (tmp_path / "limited").read_bytes() == (tmp_path / "free").read_bytes()
