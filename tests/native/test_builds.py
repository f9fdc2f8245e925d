"""libsuperres as others build it: nvcc for every architecture, a program that finds the package, C."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from superres import native
from superres.engine import Engine
from superres.errors import EngineError, WeightsError
from superres.io.weights import read_weights, write_weights

from ..engine.specimens import SMALL, make_weights
from . import builds

QUICK = ("80", "90a")
ALL = ("80", "86", "89", "90a", "120")


def resource_usage(architecture: str, folder: Path) -> list[tuple[int, int, int]]:
    """(registers, bytes of stack, bytes spilled) of each kernel, as ptxas reports them."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        builds.missing("nvcc is not installed")
    said = "".join(
        builds.run(str(nvcc), "-std=c++17", "-O3", f"-gencode=arch=compute_{architecture},code=sm_{architecture}",
                   "-Xptxas", "-v", "-DSUPERRES_CUDA_ARCHITECTURES=\"\"", "-I", builds.ROOT / "csrc" / "include", "-c",
                   builds.ROOT / "csrc" / "src" / source, "-o", folder / "kernels.o")
        for source in ("backend_cuda.cu", "fused_cuda.cu"))
    stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", said)
    registers = re.findall(r"Used (\d+) registers", said)
    # A convolution for each number of tiles, and the output; residual blocks, folded tails, and the border.
    assert len(stacks) == len(registers) == 9 + 12 + 2 + 1, said
    return [(int(used), int(stack), int(stores) + int(loads))
            for used, (stack, stores, loads) in zip(registers, stacks, strict=True)]


def check_no_spills(architecture: str, folder: Path) -> None:
    for registers, stack, spilled in resource_usage(architecture, folder):
        assert (stack, spilled) == (0, 0)
        assert registers <= 255


def test_messages_name_only_what_a_build_can_be_given():
    """CMakeLists.txt sets CMAKE_CUDA_ARCHITECTURES itself: who sets it builds the same thing again."""
    options = set(re.findall(r"^#   (SUPERRES_\w+)[= ]", (builds.ROOT / "CMakeLists.txt").read_text(), re.MULTILINE))
    named = [name for path in sorted((builds.ROOT / "csrc" / "src").iterdir())
             for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', path.read_text())
             for name in re.findall(r"\bCMAKE_\w+|(?<=build with )\w+", text)]
    assert "SUPERRES_CUDA_ARCHITECTURES" in named and set(named) <= options


def test_every_kernel_is_loaded_with_the_model_and_not_by_its_first_launch():
    """CUDA loads a kernel when it is first asked for; a first launch may fail over it where a stream is captured."""
    for name in ("backend_cuda.cu", "fused_cuda.cu"):
        source = (builds.ROOT / "csrc" / "src" / name).read_text()
        kernels = set(re.findall(r"__global__ .*?\b(\w+_kernel)\(", source))
        asked = re.findall(r"(?:cudaFuncGetAttributes\(&attributes, |SR_ALLOW\(.*<const void \*>\()(\w+)", source)
        if "with_kernel(tiles, [&](auto *kernel) {\n        const int bytes" in source:
            asked.append("convolution_kernel")
        assert len(kernels) >= 2 and set(asked) == kernels


@pytest.mark.parametrize("architecture", QUICK)
def test_no_kernel_spills(architecture, tmp_path):
    check_no_spills(architecture, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(set(ALL) - set(QUICK)))
def test_no_kernel_spills_on_the_others(architecture, tmp_path):
    check_no_spills(architecture, tmp_path)


@pytest.mark.slow
def test_a_build_for_all_six_architectures_says_so(tmp_path):
    if shutil.which("nvcc") is None:
        builds.missing("nvcc is not installed")
    folder = builds.build("all", "-DSUPERRES_CUDA=ON", "-DSUPERRES_CUDA_ARCHITECTURES=all",
                          "-DCMAKE_BUILD_TYPE=Release")
    program = tmp_path / "info.c"
    program.write_text('#include <stdio.h>\n#include "superres/superres.h"\n'
                       'int main(void) { printf("%s%d\\n", sr_build_info(), sr_device_count()); return 0; }\n')
    builds.run(builds.tool("cc"), "-std=c99", "-Wall", "-Werror", "-pedantic", "-c", program, "-I",
               builds.ROOT / "csrc" / "include", "-o", tmp_path / "info.o")
    (cudart,) = re.findall(r"^CUDA_cudart_static_LIBRARY:FILEPATH=(.+)$", (folder / "CMakeCache.txt").read_text(),
                           flags=re.MULTILINE)
    builds.run(builds.tool("c++"), tmp_path / "info.o", folder / "libsuperres.a", cudart, "-ldl", "-lrt", "-pthread",
               "-o", tmp_path / "info")
    said = builds.run(tmp_path / "info")
    assert "cuda_architectures=80-real 86-real 89-real 90a-real 120-real 80-virtual\n" in said


def test_where_nothing_may_be_missing_a_missing_tool_is_a_failure(monkeypatch):
    """What SUPERRES_REQUIRE_CUDA=1 promises; without it the tests that need the tool are skipped."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(builds.sys, "executable", "/nowhere/python")
    for required, outcome in ((True, pytest.fail.Exception), (False, pytest.skip.Exception)):
        monkeypatch.setattr(builds, "REQUIRED", required)
        with pytest.raises(outcome, match="cmake is not installed"):
            builds.tool("cmake")
        with pytest.raises(outcome, match="no C\\+\\+ compiler was found"):
            builds.build("never")


def test_one_small_gpu_is_all_that_may_not_be_missing(monkeypatch):
    for required in (True, False):
        monkeypatch.setattr(builds, "REQUIRED", required)
        with pytest.raises(pytest.skip.Exception, match="two are needed; SUPERRES_REQUIRE_CUDA=1 asks for one GPU"):
            builds.beyond("one GPU is here; two are needed")


def test_without_nvcc_auto_builds_without_kernels(tmp_path):
    """The programs of the build are there, nvcc is not."""
    (tmp_path / "bin").mkdir()
    for name in ("cmake", "ninja", "c++", "cc", "ar", "ranlib", "ld", "as", "uname", "sh"):
        (tmp_path / "bin" / name).symlink_to(builds.tool(name))
    environment = {"PATH": str(tmp_path / "bin")}
    done = subprocess.run([builds.tool("cmake"), "-S", builds.ROOT, "-B", tmp_path / "build", "-G", "Ninja",
                           "-DSUPERRES_PYTHON=OFF"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "without kernels for GPUs (SUPERRES_CUDA=AUTO)" in done.stdout
    refused = subprocess.run([builds.tool("cmake"), "-S", builds.ROOT, "-B", tmp_path / "on", "-G", "Ninja",
                              "-DSUPERRES_PYTHON=OFF", "-DSUPERRES_CUDA=ON"], capture_output=True, text=True,
                             check=False, env=environment)
    assert refused.returncode != 0 and "no working nvcc was found" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("cuda", ["AUTO without nvcc", "ON"])
def test_a_program_finds_the_package_of_every_build(tmp_path, project_root, cuda):
    """Compiled and linked against what `cmake --install` left, with the CUDA runtime inside, and run on the CPU."""
    if cuda == "ON":
        if shutil.which("nvcc") is None:
            builds.missing("nvcc is not installed")
        folder = builds.build("portable", "-DSUPERRES_CUDA=ON", "-DCMAKE_BUILD_TYPE=Release")
    else:
        folder = builds.build("no-nvcc", "-DSUPERRES_CUDA=AUTO", "-DCMAKE_CUDA_COMPILER=CMAKE_CUDA_COMPILER-NOTFOUND",
                              "-DCMAKE_BUILD_TYPE=Release")
    builds.run(builds.tool("cmake"), "--install", folder, "--prefix", tmp_path / "tree")
    builds.run(builds.tool("cmake"), "-S", builds.ROOT / "examples" / "cpp", "-B", tmp_path / "example", "-G", "Ninja",
               f"-DCMAKE_MAKE_PROGRAM={builds.tool('ninja')}", f"-DCMAKE_PREFIX_PATH={tmp_path / 'tree'}",
               "-DCMAKE_BUILD_TYPE=Release")
    builds.run(builds.tool("cmake"), "--build", tmp_path / "example")
    cv2.imwrite(str(tmp_path / "in.ppm"), np.full((8, 10, 3), 100, np.uint8))
    weights = project_root / "tests" / "data" / "quickstart-weights.safetensors"
    said = builds.run(tmp_path / "example" / "upscale", weights, tmp_path / "in.ppm", tmp_path / "out.ppm")
    assert "device=cpu" in said and cv2.imread(str(tmp_path / "out.ppm")).shape == (20, 25, 3)
    linked = builds.run("ldd", tmp_path / "example" / "upscale")
    assert not re.search("libcud|libtorch|libpython", linked)
    held = subprocess.run(["grep", "-c", "cudaLaunchKernel", tmp_path / "example" / "upscale"], capture_output=True,
                          text=True, check=False)
    assert (int(held.stdout) > 0) == (cuda == "ON")


def test_cuda_that_is_asked_for_and_missing_is_an_error(tmp_path):
    done = subprocess.run([builds.tool("cmake"), "-S", builds.ROOT, "-B", tmp_path, "-DSUPERRES_PYTHON=OFF",
                           "-DSUPERRES_CUDA=ON", "-DCMAKE_CUDA_COMPILER=/nowhere/nvcc"],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "nvcc" in done.stderr


def test_the_environment_decides_for_pip(tmp_path):
    """A build that the environment asks to be without CUDA is, nvcc or not; a wish that is none is refused."""
    command = [builds.tool("cmake"), "-S", builds.ROOT, "-B", tmp_path, "-DSUPERRES_PYTHON=OFF"]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "SUPERRES_CUDA": "MAYBE"})
    assert done.returncode != 0 and "SUPERRES_CUDA is 'MAYBE'; expected AUTO, ON or OFF" in done.stderr
    shutil.rmtree(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=True,
                          env={**os.environ, "SUPERRES_CUDA": "OFF"})
    assert "without kernels for GPUs (SUPERRES_CUDA=OFF)" in done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A tree that `cmake --install` made, and the example program built against it alone."""
    folder = tmp_path_factory.mktemp("installed")
    builds.run(builds.tool("cmake"), "--install", builds.emulation(), "--prefix", folder / "tree")
    builds.run(builds.tool("cmake"), "-S", builds.ROOT / "examples" / "cpp", "-B", folder / "example", "-G", "Ninja",
               f"-DCMAKE_MAKE_PROGRAM={builds.tool('ninja')}", f"-DCMAKE_PREFIX_PATH={folder / 'tree'}")
    builds.run(builds.tool("cmake"), "--build", folder / "example")
    return folder


@pytest.mark.parametrize("kind", ["colour", "grey", "16 bits"])
def test_the_examples_output_is_the_engines(installed, tmp_path, project_root, rng, kind):
    weights = project_root / "tests" / "data" / "quickstart-weights.safetensors"
    deep = kind == "16 bits"
    image = rng.integers(0, 65536 if deep else 256, (11, 14) if kind == "grey" else (11, 14, 3)).astype(
        np.uint16 if deep else np.uint8)
    source, target = tmp_path / ("in.pgm" if kind == "grey" else "in.ppm"), tmp_path / "out.ppm"
    cv2.imwrite(str(source), image if image.ndim == 2 else image[:, :, ::-1])
    said = builds.run(installed / "example" / "upscale", weights, source, target)
    assert "arithmetic=float32" in said
    written = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    written = written if written.ndim == 2 else written[:, :, ::-1]
    torch_engine = Engine.load(weights, device="cpu", engine="torch")(image)
    # float32 sums in another order: a value at a rounding boundary may fall to the other side.
    difference = np.abs(written.astype(int) - torch_engine)
    assert written.dtype == image.dtype and difference.max() <= 1 and np.mean(difference > 0) < (0.05 if deep else 2e-3)
    if native.available() and kind == "colour":
        np.testing.assert_array_equal(written, Engine.load(weights, device="cpu", engine="native")(image))


@pytest.mark.parametrize("options", [SMALL, {**SMALL, "up": 4, "down": 3}, {**SMALL, "up": 3, "down": 1}])
@pytest.mark.parametrize("shape", [(41, 260, 3), (250, 37, 3), (60, 61)])
def test_the_examples_bands_are_the_whole_frame_bit_for_bit(installed, tmp_path, rng, options, shape):
    weights, source = tmp_path / "w.safetensors", tmp_path / "in.pnm"
    write_weights(weights, make_weights(**options))
    image = rng.integers(0, 256, shape).astype(np.uint8)
    source.write_bytes(b"P%d\n# a comment\n%d %d\n255\n" % (6 if len(shape) == 3 else 5, shape[1], shape[0])
                       + image.tobytes())
    for megabytes in ("1", "256"):
        said = builds.run(installed / "example" / "upscale", weights, source, tmp_path / megabytes, megabytes)
        assert "halo_px=5" in said
    # At 340 bytes a pixel a megabyte holds 55² of them; the frames are longer than that at least one way.
    whole = (tmp_path / "256").read_bytes()
    assert (tmp_path / "1").read_bytes() == whole and not list(tmp_path.glob("*.part"))
    engine = Engine.load(weights, device="cpu", engine="native" if native.available() else "torch")
    expected = engine(image)
    written = np.frombuffer(whole, np.uint8, expected.size, len(whole) - expected.size).reshape(expected.shape)
    assert np.abs(written.astype(int) - expected).max() <= (0 if native.available() and len(shape) == 3 else 1)


# A process inherits the peak of the one that started it: a small Python between keeps that of pytest away.
PEAK_MIB = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status, usage.ru_maxrss / 1024)
"""


def test_the_example_needs_no_more_memory_for_more_of_a_frame(installed, tmp_path):
    """300² px as one tile want 30 MB of workspace for this network; in bands they want the megabytes that are given."""
    weights, source = tmp_path / "w.safetensors", tmp_path / "in.pgm"
    write_weights(weights, make_weights(**SMALL))
    cv2.imwrite(str(source), np.full((300, 300), 100, np.uint8))
    peaks = {}
    for megabytes in ("4", "64"):
        said = builds.run(sys.executable, "-S", "-c", PEAK_MIB, installed / "example" / "upscale", weights, source,
                          tmp_path / "o", megabytes)
        assert said.split()[0] == "0"
        peaks[megabytes] = float(said.split()[1])
    assert peaks["64"] - peaks["4"] > 20, peaks


def test_the_example_says_what_is_wrong_and_leaves_nothing_half_written(installed, tmp_path, project_root):
    upscale = installed / "example" / "upscale"
    weights = project_root / "tests" / "data" / "quickstart-weights.safetensors"
    good, short, wide = tmp_path / "good.ppm", tmp_path / "short.ppm", tmp_path / "wide.ppm"
    good.write_bytes(b"P6 30 30 255\n" + bytes(2700))
    short.write_bytes(good.read_bytes()[:-1])
    wide.write_bytes(b"P6 9999999 30 255\n")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    for arguments, status, words in (
            ((weights, short, tmp_path / "o"), 1, "is truncated"),
            ((weights, wide, tmp_path / "o"), 1, "no PPM or PGM header"),
            ((weights, weights, tmp_path / "o"), 1, "no binary PPM or PGM"),
            ((weights, good, tmp_path / "no" / "o"), 1, "cannot write"),
            ((weights, good, tmp_path / "folder"), 1, "cannot write"),
            ((weights, good, tmp_path / "o", "0"), 2, "usage"), ((weights, good), 2, "usage")):
        done = subprocess.run([upscale, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert sorted(tmp_path.iterdir()) == before


def damaged_files(whole: bytes):
    """What truncation, foreign content and hostile headers look like."""
    length = int.from_bytes(whole[:8], "little")
    header = whole[8:8 + length]
    yield b"", "it has 0 bytes"
    yield whole[:100], "header is longer than the file"
    yield whole[:-4], "lies outside the file"
    yield (2 ** 63).to_bytes(8, "little") + whole[8:], "header is longer than the file"
    yield whole[:8] + b"[" * length + whole[8 + length:], "nested too deeply"
    yield whole[:8] + header[:-1] + b"," + whole[8 + length:], "no JSON at character"
    yield whole[:8] + header.replace(b"__metadata__", b"__metadatA__") + whole[8 + length:], "of another program"
    yield whole[:8] + header.replace(b'"F32"', b'"F64"') + whole[8 + length:], "expected F32"
    yield whole[:8] + header.replace(b'"shape":[75]', b'"shape":[57]') + whole[8 + length:], "does not fit its bytes"
    yield whole[:8] + header.replace(b'rivenson2017', b'rivenson2018') + whole[8 + length:], "'rivenson2018'"
    nan = bytearray(whole)
    nan[-4:] = np.float32(np.nan).tobytes()
    yield bytes(nan), "holds NaN or infinite values"
    flipped = bytearray(whole)
    flipped[-4] ^= 1                                    # the last bit of a mantissa
    yield bytes(flipped), "not those that were written (another SHA-256)"
    yield whole[:8] + header.replace(b"tensors_sha256", b"tensors_sha265") + whole[8 + length:-4] + flipped[-4:], None
    yield whole + b"\0", "1 bytes follow the last tensor"
    described, data = json.loads(header), whole[8 + length:]
    yield rewritten(described, b"\0" * 4 + data, shift=4), "begins at byte 4 of the data; expected 0"
    first = described["input.bias"]["data_offsets"][0]
    twice = {**described, "twice": {"dtype": "F32", "shape": [1], "data_offsets": [first, first + 4]}}
    yield rewritten(twice, data), "where the tensor before it ends"
    more = {**described, "more": {"dtype": "F32", "shape": [2], "data_offsets": [len(data), len(data) + 8]}}
    yield rewritten(more, data + b"\0" * 8), "tensor 'more' is unknown"
    # A short file that asks for much memory, and one that is no longer than its header says but longer than any can be.
    yield rewritten({**described, "huge": {"dtype": "F32", "shape": [2 ** 20, 2 ** 20], "data_offsets": [0, 2 ** 42]}},
                    data), "impossible shape"
    many = b"[" + b"0," * 2 ** 18 + b"0]"
    yield len(many).to_bytes(8, "little") + many, "more values than a weights file has"
    yield (2 ** 24 + 1).to_bytes(8, "little") + b" " * (2 ** 24 + 1), "expected at most 16777216"


def rewritten(described: dict, data: bytes, shift: int = 0) -> bytes:
    """A file with this header, whose tensors lie `shift` bytes further on, and this data."""
    moved = {name: each if name == "__metadata__" else
             {**each, "data_offsets": [offset + shift for offset in each["data_offsets"]]}
             for name, each in described.items()}
    header = json.dumps(moved).encode()
    return len(header).to_bytes(8, "little") + header + data


def test_damaged_weights_are_refused_by_the_c_library(installed, tmp_path, project_root):
    """Sanitizers on: a reader of files must survive every file.  Python's reader refuses the same ones."""
    whole = (project_root / "tests" / "data" / "quickstart-weights.safetensors").read_bytes()
    cv2.imwrite(str(tmp_path / "in.ppm"), np.zeros((2, 2, 3), np.uint8))
    path = tmp_path / "w.safetensors"
    command = [installed / "example" / "upscale", path, tmp_path / "in.ppm", tmp_path / "out.ppm"]
    for content, words in damaged_files(whole):
        assert content != whole
        path.write_bytes(content)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if words is None:   # without a digest, as the first superres wrote it
            assert done.returncode == 0, done.stderr
            read_weights(path)
            continue
        assert done.returncode == 1 and done.stderr.startswith("error: ") and words in done.stderr, (words, done.stderr)
        with pytest.raises((WeightsError, EngineError)):
            Engine.load(path, device="cpu", engine="torch")
    path.unlink()
    with path.open("wb") as sparse:
        sparse.truncate(2 ** 29)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "its size cannot be that of a weights file" in done.stderr
    path.unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no such file" in done.stderr


def test_the_digest_is_the_one_that_python_wrote(installed, tmp_path):
    """SHA-256 pads by up to 64 bytes: networks of several shapes, so that the last block is filled differently."""
    cv2.imwrite(str(tmp_path / "in.ppm"), np.zeros((2, 2, 3), np.uint8))
    for channels in (1, 2, 3, 5, 8, 13):
        path = tmp_path / f"{channels}.safetensors"
        write_weights(path, make_weights(base_channels=3 + channels, blocks=1, alpha=channels))
        builds.run(installed / "example" / "upscale", path, tmp_path / "in.ppm", tmp_path / "out.ppm")


def test_numbers_are_read_with_a_point_in_every_locale(installed, tmp_path, project_root):
    """A German program's own locale would end 5.5 at the point, and find a network with up = 5."""
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], capture_output=True,
                          check=False)
    if made.returncode:
        pytest.skip("localedef has no de_DE to make")
    whole = (project_root / "tests" / "data" / "quickstart-weights.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8:8 + length].replace(b'\\"up\\": 5', b'\\"up\\": 5.5')
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + whole[8 + length:])
    (tmp_path / "load.cpp").write_text(
        '#include <clocale>\n#include <cstdio>\n#include <cstdlib>\n#include "superres/superres.h"\n'
        'int main(int, char **given) {\n'
        '  if (!std::setlocale(LC_ALL, "de_DE.UTF-8") || std::strtod("5.5", nullptr) != 5.0) return 3;\n'
        '  sr_model *model = nullptr; sr_message why;\n'
        '  std::printf("%d %s", sr_model_load(given[1], SR_DEVICE_CPU, 1, &model, &why), why.text);\n'
        '  sr_model_destroy(model);\n  return 0;\n}\n')
    builds.run(builds.tool("c++"), "-std=c++17", tmp_path / "load.cpp", "-I", installed / "tree" / "include",
               builds.emulation() / "libsuperres.a", "-fsanitize=address,undefined", "-pthread",
               "-o", tmp_path / "load")
    said = builds.run(tmp_path / "load", tmp_path / "w.safetensors", env={**os.environ, "LOCPATH": str(tmp_path)})
    assert "'up' is no whole number" in said
