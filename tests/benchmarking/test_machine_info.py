"""What the history keeps about the machine."""

from __future__ import annotations

from importlib.metadata import version

from benchmarks import conftest


def test_the_commit_is_the_named_one_where_git_does_not_know_it(monkeypatch):
    monkeypatch.setenv("SUPERRES_COMMIT", "1a2b3c4")
    for seen, kept in (("unversioned", "1a2b3c4"), ("unknown", "1a2b3c4"), ("f" * 40, "f" * 40)):
        info = {"id": seen}
        conftest.pytest_benchmark_update_commit_info(None, info)
        assert info["id"] == kept


def test_a_package_that_is_not_installed_is_kept_as_none(monkeypatch):
    """OpenCV comes as one of several packages: where the headless one is installed, the other is not."""
    monkeypatch.setattr(conftest, "PACKAGES_THAT_SET_THE_PACE", ("numpy", "superres-is-no-such-package"))
    info = {"node": "name", "cpu": {}}
    conftest.pytest_benchmark_update_machine_info(None, info)
    assert info["packages"] == {"numpy": version("numpy"), "superres-is-no-such-package": None}
    assert "node" not in info
