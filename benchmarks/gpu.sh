#!/usr/bin/env bash
# Everything that a machine with a GPU can say about the compiled kernels, in one call: build for its card alone, parity,
# times beside PyTorch, and compute-sanitizer.  Within TOTAL_S seconds, 8 minutes by default, on 16 cores: what says most
# comes first, and what a step leaves of its limit is there for the later ones.  Each step of times leaves a file of its
# own, benchmarks/history/gpu-DATE-COMMIT-STEP.json; how parity went stands in each.  A step that is cut off is interrupted
# as by Ctrl-C, so that what it had measured is written.  Times are measured even where parity fails; the status at the end
# is the first failure's.  torch.compile comes last, since its autotuning may take what is left: cut off, it is no failure.
# Needs nvcc, CMake, ninja, and a Python with a CUDA build of torch and what `missing` names.  The checkout's own native
# module is put back.
#
#   PYTHON=/path/to/python benchmarks/gpu.sh        DRY_RUN=1 benchmarks/gpu.sh     prints the steps only
#   COMMIT=1a2b3c4 benchmarks/gpu.sh                what is measured, where the sources came without their .git
#   WHEELS=/folder benchmarks/gpu.sh                installs what is missing into PYTHON from a folder of wheels, offline
#
# Not yet run on a GPU.
set -euo pipefail

fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 2; }
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DRY_RUN=${DRY_RUN:-0}
WHEELS=${WHEELS:+$(absolute "$WHEELS")}
PYTHON=${PYTHON:-$(if [ -x "$root/.venv/bin/python" ]; then echo "$root/.venv/bin/python"; else echo python3; fi)}
found=$(command -v "$PYTHON") || fail "there is no program '$PYTHON'" "set PYTHON to a Python 3.11 or newer"
PYTHON=$(absolute "$found")
# compute-sanitizer, and sometimes nvcc, lie beside the toolkit only.
PATH=$PATH:$(dirname "$PYTHON"):/usr/local/cuda/bin
cd "$root"
BUILD=build/gpu
FORMER=$BUILD/former
TOTAL_S=${TOTAL_S:-480}

# Wheels that the steps need and this Python does not have, and tools that are not on PATH.
missing() {
  "$PYTHON" - <<'EOF'
from importlib.metadata import version
from importlib.util import find_spec
wheels = {"cv2": "opencv-contrib-python", "pytest_benchmark": "pytest-benchmark"}
needed = "torch triton numpy scipy cv2 pluggy pydantic safetensors hypothesis pybind11 pytest pytest_benchmark"
print(*(wheels.get(name, name) for name in needed.split() if find_spec(name) is None))
if find_spec("pybind11") and int(version("pybind11").split(".")[0]) < 3:
    print("pybind11~=3.0")      # as CMakeLists.txt asks for
EOF
  for program in cmake ninja; do command -v "$program" >/dev/null || echo "$program"; done
}
restore() {
  rm -f superres/native/_core*.so
  for module in "$FORMER"/*; do if [ -f "$module" ]; then mv "$module" superres/native/; fi; done
}
step() {
  local left=$((TOTAL_S - SECONDS))
  printf '\n=== %s (%s)\n' "$1" "$(date +%H:%M:%S)"; shift
  printf '    %s\n' "$*"
  [ "$DRY_RUN" != 1 ] || return 0
  [ "$left" -ge 10 ] || { echo "no time is left of $TOTAL_S s"; return 124; }
  # In the foreground only the step's own program is told, and once: a second interrupt would stop pytest's writing.
  timeout --foreground --signal=INT --kill-after=20 "$((LIMIT_S < left ? LIMIT_S : left))" "$@"
}

if [ "$DRY_RUN" = 1 ]; then
  capability=9.0
else
  command -v nvcc >/dev/null || fail "nvcc is not on PATH" "install the CUDA toolkit, or add its bin folder to PATH"
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) ||
    fail "nvidia-smi finds no GPU" "run this on a machine with an NVIDIA GPU and its driver"
  [ -n "$capability" ] || fail "nvidia-smi finds no GPU" "run this on a machine with an NVIDIA GPU and its driver"
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total,persistence_mode --format=csv,noheader
  # Where the driver does not keep a card awake that nobody uses, each process would wait seconds for it.
  for card in /dev/nvidia[0-9]*; do
    if { exec 9<"$card"; } 2>/dev/null; then break; fi
  done
  lacking=$(missing | xargs)
  if [ -n "$lacking" ] && [ -n "$WHEELS" ]; then
    # shellcheck disable=SC2086
    "$PYTHON" -m pip install --no-index --find-links "$WHEELS" $lacking ||
      fail "$WHEELS does not hold all of: $lacking" "pip download them on a machine with a network"
    lacking=$(missing | xargs)
  fi
  [ -z "$lacking" ] || fail "$PYTHON lacks: $lacking" \
    "carry their wheels here in a folder, then WHEELS=FOLDER $0 (or $PYTHON -m pip install --no-index --find-links FOLDER $lacking)"
  "$PYTHON" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' ||
    fail "torch of $PYTHON sees no GPU" "set PYTHON to one with a CUDA build of torch"
fi
architecture=${capability/./}
[ "$architecture" = 90 ] && architecture=90a
[ "$architecture" -ge 80 ] 2>/dev/null || [ "$architecture" = 90a ] ||
  fail "this card has compute capability $capability" "the kernels need 8.0 or newer"

commit=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo nogit)}
result=benchmarks/history/gpu-$(date +%Y-%m-%d)-$commit
pybind=$("$PYTHON" -m pybind11 --cmakedir 2>/dev/null || echo missing)
[ "$pybind" != missing ] || [ "$DRY_RUN" = 1 ] || fail "pybind11 of $PYTHON does not run" "reinstall pybind11"

if [ "$DRY_RUN" != 1 ]; then
  mkdir -p "$FORMER"
  # CMake refuses a folder that was made for another program than ninja.
  grep -qs '^CMAKE_GENERATOR:INTERNAL=Ninja$' "$BUILD/CMakeCache.txt" || rm -rf "$BUILD/CMakeCache.txt" "$BUILD/CMakeFiles"
  for module in superres/native/_core*.so; do
    name=$(basename "$module")
    # After a run that was killed the checkout's own module is still in $FORMER, and that run's lies in its place.
    if [ -f "$FORMER/$name" ] && cmp -s "$module" "$BUILD/$name"; then continue; fi
    if [ -f "$module" ]; then mv -f "$module" "$FORMER"/; fi
  done
  trap restore EXIT
fi
LIMIT_S=60 step "configure for sm_$architecture alone" \
  cmake -G Ninja -S . -B "$BUILD" -DCMAKE_BUILD_TYPE=Release -DSUPERRES_CUDA=ON -DSUPERRES_CUDA_ARCHITECTURES="$architecture-real" \
  -DSUPERRES_PYTHON=ON -DSUPERRES_TESTS=ON -Dpybind11_DIR="$pybind" -DPython_EXECUTABLE="$PYTHON"
LIMIT_S=90 step "compile" cmake --build "$BUILD" --parallel
LIMIT_S=5 step "the module beside its Python files" bash -c "cp $BUILD/_core*.so superres/native/"
# What the caller put on PYTHONPATH stays: wheels of a folder, for instance.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export SUPERRES_REQUIRE_CUDA=1 PYTHONUNBUFFERED=1 SUPERRES_GPU_BUILD=$root/$BUILD SUPERRES_COMMIT=$commit
status=0
failed() { printf '%s FAILED (%s)\n' "$1" "$2"; [ "$status" != 0 ] || status=$2; }
parity=passed
LIMIT_S=120 step "parity on the card" \
  "$PYTHON" -m pytest -q -m "" tests/native/test_parity.py tests/native/test_fused.py tests/native/test_graph.py \
  tests/native/test_gpu.py -k "not emulated and not compute_sanitizer" --durations=5 ||
  { parity="failed ($?)"; failed "PARITY" "${parity//[^0-9]/}"
    echo "the times below are those of kernels that are not proven here"; }
export SUPERRES_PARITY=$parity
mkdir -p benchmarks/history
times() { # name, limit, what pytest selects
  LIMIT_S=$2 step "times beside PyTorch: $1" \
    "$PYTHON" -m pytest -q -m "" benchmarks/bench_gpu_engines.py --benchmark-enable --benchmark-only \
    --benchmark-json="$result-$1.json" -k "kernels_beside_pytorch and $3" || return $?
}
compiled_times() {
  times "compile-$1" 150 "$1 and compile" || {
    local code=$?
    case $code in
      124 | 137) echo "torch.compile was cut off at $1²: there is no time beside it" ;;
      *) failed "TIMES: compile-$1" "$code" ;;
    esac
  }
}
times 2048 90 "2048 and not compile" || failed "TIMES: 2048" $?
times 818 60 "818 and not compile" || failed "TIMES: 818" $?
times 160 60 "160 and not compile" || failed "TIMES: 160" $?
LIMIT_S=60 step "a stream and captured graphs" \
  "$PYTHON" -m pytest -q -m "" benchmarks/bench_gpu_stream.py --benchmark-enable --benchmark-only \
  --benchmark-json="$result-stream.json" || failed "TIMES: stream" $?
LIMIT_S=90 step "compute-sanitizer" \
  "$PYTHON" -m pytest -q -m "" tests/native/test_parity.py -k "compute_sanitizer" --durations=6 ||
  failed "COMPUTE-SANITIZER" $?
for side in 2048 818 160; do compiled_times "$side"; done
printf '\nresults: %s-*.json, parity: %s\n' "$result" "$parity"
[ "$status" = 0 ] || printf 'failed with status %s: do not commit the results as measurements of sound kernels\n' "$status"
exit "$status"
