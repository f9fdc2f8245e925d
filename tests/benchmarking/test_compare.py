"""The comparison of benchmark runs: judged by ratios and memory, deaf to seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import compare

NAME = "benchmarks/bench_resample.py::test_bicubic"


def write_run(folder: Path, day: int, ratio: float, *, speed: float = 10.0, peak_mib: float | None = 40.0,
              processor: str = "Zen 4") -> Path:
    path = folder / f"2026-01-{day:02d}-abc.json"
    facts = {"reference": "OpenCV", "ratio": ratio, "megapixels_per_s": speed, "peak_mib": peak_mib}
    path.write_text(json.dumps({"datetime": f"2026-01-{day:02d}T00:00:00+00:00",
                                "machine_info": {"cpu": {"brand_raw": processor}},
                                "benchmarks": [{"fullname": NAME, "extra_info": facts}]}))
    return path


def judge(folder: Path, new: Path, factor: float = 1.3) -> int:
    return compare.main([str(new), "--history", str(folder), "--factor", str(factor)])


def test_a_first_measurement_has_nothing_to_be_worse_than(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(tmp_path, write_run(tmp_path, 1, 2.0)) == 0
    assert "first measurement" in capsys.readouterr().out


def test_a_worse_ratio_fails_and_names_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, 1, 2.0)
    assert judge(tmp_path, write_run(tmp_path, 2, 2.7)) == 1
    complaint = capsys.readouterr().err
    assert NAME in complaint
    assert "2.70" in complaint
    assert "2.00" in complaint


def test_a_slower_machine_with_the_same_ratio_passes(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 2.0, speed=100.0)
    assert judge(tmp_path, write_run(tmp_path, 2, 2.0, speed=1.0)) == 0


def test_the_factor_decides(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 2.0)
    new = write_run(tmp_path, 2, 2.5)
    assert judge(tmp_path, new, factor=1.3) == 0
    assert judge(tmp_path, new, factor=1.2) == 1


def test_one_disturbed_run_does_not_move_the_baseline(tmp_path: Path) -> None:
    for day, ratio in enumerate((2.0, 2.1, 9.0, 1.9, 2.0), start=1):
        write_run(tmp_path, day, ratio)
    assert judge(tmp_path, write_run(tmp_path, 6, 3.0)) == 1


def test_runs_of_the_same_processor_come_first(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 4.0)
    write_run(tmp_path, 2, 1.0, processor="another")
    assert judge(tmp_path, write_run(tmp_path, 3, 4.0)) == 0
    assert judge(tmp_path, write_run(tmp_path, 4, 4.0, processor="another")) == 1
    # never seen before: all runs count, and their median here is 4
    assert judge(tmp_path, write_run(tmp_path, 5, 6.0, processor="a third")) == 1


def test_later_runs_are_no_baseline(tmp_path: Path) -> None:
    write_run(tmp_path, 9, 1.0)
    assert judge(tmp_path, write_run(tmp_path, 2, 2.0)) == 0


@pytest.mark.parametrize(("peak_mib", "status"), [(55.0, 0), (80.0, 1), (None, 0)])
def test_memory_may_not_grow_by_the_factor(tmp_path: Path, peak_mib: float | None, status: int) -> None:
    write_run(tmp_path, 1, 2.0, peak_mib=40.0)
    assert judge(tmp_path, write_run(tmp_path, 2, 2.0, peak_mib=peak_mib)) == status


def test_a_file_that_is_no_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text('{"benchmarks": [{}]}')
    with pytest.raises(SystemExit, match=r"notes\.json' is no result of `make bench`"):
        judge(tmp_path, path)
