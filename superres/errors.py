"""Every error that superres raises on purpose: one line that says what is wrong, one that says what to do."""

from __future__ import annotations

from dataclasses import dataclass


class SuperresError(Exception):
    """Base of all deliberate errors.

    message: the value seen and what was expected.  hint: what the user can do about it (may be empty).
    The command line prints them as `error:` and `hint:` and ends with status 2.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ImageError(SuperresError):
    """An image that cannot be read, or whose shape, dtype, values or sampling make no sense."""


class SourceError(SuperresError):
    """An acquisition that is incomplete or contradicts itself (no tiles, too few fields, no pixel size)."""


class RegistrationError(SuperresError):
    """A fine field, or a tile, without a trustworthy place.

    reason: a short stable word for tables, such as "blank", "not-found", "ambiguous", "mirrored", "magnification",
    "rotation", "disconnected", "out-of-bound", "too-few-features".
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class PluginError(SuperresError):
    """A plug-in that is unknown, broken, clashes with another or breaks its contract."""


class WeightsError(SuperresError):
    """A weights file that is corrupt, of another format, or of another geometry than its model."""


class TrainingError(SuperresError):
    """Training cannot go on (a loss that is not finite, too few patches)."""


class EngineError(SuperresError):
    """The asked-for engine, device or precision cannot run here."""


class StorageError(SuperresError):
    """A file could not be written (disk full, no permission)."""


class Cancelled(SuperresError):
    """The user or an embedding program stopped the run; finished work was kept."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a pipeline file: where (a TOML path such as `train.patch_px`), what, and what to write instead."""

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(SuperresError):
    """All the mistakes of a pipeline file at once; a single one is said like any other error, with its own hint."""

    def __init__(self, problems: tuple[Problem, ...], *, source: str = "pipeline") -> None:
        hint = ("`superres schema KIND.NAME` lists the options of a plug-in"
                if any(".options" in problem.where for problem in problems) else "")
        if len(problems) == 1:
            where = "" if problems[0].where == source else f"{problems[0].where}: "
            super().__init__(f"{source}: {where}{problems[0].message}", hint=problems[0].hint or hint)
        else:
            super().__init__(f"{source}: {len(problems)} problems\n"
                             + "\n".join(f"  {problem}" for problem in problems), hint=hint)
        self.problems = problems
