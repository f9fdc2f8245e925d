"""Write the tables of docs/training.md from the studies' JSON: `python benchmarks/training_tables.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "training.md"


def options_table(study: dict[str, Any]) -> str:
    rows = ["| option | settings | SSIM gained over bicubic | best step | CPU seconds |", "|---|---|---|---|---|"]
    for name, each in study["options"].items():
        runs = each["runs"]
        settings = ", ".join(f"{key} {value}" for key, value in each["settings"].items())
        steps = ", ".join(str(run["best_step"]) for run in runs)
        seconds = sum(run["cpu_seconds"] for run in runs) / len(runs)
        rows.append(f"| {name} | {settings} | {each['gain']:+.3f} ± {each['spread']:.3f} | {steps} | {seconds:.0f} |")
    return "\n".join(rows)


def models_table(study: dict[str, Any]) -> str:
    rows = ["| model | parameters | SSIM | PSNR, dB | training, CPU min | upscaling, CPU s per input megapixel |",
            "|---|---|---|---|---|---|"]
    for name, each in study["models"].items():
        training = f"{each['training_cpu_s'] / 60:.1f}" if "training_cpu_s" in each else "none"
        upscaling = f"{each['cpu_s_per_megapixel']:.1f}" if "cpu_s_per_megapixel" in each else "not measured"
        rows.append(f"| {name} | {each['parameters']:,} | {each['ssim']:.4f} | {each['psnr']:.2f} | {training} | "
                    f"{upscaling} |")
    gain = study["models"]["edsr"]["ssim"] - study["models"]["rivenson2017"]["ssim"]
    verdict = "gains" if gain >= 0.005 else "does not gain the 0.005 that would make it the better choice: it gains"
    rows += ["", f"In this comparison (one seed) `edsr` {verdict} {gain:+.4f} SSIM over `rivenson2017`."]
    return "\n".join(rows)


def filled(page: str, name: str, content: str) -> str:
    """The page with the block between <!-- name --> and <!-- end name --> replaced."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
    return page[:page.index(begin) + len(begin)] + content + page[page.index(end):]


def page(text: str) -> str:
    """The page with its tables as the studies have them."""
    for name, table in (("options", options_table), ("models", models_table)):
        study = {"options": "training-options.json", "models": "models.json"}[name]
        text = filled(text, name, table(json.loads((HERE / "studies" / study).read_text(encoding="utf-8"))))
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
