"""Write the tables of docs/training.md from the studies' JSON: `python benchmarks/training_tables.py`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "training.md"


def options_table(study: dict[str, Any]) -> str:
    rows = ["| option | compared with | change | SSIM gained over bicubic | difference | best step | CPU seconds |",
            "|---|---|---|---|---|---|---|"]
    for name, each in study["options"].items():
        runs, against = each["runs"], each["against"]
        before = study["options"][against]["change"] if against else {}
        change = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in each["change"].items()
                           if before.get(key) != value) or "none"
        gain = [run["ssim"] - study["bicubic"]["ssim"] for run in runs]
        difference = "" if not against else "{:+.3f} ± {:.3f}".format(*compared(name, study["options"]))
        steps = ", ".join(str(run["best_step"]) for run in runs)
        seconds = sum(run["cpu_seconds"] for run in runs) / len(runs)
        rows.append(f"| {name} | {against} | {change} | {statistics.mean(gain):+.3f} ± {statistics.stdev(gain):.3f} | "
                    f"{difference} | {steps} | {seconds:.0f} |")
    return "\n".join(rows)


def compared(name: str, measured: dict[str, Any]) -> tuple[float, float]:
    """Mean and standard deviation over the seeds of an option's SSIM minus that of the one that it is compared with."""
    own, other = (measured[each]["runs"] for each in (name, measured[name]["against"]))
    differences = [one["ssim"] - two["ssim"] for one, two in zip(own, other, strict=True)]
    return statistics.mean(differences), statistics.stdev(differences)


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
