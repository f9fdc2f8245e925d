"""Paths in a pipeline file mean the same wherever the command is started."""

from __future__ import annotations

import glob
from pathlib import Path

import pydantic
import pytest

from superres.api import PluginOptions, ResolvedPath, ResolvedPattern


class Options(PluginOptions):
    folder: ResolvedPath = Path("scan")
    images: ResolvedPattern = "*.tif"


def options(base: Path | None = None, **values: str) -> Options:
    return Options.model_validate(values, context=None if base is None else {"base": base})


def test_relative_paths_start_at_the_pipeline_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options(Path("/data/run"), folder="scan 1").folder == Path("/data/run/scan 1")
    assert options(Path("runs"), folder="/abs").folder == Path("/abs")
    assert options(Path("/data")).folder == Path("/data/scan")
    assert options().folder == tmp_path / "scan"
    again = options(Path("/elsewhere"), folder=str(options(Path("/data/run"), folder="a").folder))
    assert again.folder == Path("/data/run/a"), "resolving twice must change nothing"


def test_variables_and_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERRES_DATA", "../data")
    monkeypatch.setenv("HOME", "/home/ada")
    # A relative value was typed in a shell, so it is relative to the shell's folder and not to the pipeline file.
    assert options(Path("/p"), folder="${SUPERRES_DATA}/train").folder == tmp_path / "../data/train"
    assert options(Path("/p"), folder="x/${SUPERRES_DATA}").folder == Path("/p/x/../data")
    assert options(Path("/p"), folder="~/scan", images="~/*.tif").folder == Path("/home/ada/scan")
    assert options(Path("/p"), images="~/*.tif").images == "/home/ada/*.tif"


def test_an_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    for values in ({"folder": "${NOWHERE}/a"}, {"images": "${NOWHERE}/*.tif"}):
        with pytest.raises(pydantic.ValidationError, match="environment variable 'NOWHERE' is not set"):
            options(**values)


def test_brackets_in_folders_are_no_wildcards(tmp_path, monkeypatch):
    folder = tmp_path / "scan [2]"
    folder.mkdir()
    (folder / "a.tif").touch()
    monkeypatch.setenv("SCAN", str(folder))
    for pattern in (options(folder, images="*.tif").images, options(images="${SCAN}/*.tif").images):
        assert glob.glob(pattern) == [str(folder / "a.tif")]
