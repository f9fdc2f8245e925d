"""Finding plug-ins, and surviving bad ones."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from superres import hookimpl, hookspecs
from superres.api import KINDS, Loss, PluginOptions
from superres.catalog import Catalog
from superres.errors import PluginError


def loss_named(label, module="elsewhere"):
    class Named(Loss):
        name = label
        summary = "for tests"

        class Options(PluginOptions):
            pass

        def build(self):
            import torch

            return torch.nn.MSELoss()

    Named.__module__ = module
    return Named


class Hooks:
    def __init__(self, *classes):
        self.classes = classes

    @hookimpl
    def superres_losses(self):
        return list(self.classes)


def test_builtins_come_through_the_same_hook():
    names = {(entry.kind, entry.name) for entry in Catalog.builtin().entries()}
    assert {
        ("model", "rivenson2017"),
        ("model", "bicubic"),
        ("registrar", "paper"),
        ("registrar", "phase"),
        ("registrar", "identity"),
        ("loss", "mse-gradient"),
        ("loss", "mse"),
        ("loss", "l1"),
        ("evaluator", "ssim"),
        ("evaluator", "psnr"),
        ("evaluator", "difference-map"),
        ("source", "simulate"),
        ("source", "acquisition"),
        ("source", "pairs"),
    } <= names


def test_an_empty_catalog_knows_nothing_and_learns():
    catalog = Catalog.empty()
    assert catalog.entries() == ()
    mine = loss_named("mine")
    catalog.register(Hooks(mine), distribution="labsoft", version="2")
    assert catalog.get("loss", "mine") is mine
    assert catalog.entry("loss", "mine").label == "labsoft 2"


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(PluginError) as caught:
        Catalog.builtin().get("model", "rivenson2071")
    assert "rivenson2017" in caught.value.hint


def test_two_of_one_name_are_an_error_that_names_both_and_harms_no_other():
    catalog = Catalog.builtin()
    catalog.register(Hooks(loss_named("twin"), loss_named("other")), distribution="alpha", version="1")
    catalog.register(Hooks(loss_named("twin")), distribution="beta", version="3")
    with pytest.raises(PluginError) as caught:
        catalog.get("loss", "twin")
    assert "alpha 1" in caught.value.message and "beta 3" in caught.value.message
    assert catalog.get("loss", "other").name == "other"
    assert [{entry.distribution for entry in group} for group in catalog.clashes()] == [{"alpha", "beta"}]


@pytest.mark.parametrize(("second", "words"), [("alpha", "rename one of the"), ("beta", "uninstall one of the")])
def test_what_to_do_about_a_clash_depends_on_whose_it_is(second, words):
    catalog = Catalog.empty()
    catalog.register(Hooks(loss_named("twin", "one.module")), distribution="alpha")
    catalog.register(Hooks(loss_named("twin", "another.module")), distribution=second)
    with pytest.raises(PluginError) as caught:
        catalog.get("loss", "twin")
    assert "one.module.loss_named" in caught.value.message and "another.module.loss_named" in caught.value.message
    assert words in caught.value.hint


def test_the_same_class_twice_is_no_clash():
    catalog = Catalog.empty()
    mine = loss_named("mine")
    catalog.register(Hooks(mine), distribution="one")
    catalog.register(Hooks(mine), distribution="one")
    assert catalog.clashes() == ()


class NoHooks:
    pass


class Misspelt:
    @hookimpl
    def superres_modles(self):
        return []


class Abstract(Loss):
    name = "abstract"


class Returning:
    """What a slip of the pen leaves of `return [Mine]`."""

    def __init__(self, value):
        self.value = value

    @hookimpl
    def superres_losses(self):
        return self.value


def with_options(options):
    return type("Optioned", (loss_named("optioned"),), {"Options": options})


class NotJson(PluginOptions):
    shape: Callable[[float], float] = abs


class NeverDefined(PluginOptions):
    size: "Gone" = 0  # noqa: F821


class NoJsonDefault(PluginOptions):
    value: Any = object()


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        (NoHooks(), "implements no superres hook"),
        (Misspelt(), "superres_modles"),
        (Hooks(Abstract), "does not implement build"),
        (Hooks(loss_named("Bad Name")), "Bad Name"),
        (Hooks(type("Mute", (loss_named("mute"),), {"summary": None})), "summary None; expected a line of text"),
        (Hooks("text"), "expected a subclass of Loss"),
        (Returning(None), "hook superres_losses returned None; expected a list of subclasses of Loss"),
        (Returning(loss_named("alone")), "returned <class .*; expected a list of subclasses of Loss"),
        (Returning("text"), "returned 'text'; expected a list"),
        (Hooks(with_options(NotJson)), "Options that cannot be described as JSON: .*CallableSchema"),
        (Hooks(with_options(NoJsonDefault)), "Options that cannot be described as JSON: Default value"),
        (Hooks(with_options(NeverDefined)), "Options that cannot be described as JSON: .*Gone"),
    ],
)
def test_what_breaks_the_rules_is_refused_whole(hooks, message):
    catalog = Catalog.empty()
    with pytest.raises(PluginError, match=message):
        catalog.register(hooks, distribution="bad")
    assert catalog.entries() == ()


def test_a_misspelt_hook_is_told_what_there_is():
    with pytest.raises(PluginError) as caught:
        Catalog.empty().register(Misspelt(), distribution="bad")
    hooks = [name for name in vars(hookspecs) if name.startswith("superres_")]
    assert len(hooks) == len(KINDS) and all(name in caught.value.hint for name in hooks)


class FakeDistribution:
    def __init__(self, name):
        self.name, self.version = name, "0.1"


class FakePoint:
    def __init__(self, name, load):
        self.name, self.value, self.dist, self._load = name, f"{name}.hooks", FakeDistribution(f"superres-{name}"), load

    def load(self):
        return self._load()


@pytest.mark.parametrize("failure", [ImportError("no module named swin"), RuntimeError("at import"), SystemExit(3)])
def test_a_package_that_cannot_be_imported_is_listed_and_survived(monkeypatch, failure):
    def fail():
        raise failure

    points = [FakePoint("broken", fail), FakePoint("good", lambda: Hooks(loss_named("good")))]
    monkeypatch.setattr("superres.catalog.metadata.entry_points", lambda group: points if group == "superres" else [])
    catalog = Catalog.discover()
    assert [(each.distribution, each.version) for each in catalog.broken] == [("superres-broken", "0.1")]
    assert type(failure).__name__ in catalog.broken[0].reason
    assert catalog.get("loss", "good").name == "good"
    assert catalog.get("model", "bicubic").name == "bicubic"


def test_a_hook_that_raises_is_a_broken_package(monkeypatch):
    class Raising:
        @hookimpl
        def superres_losses(self):
            raise KeyError("inside the hook")

    monkeypatch.setattr("superres.catalog.metadata.entry_points", lambda group: [FakePoint("raising", Raising)])
    catalog = Catalog.discover()
    assert "KeyError" in catalog.broken[0].reason
    assert catalog.broken[0].hint.startswith(f"raised in {__file__}, line ")
    assert catalog.get("loss", "mse").name == "mse"


def test_a_module_can_be_registered_like_an_entry_point():
    module = types.ModuleType("labsoft_hooks")
    module.superres_losses = hookimpl(lambda: [loss_named("from-module")])
    sys.modules.pop("labsoft_hooks", None)
    catalog = Catalog.empty()
    catalog.register(module)
    assert catalog.entry("loss", "from-module").distribution == "labsoft_hooks"
