"""Embed a run in a program of your own: progress comes as events, and any thread may stop it.

    python examples/embed_pipeline.py examples/quickstart/pipeline.toml [KEY=VALUE ...]
"""

import sys

import superres
from superres.events import Progress


class Window(superres.Events):
    """Where a real program would move a progress bar and ask its Stop button."""

    def progress(self, progress: Progress) -> None:
        if progress.done == progress.total:
            print(f"{progress.stage}: {progress.done} of {progress.total}")

    def note(self, stage: str, text: str) -> None:
        print(f"{stage}: {text}")


def main(pipeline: str, overrides: list[str]) -> None:
    plan = superres.load_plan(pipeline, overrides=overrides)
    result = superres.Pipeline(plan, events=Window()).run(until="evaluate")
    for name, score in result.scores["summary"].items():
        print(f"{name}: {score['model']:.3f} (bicubic {score['bicubic']:.3f})")
    print(f"weights: {result.weights}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("usage: python examples/embed_pipeline.py PIPELINE.toml [KEY=VALUE ...]", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1], sys.argv[2:])
