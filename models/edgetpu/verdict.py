"""Whether the Edge TPU can run one operator, taken by itself, and if not, why and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from models.edgetpu import versions
from models.edgetpu.graph import COMPILED_OP, Op, Subgraph, Tensor
from models.edgetpu.rules import (
    DOCS,
    DOUBTFUL,
    KNOWN_CUSTOM,
    KNOWN_CUSTOM_SOURCE,
    OPEN_BATCH,
    REFUSED,
    RULES,
    Limit,
    Rule,
)
from models.edgetpu.status import DATA_TYPE, LIMITATION, MAPPED, NOT_SUPPORTED, RANK, UNKNOWN_VERSION, UNRESOLVED
from models.edgetpu.work import role

EIGHT_BIT = ("INT8", "UINT8")
FLOATS = ("FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64")
_INTEGER_ENDS = "convert with int8 or uint8 inputs and outputs"


@dataclass(frozen=True)
class Warned:
    """A doubt about an operator that the rules place. doubtful: users saw it fail; else a limit without a number."""

    text: str
    doubtful: bool
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """status: as the compiler would say it; documented: whether its documentation says so."""

    supported: bool
    status: str = MAPPED
    reason: str = ""
    fix: str = ""
    documented: bool = True
    source: str = DOCS
    warnings: tuple[Warned, ...] = ()


def judge(graph: Subgraph, op: Op) -> Verdict:
    if op.custom == COMPILED_OP:
        return Verdict(True, reason="compiled already")
    if versions.too_new(op.kind, op.version):
        return _too_new(op)
    rule = RULES.get(op.kind)
    if rule is None:
        return _not_in_table(graph, op)
    for found in (_types(graph, op, rule), _sizes(graph, op, rule)):
        if found is not None:
            return found
    for limit in rule.limits:
        problem = limit.check(graph, op) if limit.check is not None else None
        if problem is not None:
            reason = f"{problem}; the limit: {limit.text}"
            return Verdict(False, limit.status, reason, "", limit.documented, limit.source)
    if (found := _ranks(graph, op, rule)) is not None:
        return found
    return Verdict(True, documented=rule.documented, source=rule.source, warnings=_warnings(graph, op, rule))


def _too_new(op: Op) -> Verdict:
    newest = versions.NEWEST[op.kind]
    known = f"compiler 16.0 knows it up to version {newest}" if newest else "compiler 16.0 does not know this operator"
    fix = REFUSED[op.kind].fix if op.kind in REFUSED else "convert with an older converter, or rewrite it"
    source = versions.REPORTED.get(op.kind, (0, versions.SOURCE))[1]
    reason = f"version {op.version} of {op.kind}: {known}, and refuses files with one"
    return Verdict(False, UNKNOWN_VERSION, reason, fix, False, source)


def _not_in_table(graph: Subgraph, op: Op) -> Verdict:
    refusal = REFUSED.get(op.kind)
    if op.kind == "CUSTOM" and op.custom not in KNOWN_CUSTOM:
        reason = f"the compiler knows no custom operator {op.custom!r} and refuses files with one"
        return Verdict(False, UNRESOLVED, reason, REFUSED["CUSTOM"].fix, False, KNOWN_CUSTOM_SOURCE)
    # Logs blame the data type first: ARG_MAX of an int8 tensor, whose output is int32, is said to have the wrong type.
    tensors = [graph.tensors[index] for index in (*op.inputs[:1], *op.outputs) if index >= 0]
    status = DATA_TYPE if any(tensor.dtype not in EIGHT_BIT for tensor in tensors) else NOT_SUPPORTED
    reason = f"{op.label} is not among the operators of the Edge TPU"
    return Verdict(False, status, reason, refusal.fix if refusal else "", True, refusal.source if refusal else DOCS)


def _types(graph: Subgraph, op: Op, rule: Rule) -> Verdict | None:
    for number, index in enumerate(op.inputs):
        kind = role(rule.roles, number)
        if index >= 0 and kind in "dw" and (found := _eight_bit(graph.tensors[index], op)):
            return found
        if index >= 0 and kind == "b" and graph.tensors[index].dtype != "INT32":
            tensor = graph.tensors[index]
            return Verdict(False, DATA_TYPE, f"the bias {tensor.name!r} is {tensor.dtype}, not INT32", "quantise to full int8")
    return next((found for index in op.outputs if (found := _eight_bit(graph.tensors[index], op))), None)


def _eight_bit(tensor: Tensor, op: Op) -> Verdict | None:
    if tensor.dtype in EIGHT_BIT and (tensor.quantised or tensor.constant):
        return None
    if tensor.dtype in EIGHT_BIT:
        return Verdict(False, DATA_TYPE, f"{tensor.name!r} is {tensor.dtype} without a scale", "quantise to full int8")
    if op.kind == "QUANTIZE" and tensor.dtype in FLOATS:  # logs give this one, and only this one, another status
        return Verdict(False, LIMITATION, f"{tensor.name!r} is {tensor.dtype}", _INTEGER_ENDS)
    fix = "quantise to full int8" if tensor.dtype in FLOATS else "do integer arithmetic on the host"
    return Verdict(False, DATA_TYPE, f"{tensor.name!r} is {tensor.dtype}, not quantised to 8 bit", fix)


def _sizes(graph: Subgraph, op: Op, rule: Rule) -> Verdict | None:
    for number, index in enumerate(op.inputs):
        if index < 0:
            continue
        tensor, kind = graph.tensors[index], role(rule.roles, number)
        if kind in "wba" and not tensor.constant and tensor.size > 0:
            what = {"w": "weights", "b": "bias", "a": "argument"}[kind]
            return Verdict(False, LIMITATION, f"the {what} {tensor.name!r} is no constant", "fold it into a constant")
    for index in (*op.inputs, *op.outputs):
        if index >= 0 and graph.tensors[index].dynamic:
            reason = f"{graph.tensors[index].name!r} has a size that is only known at run time"
            return Verdict(False, LIMITATION, reason, "convert with fixed sizes")
    return None


def _ranks(graph: Subgraph, op: Op, rule: Rule) -> Verdict | None:
    data = [index for number, index in enumerate(op.inputs) if index >= 0 and role(rule.roles, number) == "d"]
    for index in (*data, *op.outputs):
        tensor = graph.tensors[index]
        if any(side > 1 for side in tensor.shape[:-3]):
            sides = "x".join(map(str, tensor.shape))
            fix = "use batch 1" if tensor.rank == 4 else "do it in steps of at most 3 dimensions above 1"
            return Verdict(False, RANK, f"{tensor.name!r} {sides}: only the 3 innermost dimensions may exceed 1", fix)
    return None


def _warnings(graph: Subgraph, op: Op, rule: Rule) -> tuple[Warned, ...]:
    found = [_open(limit) for limit in rule.limits if limit.check is None]
    if op.kind in DOUBTFUL:
        text, sources = DOUBTFUL[op.kind]
        found.insert(0, Warned(text, True, sources))
    if any(index >= 0 and graph.tensors[index].open_batch for index in op.inputs):
        found.append(Warned(OPEN_BATCH[0], True, (OPEN_BATCH[1],)))
    first = graph.output(op) if op.outputs else None
    since = versions.INT8_SINCE.get(op.kind, 1)
    if first is not None and first.dtype == "INT8" and op.version < since:
        text = f"version {op.version} of an int8 operator, TensorFlow writes {since}: whether the compiler minds is unknown"
        found.append(Warned(text, False, (versions.SOURCE,)))
    return tuple(found)


def _open(limit: Limit) -> Warned:
    return Warned(limit.text, False, (limit.source,))
