#!/usr/bin/env bash
# Everything that a machine with a GPU can say about the compiled kernels, in one call: build for its card alone, parity
# (compute-sanitizer too), and times beside PyTorch, as benchmarks/history/gpu-DATE-COMMIT.json.  Within 8 minutes on 16
# cores.  Needs nvcc, CMake, and a Python with superres[test] and a CUDA build of torch.
#
#   PYTHON=/path/to/python benchmarks/gpu.sh        DRY_RUN=1 benchmarks/gpu.sh     prints the steps only
#
# Not yet run on a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

DRY_RUN=${DRY_RUN:-0}
PYTHON=${PYTHON:-$(if [ -x .venv/bin/python ]; then echo .venv/bin/python; else command -v python3; fi)}
BUILD=build/gpu

fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 2; }
step() {
  printf '\n=== %s (%s)\n' "$1" "$(date +%H:%M:%S)"; shift
  printf '    %s\n' "$*"
  if [ "$DRY_RUN" != 1 ]; then timeout "$LIMIT_S" "$@"; fi
}

if [ "$DRY_RUN" = 1 ]; then
  capability=9.0
else
  command -v nvcc >/dev/null || fail "nvcc is not on PATH" "install the CUDA toolkit, or add its bin folder to PATH"
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) ||
    fail "nvidia-smi finds no GPU" "run this on a machine with an NVIDIA GPU and its driver"
  [ -n "$capability" ] || fail "nvidia-smi finds no GPU" "run this on a machine with an NVIDIA GPU and its driver"
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total --format=csv,noheader
  "$PYTHON" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' ||
    fail "torch of $PYTHON sees no GPU" "set PYTHON to one with a CUDA build of torch"
fi
architecture=${capability/./}
[ "$architecture" = 90 ] && architecture=90a
[ "$architecture" -ge 80 ] 2>/dev/null || [ "$architecture" = 90a ] ||
  fail "this card has compute capability $capability" "the kernels need 8.0 or newer"

commit=$(git rev-parse --short HEAD 2>/dev/null || echo nogit)
result=benchmarks/history/gpu-$(date +%Y-%m-%d)-$commit.json
pybind=$("$PYTHON" -m pybind11 --cmakedir 2>/dev/null || echo missing)
[ "$pybind" != missing ] || [ "$DRY_RUN" = 1 ] || fail "$PYTHON has no pybind11" "$PYTHON -m pip install pybind11"

LIMIT_S=120 step "build for sm_$architecture alone" \
  cmake -S . -B "$BUILD" -DCMAKE_BUILD_TYPE=Release -DSUPERRES_CUDA=ON -DSUPERRES_CUDA_ARCHITECTURES="$architecture-real" \
  -DSUPERRES_PYTHON=ON -Dpybind11_DIR="$pybind" -DPython_EXECUTABLE="$(command -v "$PYTHON" || echo "$PYTHON")"
LIMIT_S=120 step "compile" cmake --build "$BUILD" --parallel
LIMIT_S=10 step "the module beside its Python files" bash -c "cp $BUILD/_core*.so superres/native/"
export SUPERRES_REQUIRE_CUDA=1 PYTHONPATH=. PYTHONUNBUFFERED=1
LIMIT_S=60 step "what is here" "$PYTHON" -m superres doctor
LIMIT_S=180 step "parity on the card, with compute-sanitizer" \
  "$PYTHON" -m pytest -q -m "" tests/native/test_parity.py tests/native/test_gpu.py -k "not emulated" --durations=5
mkdir -p benchmarks/history
LIMIT_S=200 step "times beside PyTorch" \
  "$PYTHON" -m pytest -q -m "" benchmarks/bench_gpu_engines.py --benchmark-enable --benchmark-only \
  --benchmark-json="$result"
printf '\nresult: %s\n' "$result"
