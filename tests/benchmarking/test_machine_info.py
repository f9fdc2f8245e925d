"""What the history keeps about the machine."""

from __future__ import annotations

from importlib.metadata import version

from benchmarks import conftest


def test_a_package_that_is_not_installed_is_kept_as_none(monkeypatch):
    """OpenCV comes as one of several packages: where the headless one is installed, the other is not."""
    monkeypatch.setattr(conftest, "PACKAGES_THAT_SET_THE_PACE", ("numpy", "superres-is-no-such-package"))
    info = {"node": "name", "cpu": {}}
    conftest.pytest_benchmark_update_machine_info(None, info)
    assert info["packages"] == {"numpy": version("numpy"), "superres-is-no-such-package": None}
    assert "node" not in info
