"""Properties of the partition, on random networks."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from models.edgetpu.graph import Model, Op, Subgraph, Tensor
from models.edgetpu.placement import Placement, place


@st.composite
def networks(draw: st.DrawFn) -> Model:
    """Up to 30 operators of one or two inputs; some that the Edge TPU has not."""
    count = draw(st.integers(1, 30))
    shape = (1, 4, 4, 8)
    tensors = tuple(Tensor(index, f"t{index}", "INT8", shape, scales=(0.1,), zero_points=(0,)) for index in range(count + 1))
    ops = []
    for index in range(count):
        known = draw(st.booleans())
        sources = draw(st.lists(st.integers(0, index), min_size=1, max_size=2))
        kind = ("ADD" if known else "DIV") if len(sources) == 2 else ("RELU" if known else "LEAKY_RELU")
        ops.append(Op(index, kind, 2, tuple(sources), (index + 1,)))
    return Model(Path("random.tflite"), (Subgraph("main", tensors, tuple(ops), (0,), (count,)),), 0)


def behind(found: Placement, run: int) -> set[int]:
    """Operators outside a run that depend on it, directly or not."""
    tensors: set[int] = set()
    ops: set[int] = set()
    for op in found.ops:
        if op.run == run or tensors.intersection(op.op.inputs):
            tensors.update(op.op.outputs)
            if op.run != run:
                ops.add(op.index)
    return ops


@given(networks())
@settings(deadline=None, max_examples=60)
def test_a_run_can_be_one_operator(model: Model) -> None:
    """Nothing that a run reads depends on what the run makes, or it could never start."""
    found = place(model, every_run=True)
    graph = model.subgraphs[0]
    for run in range(found.runs):
        needed = {graph.producer.get(tensor) for op in found.ops if op.run == run for tensor in op.op.inputs}
        assert not behind(found, run) & needed


@given(networks())
@settings(deadline=None, max_examples=60)
def test_with_all_runs_exactly_what_is_supported_is_placed(model: Model) -> None:
    found = place(model, every_run=True)
    assert [op.placed for op in found.ops] == [op.supported for op in found.ops]
    assert found.runs == found.possible_runs


@given(networks())
@settings(deadline=None, max_examples=60)
def test_by_default_the_first_run_is_placed_and_as_large_as_can_be(model: Model) -> None:
    """Every supported operator that needs nothing behind the cut is in it."""
    one, all_runs = place(model), place(model, every_run=True)
    assert one.runs == min(1, all_runs.possible_runs)
    assert [op.placed for op in one.ops] == [op.run == 0 for op in all_runs.ops]
    stranded = {op.index for op in one.ops if op.supported and not op.placed}
    assert stranded <= behind(one, 0) | _behind_unsupported(one)
    assert one.fully_placed == all(op.supported for op in one.ops)


def _behind_unsupported(found: Placement) -> set[int]:
    """Operators that wait for one that the device has not, in a part of the network beside the run."""
    tensors: set[int] = set()
    ops: set[int] = set()
    for op in found.ops:
        if not op.supported or tensors.intersection(op.op.inputs):
            tensors.update(op.op.outputs)
            ops.add(op.index)
    return ops


@given(networks())
@settings(deadline=None, max_examples=60)
def test_there_is_a_cut_exactly_where_operators_are_stranded_or_fall_off_later(model: Model) -> None:
    found = place(model)
    stranded = [op for op in found.ops if op.supported and not op.placed]
    if stranded and found.runs:
        assert found.cut is not None
    if found.cut is not None:
        assert not found.cut.supported
        assert found.runs == 1
        assert found.cut.index >= min(op.index for op in found.ops if not op.supported)
