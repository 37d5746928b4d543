"""Where each operator of a .tflite file would run: on the Edge TPU or on the CPU, and why; before any compiler is at hand.

The compiler cuts the network into runs of operators that the device can do, and, unless told otherwise (`-a`), compiles
only the first one: what comes after an operator that falls off stays on the CPU, supported or not
(coral.ai/docs/edgetpu/compiler). The cutting is that of TensorFlow Lite's delegates (tensorflow/lite/graph_info.cc,
PartitionGraphIntoIndependentNodeSubsets): an operator joins a run as soon as its inputs are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.edgetpu.estimate import BUSES, HOSTS, ROOM_BYTES, Bus, Estimate, Host, Load, estimate
from models.edgetpu.graph import COMPILED_OP, Model, Op, Subgraph
from models.edgetpu.reader import read_model
from models.edgetpu.rules import RULES
from models.edgetpu.status import MAPPED, NOT_SUPPORTED, REFUSING, SUBGRAPH
from models.edgetpu.verdict import Verdict, Warned, judge
from models.edgetpu.work import CONVOLUTIONS, FREE, macs, parameters


@dataclass(frozen=True)
class OpPlacement:
    """Where one operator runs.

    name: its first output tensor's; placed: on the Edge TPU; supported: it could be, by itself; status: in the compiler's
    words; run: the number of the Edge TPU run it is in, None on the CPU; parameters_bytes: its weights, bias, constants.
    """

    subgraph: int
    op: Op
    name: str
    shape: tuple[int, ...]
    dtype: str
    placed: bool
    verdict: Verdict
    status: str
    reason: str
    run: int | None
    macs: int
    parameters_bytes: int

    @property
    def index(self) -> int:
        return self.op.index

    @property
    def kind(self) -> str:
        return self.op.label

    @property
    def supported(self) -> bool:
        return self.verdict.supported

    @property
    def fix(self) -> str:
        return self.verdict.fix

    @property
    def warnings(self) -> tuple[Warned, ...]:
        return self.verdict.warnings


@dataclass(frozen=True)
class Placement:
    """The placement of a whole file.

    refused: why the compiler would refuse the whole file, if it would; cut: the first operator that falls off once the
    device's run has begun, and so strands what follows; runs: Edge TPU runs that are compiled; possible_runs: those that
    there would be with `-a`; transferred_bytes: tensors that cross the bus at each inference.
    """

    path: Path
    model: Model
    ops: tuple[OpPlacement, ...]
    refused: str | None
    cut: OpPlacement | None
    runs: int
    possible_runs: int
    transferred_bytes: int
    latency: Estimate

    @property
    def total(self) -> int:
        return len(self.ops)

    @property
    def placed(self) -> int:
        return sum(op.placed for op in self.ops)

    @property
    def fully_placed(self) -> bool:
        return bool(self.ops) and self.placed == self.total

    @property
    def first_off(self) -> OpPlacement | None:
        """The first operator of the file that the device cannot run. None if there is none."""
        return next((op for op in self.ops if not op.supported), None)

    @property
    def off(self) -> tuple[OpPlacement, ...]:
        return tuple(op for op in self.ops if not op.placed)

    @property
    def doubtful(self) -> tuple[OpPlacement, ...]:
        """Placed by the rules, but of a kind that users saw fall off."""
        return tuple(op for op in self.ops if op.placed and any(warned.doubtful for warned in op.warnings))

    @property
    def compiled(self) -> bool:
        """The file has been through edgetpu_compiler already."""
        return any(op.op.custom == COMPILED_OP for op in self.ops)

    @property
    def runtime(self) -> int:
        """The oldest Edge TPU runtime that has all placed operators, 0 for any."""
        return max((RULES[op.op.kind].runtime for op in self.ops if op.placed and op.op.kind in RULES), default=0)

    @property
    def macs(self) -> int:
        return sum(op.macs for op in self.ops)

    @property
    def parameters_bytes(self) -> int:
        """Parameters that the device holds or streams."""
        return sum(op.parameters_bytes for op in self.ops if op.placed)

    @property
    def streamed_bytes(self) -> tuple[int, int]:
        """Parameters that do not fit on the chip, at least and at most: the room depends on the executable."""
        return max(0, self.parameters_bytes - ROOM_BYTES[1]), max(0, self.parameters_bytes - ROOM_BYTES[0])

    @property
    def latency_ms(self) -> float:
        return self.latency.total_ms


def check_tflite(path: Path, *, every_run: bool = False, bus: Bus = BUSES["usb3"], host: Host = HOSTS["a53"]) -> Placement:
    """Predict the placement of a .tflite file.

    every_run: as with the compiler's `-a`, all runs are compiled, not only the first; bus, host: for the latency.
    Raises ModelError where the file cannot be read.
    """
    return place(read_model(path), every_run=every_run, bus=bus, host=host)


def place(model: Model, *, every_run: bool = False, bus: Bus = BUSES["usb3"], host: Host = HOSTS["a53"]) -> Placement:
    """Predict the placement of a model that is read already."""
    verdicts = [[judge(graph, op) for op in graph.ops] for graph in model.subgraphs]
    refused = next((item for graph in verdicts for item in graph if item.status in REFUSING), None)
    ops: list[OpPlacement] = []
    possible, transferred, used = 0, 0, set[tuple[int, int]]()
    cut: int | None = None
    for number, graph in enumerate(model.subgraphs):
        # The compiler looks at the main subgraph only; others are the bodies of control flow.
        steps = _steps(graph, [item.supported for item in verdicts[number]]) if number == 0 else []
        runs = [step for on_device, step in steps if on_device]
        cut = _cut(steps) if number == 0 and not refused else cut
        chosen = [] if refused else runs if every_run else runs[:1]
        possible += len(runs)
        transferred += sum(_crossing(graph, run) for run in chosen)
        of = {index: position for position, run in enumerate(chosen) for index in run}
        ops.extend(_placed(number, graph, op, verdicts[number][op.index], of, refused, used) for op in graph.ops)
    started = len({op.run for op in ops if op.run is not None})
    latency = estimate(_load(ops, transferred, started), bus, host)
    reason = refused.reason if refused else None
    cut_at = ops[cut] if cut is not None else None  # the main subgraph's operators come first
    return Placement(model.path, model, tuple(ops), reason, cut_at, started, possible, transferred, latency)


def _steps(graph: Subgraph, supported: list[bool]) -> list[tuple[bool, list[int]]]:
    """Runs of operators that the device can do and runs of those that it cannot, in the order in which they would run."""
    left, done, steps = list(graph.ops), set[int](), []
    while left:
        kind = next(supported[op.index] for op in left if _ready(graph, op, done))
        step: list[int] = []
        for op in left:
            if supported[op.index] == kind and _ready(graph, op, done):
                step.append(op.index)
                done.add(op.index)
        left = [op for op in left if op.index not in done]
        steps.append((kind, step))
    return steps


def _cut(steps: list[tuple[bool, list[int]]]) -> int | None:
    """The first operator that has to wait for the device's run and that the device cannot do."""
    kinds = [kind for kind, _ in steps]
    first = kinds.index(True) if True in kinds else len(steps)
    return min((index for kind, step in steps[first:] if not kind for index in step), default=None)


def _ready(graph: Subgraph, op: Op, done: set[int]) -> bool:
    return all(graph.producer.get(tensor, op.index) in done or tensor not in graph.producer for tensor in op.inputs)


def _crossing(graph: Subgraph, run: list[int]) -> int:
    """Bytes that go to the device and come back at each inference."""
    inside = set(run)
    read = {tensor for index in run for tensor in _data(graph, graph.ops[index])}
    made = {tensor for index in run for tensor in graph.ops[index].outputs}
    out = {
        tensor
        for tensor in made
        if tensor in graph.outputs or any(user not in inside for user in graph.consumers.get(tensor, ()))
    }
    return sum(graph.tensors[tensor].size_bytes for tensor in (read - made) | out)


def _data(graph: Subgraph, op: Op) -> Iterator[int]:
    return (tensor for tensor in op.inputs if tensor >= 0 and not graph.tensors[tensor].constant)


def _placed(
    number: int,
    graph: Subgraph,
    op: Op,
    verdict: Verdict,
    of: dict[int, int],
    refused: Verdict | None,
    used: set[tuple[int, int]],
) -> OpPlacement:
    run = of.get(op.index)
    status, reason = verdict.status, verdict.reason
    if run is None and verdict.supported:
        if refused:
            status, reason = refused.status, f"the compiler refuses the whole file: {refused.reason}"
        elif number > 0:
            status, reason = NOT_SUPPORTED, "lies in a subgraph of control flow"
        else:
            status, reason = SUBGRAPH, "supported, but comes after an operator that falls off"
    size = 0
    for tensor in {op.inputs[position] for position in parameters(op)}:
        if tensor >= 0 and graph.tensors[tensor].constant and (number, tensor) not in used:
            used.add((number, tensor))
            size += graph.tensors[tensor].size_bytes
    result = graph.output(op) if op.outputs else None
    return OpPlacement(
        subgraph=number,
        op=op,
        name=graph.name_of(op),
        shape=result.shape if result else (),
        dtype=result.dtype if result else "",
        placed=run is not None,
        verdict=verdict,
        status=MAPPED if run is not None else status,
        reason=reason,
        run=run,
        macs=macs(graph, op),
        parameters_bytes=op.custom_bytes if op.custom == COMPILED_OP else size,
    )


def _load(ops: list[OpPlacement], transferred: int, starts: int) -> Load:
    def elements(placed: bool) -> int:
        return sum(_size(op.shape) for op in ops if op.placed is placed and not op.macs and op.kind not in FREE)

    def work(placed: bool, conv: bool) -> int:
        return sum(op.macs for op in ops if op.placed is placed and (op.op.kind in CONVOLUTIONS) is conv)

    held = sum(op.parameters_bytes for op in ops if op.placed)
    return Load(
        conv_macs=work(True, True),
        depthwise_macs=work(True, False),
        elements=elements(True),
        streamed_bytes=max(0, held - sum(ROOM_BYTES) // 2),
        transferred_bytes=transferred,
        starts=starts,
        host_macs=work(False, True) + work(False, False),
        host_elements=elements(False),
    )


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= max(side, 1)
    return size
