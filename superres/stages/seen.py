"""Which of the specimens to score a network had seen in training: its scores on them are not those of new slides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from superres.stages.store import safe_name

MARK = "†"
LEGEND = f"{MARK} training had seen it: no score of a new slide"

_SCENE = re.compile(r"(?!builtin:)(?P<file>.+), \d+ × \d+ px(?:, binned 2 × 2)?, specimen (?P<specimen>.+)")
"""What the virtual microscope's provenance says of a scene that is a file."""


def specimens_seen(provenance: Mapping[str, Any]) -> frozenset[str]:
    """Whose images a network has learned from, or was chosen by; also while it was the one that this one started from.

    provenance: of its weights file; those of other origin than a run of superres say nothing, which is no specimen.
    """
    facts = provenance.get("training", {})
    before = facts.get("started_from", {}).get("specimens", ())
    return frozenset((*facts.get("specimens", ()), *facts.get("validation_specimens", ()), *before))


def files_seen(provenance: Mapping[str, Any]) -> Mapping[str, str]:
    """File name → specimen of what the virtual microscope imaged for the training, as far as the weights say it."""
    before = provenance.get("training", {}).get("started_from", {}).get("files", {})
    own = {file: specimen for specimen, files in _files(provenance.get("acquired", {})).items() for file in files}
    known = specimens_seen(provenance)
    return {**before, **{file: specimen for file, specimen in own.items() if specimen in known}}


def seen_before(provenance: Mapping[str, Any], specimens: Iterable[str], acquired: Mapping[str, str]) -> dict[str, str]:
    """Those of the specimens that are not new to a network → what its training called them.

    A specimen is known by its name, also as a folder of registered pairs spells it, or by the name of the image file
    that the virtual microscope was given.  Two slides of one name count as one: nothing else is known of them.
    provenance: of the weights file.  acquired: provenance of the acquisition that the specimens are of.
    """
    names = {safe_name(name): name for name in sorted(specimens_seen(provenance))}
    files, own = files_seen(provenance), _files(acquired)
    found: dict[str, str] = {}
    for specimen in specimens:
        by_file = sorted({files[file] for file in own.get(specimen, ()) if file in files})
        known = names.get(safe_name(specimen)) or ", ".join(by_file)
        if known:
            found[specimen] = known
    return found


def seen_note(seen: Mapping[str, str], who: str = "The training of these weights") -> str:
    """The sentence for who reads the scores; "" where all specimens are new.  seen: see seen_before."""
    named = [name if known in (name, "") else f"{name} (there: {known})" for name, known in seen.items()]
    return "" if not seen else (
        f"{who} had seen specimens of these names: {', '.join(named)}. Their scores are not of slides that training "
        "never saw")


def marked(cell: str, seen: bool) -> str:
    """A table's cell, with LEGEND's mark where its specimen was seen."""
    return f"{cell} {MARK}" if seen else cell


def _files(acquired: Mapping[str, str]) -> dict[str, set[str]]:
    """Specimen → the files that the virtual microscope imaged of it."""
    found: dict[str, set[str]] = {}
    for key, text in acquired.items():
        if key.startswith("scene ") and (scene := _SCENE.fullmatch(text)):
            found.setdefault(scene["specimen"], set()).add(scene["file"])
    return found
