"""docs/performance.md: its tables are those of the committed measurements, and what was not measured is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import bench_cpu_engines, engine_tables, prediction_tables
from superres.builtin.models.rivenson2017 import Rivenson2017Model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def a_run(folder, name, day, facts, file="bench_cpu_engines.py", commit="abcdef012", hour=0):
    content = {"datetime": f"2026-01-{day:02d}T{hour:02d}:00:00", "commit_info": {"id": commit, "dirty": False},
               "machine_info": {}, "benchmarks": [{"fullname": f"benchmarks/{file}::{name}", "extra_info": facts}]}
    (folder / f"{day}-{len(list(folder.iterdir()))}.json").write_text(json.dumps(content))


def times(side: int, engine_s: float, reference_s: float) -> dict:
    ratio = engine_s / reference_s
    return {"side_px": side, "ratio": ratio, "load": [1.0, 2.0], "quality": {
        "engine_s": engine_s, "reference_s": reference_s, "least_ratio": ratio - 0.1, "greatest_ratio": ratio + 0.1,
        "processor_ratio": ratio + 0.01, "rounds": 5}}


def test_the_tables_are_those_of_the_committed_measurements():
    assert engine_tables.filled(PAGE, engine_tables.records()) == PAGE, "run python -m benchmarks.engine_tables"
    assert re.findall(r"<!-- (\w+) -->", PAGE) == [name for table in engine_tables.TABLES for name in (table, "end")]


def test_a_record_shows_in_its_table_and_a_newer_or_larger_one_in_its_place(tmp_path):
    a_run(tmp_path, "test_exact[channels last]", 1, times(2048, 10.0, 20.0))
    a_run(tmp_path, "test_exact[channels last]", 3, times(2048, 12.0, 16.0), commit="1234567890", hour=9)
    a_run(tmp_path, "test_exact[channels last]", 3, times(2048, 11.0, 16.0), hour=8)
    a_run(tmp_path, "test_exact[channels last]", 4, times(1024, 1.0, 1.0))
    found = engine_tables.records(tmp_path)
    assert engine_tables.rivals(found).splitlines()[2:] == [
        "| exact | channels last | 2048² | 12.0 | 16.0 | 0.75 | 0.65 – 0.85 | 0.76 | 5, 2 | 1234567 |",
        "| fast | not yet measured | – | – | – | – | – | – | – | – |"]
    assert "| 2048² | 1.193 | 0.695 | 12.00 | not yet measured on a GPU |" in engine_tables.paper(found)
    assert "| 160² | 0.038 | 0.037 | not yet measured | not yet measured on a GPU |" in engine_tables.paper(found)


def test_a_gpus_times_take_the_place_of_what_is_missing(tmp_path):
    facts = {"side_px": 818, "card": "H200", "parity": "passed", "reference": "PyTorch eager tf32", "ratio": 0.5,
             "quality": {"kernels_ms": 1.0, "reference_ms": 2.0}}
    a_run(tmp_path, "test_kernels_beside_pytorch[eager tf32-818]", 2, facts, "bench_gpu_engines.py")
    found = engine_tables.records(tmp_path)
    assert "| H200 | 818² | PyTorch eager tf32 | 1.00 | 2.00 | 0.50 |" in engine_tables.gpu(found)
    assert "1.00 ms (H200)" in engine_tables.paper(found)
    a_run(tmp_path, "test_kernels_beside_pytorch[eager tf32-818]", 3, {**facts, "parity": "failed (3)"},
          "bench_gpu_engines.py")
    assert "H200" not in engine_tables.gpu(engine_tables.records(tmp_path)), "times of kernels that are not proven"


def test_the_command_is_that_of_the_benchmark_and_leaves_no_rival_out():
    command = re.search(r"SUPERRES_BENCH_SIDE=2048 make bench .*\"", str(bench_cpu_engines.__doc__))[0]
    assert f"`{command}`" in PAGE and "-m ''" in command, "-m '' takes in what is marked slow"


def test_what_was_never_run_on_a_gpu_is_said():
    measured = any(each.file == "bench_gpu_engines.py" for each in engine_tables.records())
    assert measured or "The kernels are not yet measured on a GPU" in PAGE


def test_links_of_the_page_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in target]
    assert targets and all((ROOT / "docs" / target).exists() for target in targets)


def test_variants_are_what_a_card_said_and_only_where_they_are_proven(tmp_path):
    facts = {"side_px": 2048, "card": "NVIDIA H200", "parity": "failed (1)", "ratio": 0.5,
             "variants_ms": {"layers": 6.5, "blocks": 5.84, "folded": 4.9}}
    a_run(tmp_path, "test_kernels_beside_pytorch[eager tf32-2048]", 2, facts, "bench_gpu_engines.py")
    assert "never run on a card" in prediction_tables.variants(engine_tables.records(tmp_path))
    a_run(tmp_path, "test_kernels_beside_pytorch[eager tf32-2048]", 3, {**facts, "parity": "passed"},
          "bench_gpu_engines.py")
    found = engine_tables.records(tmp_path)
    assert "| `folded` | proven on NVIDIA H200 | 4.90 (NVIDIA H200) |" in prediction_tables.variants(found)
    became = prediction_tables.predictions(found)
    assert "| H200, 2048², `layers` | 5.9 ms | 6.5 ms | worse |" in became
    assert "| H200, 2048², `blocks` | 5.8 ms | 5.8 ms | right |" in became
    assert "| H200, 2048², `folded` | 5.4 ms | 4.9 ms | better |" in became
    assert "| H200, 818², `folded` | at most 1.30 ms | not yet measured | open |" in became


def test_one_cards_times_take_nothing_from_anothers(tmp_path):
    """A full run on one kind of machine, and a short one a day later on another."""
    name, file = "test_kernels_beside_pytorch[eager tf32-2048]", "bench_gpu_engines.py"
    for day, card, ms in ((2, "NVIDIA H200", 5.0), (3, "NVIDIA H100 80GB HBM3", 7.0)):
        a_run(tmp_path, name, day, {
            "side_px": 2048, "card": card, "parity": "passed", "reference": "PyTorch eager tf32", "ratio": ms / 10,
            "variants_ms": {"layers": ms + 2, "blocks": ms + 1, "folded": ms},
            "quality": {"kernels_ms": ms, "reference_ms": 10.0}}, file)
    found = engine_tables.records(tmp_path)
    assert {each.machine_card: each.kernels_ms for each in engine_tables.gpu_times(found)} == {
        "NVIDIA H200": 5.0, "NVIDIA H100 80GB HBM3": 7.0}
    assert "| 5.00 ms (NVIDIA H200), 7.00 ms (NVIDIA H100 80GB HBM3) |" in engine_tables.paper(found)
    assert "| 5.00 (NVIDIA H200), 7.00 (NVIDIA H100 80GB HBM3) |" in prediction_tables.variants(found)
    assert "| H200, 2048², `folded` | 5.4 ms | 5.0 ms | better |" in prediction_tables.predictions(found)


def test_a_stream_and_captured_graphs_of_a_card_are_on_the_page(tmp_path):
    assert "not yet measured on a GPU" in engine_tables.gpu_stream([])
    facts = {"side_px": 2048, "card": "NVIDIA H200", "parity": "passed", "reference": "the longest of its parts",
             "ratio": 1.1, "quality": {"stream_ms": 6.2}}
    a_run(tmp_path, "test_a_stream_beside_its_parts", 2, facts, "bench_gpu_stream.py")
    a_run(tmp_path, "test_a_captured_graph_beside_its_launches[160]", 2, {
        **facts, "side_px": 160, "reference": "its launches", "ratio": 0.5, "quality": {"captured_ms": 0.07}},
        "bench_gpu_stream.py")
    a_run(tmp_path, "test_a_captured_graph_beside_its_launches[818]", 2, {
        **facts, "side_px": 818, "parity": "failed (1)", "quality": {"captured_ms": 1.3}}, "bench_gpu_stream.py")
    found = engine_tables.records(tmp_path)
    assert engine_tables.gpu_stream(found).splitlines()[2:] == [
        "| NVIDIA H200 | a stream of frames, for each | 2048² | 6.20 | the longest of its parts | 1.10 | abcdef0 |",
        "| NVIDIA H200 | a captured graph | 160² | 0.07 | its launches | 0.50 | abcdef0 |"]
    became = prediction_tables.predictions(found)
    assert "| H200, 2048², a stream / the longest of its parts | at most 1.15 | 1.10 | right |" in became
    assert "| H200, 160², a captured graph / its launches | 0.50 | 0.50 | right |" in became
    assert "| H200, 818², a captured graph / its launches | 1.00 | not yet measured | open |" in became


def test_the_floor_is_the_arithmetic_of_the_paper():
    """Counted by hand for the paper's channels: 203,672 multiply-adds, of which the last two layers have 42,356; folded
    they have 5·5·62·75/4."""
    model = Rivenson2017Model()
    assert prediction_tables.multiply_adds(model) == pytest.approx(203_672, abs=1)
    assert prediction_tables.multiply_adds(model, folded=True) == pytest.approx(203_672 - 42_356 + 29_062.5, abs=1)


def test_what_is_processor_time_says_so(tmp_path):
    facts = {"ratio": 0.9, "side_px": 64, "clock": "process_time"}
    a_run(tmp_path, "test_folded_tail_beside_the_network_as_built", 2, facts, "bench_inference.py")
    a_run(tmp_path, "test_folded_tail_beside_the_network_as_built", 3, {**facts, "ratio": 0.8, "side_px": 32},
          "bench_inference.py")
    became = prediction_tables.predictions(engine_tables.records(tmp_path))
    assert "| CPU, the last two layers folded / not | 0.92 | 0.90 (64², processor time) | better |" in became
