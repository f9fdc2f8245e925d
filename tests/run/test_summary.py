"""What the command says at the end of a registration, from its records."""

from __future__ import annotations

import json
from pathlib import Path

from superres.results import RunResult


def test_doubts_about_kept_fields_are_counted(tmp_path: Path) -> None:
    """Rejected ones have their reason instead."""
    doubts = [{}, {"warning": "its refinement was refused"}, {"unjudged": "tears (too little structure)"},
              {"warning": "w", "unjudged": "tears (too little structure)"}]
    rows = [{"name": f"f{number}", "kept": kept, "residual_um": 0.01 if kept else None, "reason": "mirrored",
             "message": "seen in a mirror", "hint": "flip it", "details": details}
            for number, (kept, details) in enumerate([*((True, each) for each in doubts), (False, doubts[3])])]
    (tmp_path / "registration.json").write_text(json.dumps({"pairs": rows, "coarse_pixel_size_um": 0.2}))
    lines = RunResult(tmp_path, ()).registration_summary().splitlines()
    assert lines[0].startswith("kept 4 of 5 fields") and lines[0].endswith("; 2 with a warning")
    assert lines[1] == "2 of the kept fields could not be judged for tears (too little structure)"
    assert lines[2].startswith("rejected f4 (mirrored)")
