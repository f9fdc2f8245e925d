"""The tables of docs/performance.md about what was predicted: the floor, the kernels' variants, what became of each.

`python -m benchmarks.engine_tables` puts them there.  A prediction stands here since before its measurement; what
became of it is read off the records, never typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from superres.api.model import Model
from superres.builtin.models.rivenson2017 import Rivenson2017Model
from superres.inference.folded_tail import fold
from superres.measuring.paper import TABLE_S3

DENSE_FLOAT16 = 790e12
"""Operations a second of an H200, measured with large matrix products; its data sheet says 989."""
NOT_YET = "not yet measured"
NEVER_ON_A_CARD = "emulated on the host, sanitizers on; never run on a card"


class Measured(Protocol):
    """What of engine_tables.Record is looked at."""

    @property
    def file(self) -> str: ...
    @property
    def test(self) -> str: ...
    @property
    def case(self) -> str: ...
    @property
    def facts(self) -> dict[str, object]: ...


@dataclass(frozen=True)
class Prediction:
    """what: in words.  low, high: the range that was predicted; a bare number is both, a low of 0 a limit.
    unit: "" for a ratio.  of: the figure in a record, None where the record is of something else."""

    what: str
    low: float
    high: float
    unit: str
    of: Callable[[Measured], float | None]


def engine_in(each: Measured) -> str:
    """The engine whose time a record has, as it describes itself: "openvino", "native"; "" where it is silent."""
    words = str(each.facts.get("engine", "")).split(" through ")
    return words[1].split(" ")[0] if len(words) > 1 else ""


def _ratio(test: str, case: str, engine: str = "") -> Callable[[Measured], float | None]:
    return lambda each: _number(each, "ratio") if (each.test, each.case) == (test, case) and \
        (not engine or engine_in(each) == engine) else None


def _ratio_on_h200(test: str, side_px: int) -> Callable[[Measured], float | None]:
    def figure(each: Measured) -> float | None:
        proven = each.facts.get("parity") == "passed" and "H200" in str(each.facts.get("card"))
        return _number(each, "ratio") if proven and (each.test, _side_px(each)) == (test, side_px) else None

    return figure


def _variant_ms(variant: str, side_px: int = 2048) -> Callable[[Measured], float | None]:
    def figure(each: Measured) -> float | None:
        times = proven_ms(each, side_px)
        return times[variant] if times and "H200" in str(each.facts.get("card")) else None

    return figure


def proven_ms(each: Measured, side_px: int) -> dict[str, float]:
    """Milliseconds of each variant, of a record whose kernels passed the parity suite on the card; empty for others."""
    times = each.facts.get("variants_ms")
    proven = each.facts.get("parity") == "passed" and each.facts.get("side_px") == side_px
    return {name: float(ms) for name, ms in times.items()} if isinstance(times, dict) and proven else {}


def _side_px(each: Measured) -> float:
    return _number(each, "side_px") or 0.0


def _number(each: Measured, key: str) -> float | None:
    value = each.facts.get(key)
    return float(value) if isinstance(value, int | float) else None


PREDICTIONS = (
    Prediction("H200, 2048², `layers`", 5.9, 5.9, "ms", _variant_ms("layers")),
    Prediction("H200, 2048², `blocks`", 5.8, 5.8, "ms", _variant_ms("blocks")),
    Prediction("H200, 2048², `folded`", 5.4, 5.4, "ms", _variant_ms("folded")),
    Prediction("H200, 818², `folded`", 0.0, 1.3, "ms", _variant_ms("folded", 818)),
    Prediction("H200, 160², `folded`", 0.0, 0.15, "ms", _variant_ms("folded", 160)),
    Prediction("H200, 2048², a stream / the longest of its parts", 0.0, 1.15, "",
               _ratio_on_h200("test_a_stream_beside_its_parts", 2048)),
    Prediction("H200, 160², a captured graph / its launches", 0.5, 0.5, "",
               _ratio_on_h200("test_a_captured_graph_beside_its_launches", 160)),
    Prediction("H200, 818², a captured graph / its launches", 1.0, 1.0, "",
               _ratio_on_h200("test_a_captured_graph_beside_its_launches", 818)),
    Prediction("CPU, libsuperres by `Engine` / OpenVINO by `Engine`", 0.62, 0.62, "",
               _ratio("test_exact", "Engine, OpenVINO", "native")),
    Prediction("CPU, libsuperres by `Engine` / OpenVINO", 0.60, 0.60, "", _ratio("test_exact", "OpenVINO", "native")),
    Prediction("CPU, libsuperres by `Engine` / torch by `Engine`", 0.56, 0.56, "",
               _ratio("test_exact", "Engine, torch", "native")),
    Prediction("CPU, OpenVINO by `Engine` / channels last", 0.70, 0.70, "",
               _ratio("test_exact", "channels last", "openvino")),
    Prediction("CPU, OpenVINO by `Engine` / eager NCHW", 0.70, 0.70, "",
               _ratio("test_exact", "eager NCHW", "openvino")),
    Prediction("CPU, OpenVINO by `Engine` / ONNX Runtime", 0.75, 0.75, "",
               _ratio("test_exact", "ONNX Runtime", "openvino")),
    Prediction("CPU, OpenVINO by `Engine` / `torch.compile`", 0.85, 0.85, "",
               _ratio("test_exact", "torch.compile", "openvino")),
    Prediction("CPU, OpenVINO by `Engine` / OpenVINO", 0.95, 1.05, "", _ratio("test_exact", "OpenVINO", "openvino")),
    Prediction("CPU, the last two layers folded / not", 0.92, 0.92, "",
               _ratio("test_folded_tail_beside_the_network_as_built", "")),
    Prediction("CPU, `stream` / a loop, a core left free", 0.92, 0.92, "",
               _ratio("test_stream_beside_a_loop", "one thread")),
    Prediction("CPU, `stream` / a loop, no core left", 1.00, 1.00, "",
               _ratio("test_stream_beside_a_loop", "all cores")),
)
ROUNDING = {"": 0.005, "ms": 0.05}
"""A measurement that rounds to what was predicted is what was predicted."""


def _circumstances(each: Measured) -> str:
    """What a reader must know of a measurement that was not by the wall's clock."""
    if each.facts.get("clock") != "process_time":
        return ""
    side = f"{each.facts['side_px']}², " if "side_px" in each.facts else ""
    return f" ({side}processor time)"


def predictions(found: Sequence[Measured]) -> str:
    """Each beside its figure at the largest side that was measured.

    Less is faster in all of them: a figure below the range is better than predicted.
    """
    lines = ["| what | predicted | measured | so it was |", "|---|---|---|---|"]
    for each in PREDICTIONS:
        figures = [(figure, record) for record in found if (figure := each.of(record)) is not None]
        digits = ".2f" if not each.unit or each.high < 2 else ".1f"
        unit = f" {each.unit}" if each.unit else ""
        span = f"at most {each.high:{digits}}" if each.low == 0 else f"{each.low:{digits}}" if each.low == each.high \
            else f"{each.low:{digits}} – {each.high:{digits}}"
        if figures:
            figure, record = max(figures, key=lambda each: _side_px(each[1]))
            slack = ROUNDING[each.unit]
            verdict = "better" if figure < each.low - slack else "worse" if figure > each.high + slack else "right"
            measured = f"{figure:{digits}}{unit}{_circumstances(record)}"
            lines.append(f"| {each.what} | {span}{unit} | {measured} | {verdict} |")
        else:
            lines.append(f"| {each.what} | {span}{unit} | {NOT_YET} | open |")
    return "\n".join(lines)


def multiply_adds(model: Model, folded: bool = False) -> float:
    """Of the whole network, for each pixel of the input; with its last two layers as they are, or as one."""
    spec = model.native(model.build())
    assert spec is not None
    up, down = int(spec.hyper["up"]), int(spec.hyper["down"])
    if folded:
        tail = fold(spec)
        last = tail.weight.numel() / tail.stride ** 2
    else:
        last = spec.tensors["expand.weight"].size + spec.tensors["output.weight"].size * (up / down) ** 2
    return last + sum(int(tensor.size) for name, tensor in spec.tensors.items()
                      if name.endswith(".weight") and name.partition(".")[0] in ("input", "blocks"))


def floor(_: Sequence[Measured]) -> str:
    """Arithmetic alone, without memory, borders and padded channels."""
    lines = ["| input | multiply-adds a pixel | floor on an H200 | with the folded tail | floor |",
             "|---|---|---|---|---|"]
    model = Rivenson2017Model()
    each = multiply_adds(model), multiply_adds(model, folded=True)
    for row in TABLE_S3:
        cells = [f"{one:,.0f} | {2e3 * one * row.side_px ** 2 / DENSE_FLOAT16:.3f} ms" for one in each]
        lines.append(f"| {row.side_px}² | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def variants(found: Sequence[Measured]) -> str:
    """Where each variant of the kernels has run."""
    lines = ["| variant | state | 2048², ms |", "|---|---|---|"]
    for name in ("layers", "blocks", "folded"):
        seen: dict[str, float] = {}
        for each in found:
            if times := proven_ms(each, 2048):
                seen[str(each.facts["card"])] = times[name]
        state = f"proven on {', '.join(seen)}" if seen else NEVER_ON_A_CARD
        figures = ", ".join(f"{ms:.2f} ({card})" for card, ms in seen.items()) or NOT_YET
        lines.append(f"| `{name}` | {state} | {figures} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[Sequence[Measured]], str]] = {"floor": floor, "variants": variants,
                                                          "predictions": predictions}
