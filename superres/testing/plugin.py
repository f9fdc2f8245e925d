"""What every plug-in promises, whatever its kind."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from superres.api import KINDS, Plugin, PluginOptions


class PluginContract:
    """Set `plugin` to the class under test and `options` to the values that the suite should use."""

    plugin: ClassVar[type[Plugin]]
    options: ClassVar[dict[str, Any]] = {}

    def make(self) -> Any:
        """A fresh instance."""
        return self.plugin(self.plugin.Options(**self.options))

    def test_has_a_kind_and_a_name(self) -> None:
        assert self.plugin.kind in KINDS
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.plugin.name)

    def test_has_a_summary_for_the_list_of_plugins(self) -> None:
        assert self.plugin.summary.strip(), "set a class-level `summary` of one line"
        assert "\n" not in self.plugin.summary

    def test_every_option_is_described(self) -> None:
        bare = [name for name, field in self.plugin.Options.model_fields.items() if not field.description]
        assert not bare, f"options without a description: {bare}"

    def test_unknown_options_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="surely_unknown"):
            self.plugin.Options(**{**self.options, "surely_unknown": 1})

    def test_options_have_a_json_schema_and_survive_json(self) -> None:
        json.dumps(self.plugin.Options.model_json_schema())
        options = self.plugin.Options(**self.options)
        assert isinstance(options, PluginOptions)
        assert self.plugin.Options.model_validate_json(options.model_dump_json()) == options

    def test_options_are_frozen(self) -> None:
        options = self.plugin.Options(**self.options)
        for name in type(options).model_fields:
            with pytest.raises(ValidationError):
                setattr(options, name, getattr(options, name))

    def test_two_instances_share_nothing_mutable(self) -> None:
        first, second = self.make(), self.make()
        shared = [
            key
            for key, value in vars(first).items()
            if isinstance(value, (list, dict, set)) and vars(second).get(key) is value
        ]
        assert not shared, f"instances share mutable state: {shared}"
