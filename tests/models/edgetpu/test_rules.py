"""Each rule of the table, kept and broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.edgetpu.reader import read_model
from models.edgetpu.rules import DOUBTFUL, REFUSED, RULES
from models.edgetpu.status import DATA_TYPE, LIMITATION, MAPPED, NOT_SUPPORTED, RANK, STRIDES, UNKNOWN_VERSION, UNRESOLVED
from models.edgetpu.verdict import Verdict, judge
from models.edgetpu.versions import INT8_SINCE, NEWEST, REPORTED, too_new
from tests.models.edgetpu.build import Net

Step = Callable[[Net, int], object]
# The operators of table 1, by the names that the page gives them, as other readers listed them.
TABLE = {
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED",
    "L2_NORMALIZATION", "LOGISTIC", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL",
    "PACK", "PAD", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE",
    "STRIDED_SLICE", "SUB", "SUM", "SQUARED_DIFFERENCE", "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
}  # fmt: skip


def verdict(tmp_path: Path, step: Step, shape: list[int] | None = None, dtype: str = "INT8") -> Verdict:
    """The verdict on the last operator of a network that `step` builds on an input."""
    net = Net()
    step(net, net.input(shape or [1, 8, 8, 4], dtype))
    (graph,) = read_model(net.write(tmp_path / "one.tflite")).subgraphs
    return judge(graph, graph.ops[-1])


def strided(strides: list[int], **masks: int) -> Step:
    def step(net: Net, last: int) -> object:
        bounds = [net.constant([0, 0, 0, 0]), net.constant([1, 8, 8, 4]), net.constant(strides)]
        return net.op("STRIDED_SLICE", [last, *bounds], [1, 8, 8, 4], **masks)

    return step


def prelu(alpha: list[int]) -> Step:
    return lambda net, last: net.op("PRELU", [last, net.constant(np.ones(alpha), "INT8")], [1, 8, 8, 4])


def split(axis: int) -> Step:
    def step(net: Net, last: int) -> object:
        halves = [net.tensor([1, 8, 8, 2]) for _ in range(2)]
        return net.op("SPLIT", [net.constant(axis), last], None, outputs=halves, numSplits=2)

    return step


def joined(values: float, more: int = 0) -> Step:
    def step(net: Net, last: int) -> object:
        constant = net.constant(np.full((1, 8, 8, 2), values), "INT8")
        return net.concat(last, constant, *[last] * more)

    return step


KEPT: dict[str, Step] = {
    "a convolution": lambda net, last: net.conv(last, 8, 3),
    "a dilated convolution": lambda net, last: net.conv(last, 8, 3, dilationWFactor=2, dilationHFactor=2),
    "a convolution with a fused activation": lambda net, last: net.conv(last, 8, fusedActivationFunction=3),
    "a depthwise convolution": lambda net, last: net.depthwise(last),
    "a pool": lambda net, last: net.pool(last),
    "an average pool": lambda net, last: net.pool(last, "AVERAGE_POOL_2D"),
    "a concatenation with zeros": joined(0),
    "an addition": lambda net, last: net.add(last, last),
    "an addition of a constant": lambda net, last: net.add(last, net.constant(np.ones((1, 1, 1, 4)), "INT8")),
    "a mean over x and y": lambda net, last: net.reduce("MEAN", last, [1, 2]),
    "a mean over z, of 4": lambda net, last: net.reduce("MEAN", last, [3]),
    "a maximum over negative axes": lambda net, last: net.reduce("REDUCE_MAX", last, [-1]),
    "a sum over y": lambda net, last: net.reduce("SUM", last, [1]),
    "a pad of y and x": lambda net, last: net.pad(last, [[0, 0], [1, 1], [1, 1], [0, 0]]),
    "a softmax of 1x16000": lambda net, last: net.unary("SOFTMAX", net.tensor([1, 16000])),
    "a fully connected layer": lambda net, last: net.dense(net.reshape(last, [1, 256]), 10),
    "a prelu with one alpha a channel": prelu([1, 1, 4]),
    "a split of channels": split(3),
    "a slice with unit strides": strided([1, 1, 1, 1]),
    "a resize": lambda net, last: net.resize(last),
    "a resize to nearest": lambda net, last: net.resize(last, 2, "RESIZE_NEAREST_NEIGHBOR"),
    "a pack of x": lambda net, last: net.op("PACK", [net.tensor([1, 8, 4])] * 2, [1, 2, 8, 4], axis=1),
    "a requantisation": lambda net, last: net.unary("QUANTIZE", last),
    "uint8 to int8": lambda net, last: net.unary("QUANTIZE", net.tensor([1, 4], "UINT8")),
    "an lstm with its int32 biases and int16 state": lambda net, last: net.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", [net.tensor([1, 4, 8]), net.constant(np.ones((8, 8)), "INT8"), net.constant([0] * 8),
                                         net.tensor([1, 8], "INT16")], [1, 4, 8]),
    "a transposed convolution": lambda net, last: net.transposed(last, 8),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_keeps_its_rule_is_placed(name: str, tmp_path: Path) -> None:
    found = verdict(tmp_path, KEPT[name])
    assert (found.supported, found.status, found.reason) == (True, MAPPED, "")


BROKEN: dict[str, tuple[Step, str, str]] = {
    "two dilations": (
        lambda net, last: net.conv(last, 8, 3, dilationWFactor=2), LIMITATION, "dilation is 2 in x and 1 in y"),
    "two depthwise dilations": (
        lambda net, last: net.depthwise(last, dilationHFactor=4), LIMITATION, "dilation is 1 in x and 4 in y"),
    "a pool with an activation": (
        lambda net, last: net.pool(last, fusedActivationFunction=1), LIMITATION, "fused activation RELU"),
    "an average pool with an activation": (
        lambda net, last: net.pool(last, "AVERAGE_POOL_2D", fusedActivationFunction=3), LIMITATION, "fused activation RELU6"),
    "a concatenation with an activation": (
        lambda net, last: net.concat(last, last, fusedActivationFunction=1), LIMITATION, "fused activation RELU"),
    "a concatenation with ones": (joined(1), LIMITATION, "is not zero"),
    "a concatenation with a constant and two more": (joined(0, 1), LIMITATION, "among 3 inputs"),
    "a mean over the batch": (
        lambda net, last: net.reduce("MEAN", last, [0, 1]), LIMITATION, "reduces the batch dimension"),
    "a mean over z, of 6": (
        lambda net, last: net.reduce("MEAN", net.conv(last, 6), [1, 2, 3]), LIMITATION, "6 and no multiple of 4"),
    "a sum over the batch": (lambda net, last: net.reduce("SUM", last, [-4]), LIMITATION, "reduces the batch dimension"),
    "a maximum over the batch": (
        lambda net, last: net.reduce("REDUCE_MAX", last, [0]), LIMITATION, "reduces the batch dimension"),
    "a pad of the batch": (
        lambda net, last: net.pad(last, [[0, 1], [0, 0], [0, 0], [0, 0]]), LIMITATION, "pads the batch dimension"),
    "a softmax of two dimensions": (
        lambda net, last: net.unary("SOFTMAX", last), LIMITATION, "1x8x8x4 has more than one dimension above 1"),
    "a softmax of 16,001": (
        lambda net, last: net.unary("SOFTMAX", net.tensor([1, 16001])), LIMITATION, "16001 elements, more than 16000"),
    "a fully connected layer of two rows": (
        lambda net, last: net.dense(net.reshape(last, [8, 32]), 10), LIMITATION, "8x10 has more than one dimension above 1"),
    "shuffled weights": (
        lambda net, last: net.dense(net.reshape(last, [1, 256]), 10, weightsFormat=1), LIMITATION, "SHUFFLED4x16INT8"),
    "a prelu with one alpha a pixel": (prelu([8, 8, 4]), LIMITATION, "alpha is 8x8x4"),
    "a split of the batch": (split(0), LIMITATION, "splits the batch dimension"),
    "a pack into the batch": (
        lambda net, last: net.op("PACK", [last], [1, 1, 8, 8, 4], axis=0), LIMITATION, "packs into the batch dimension"),
    "a slice with strides": (strided([1, 2, 2, 1]), STRIDES, "strides are [1, 2, 2, 1]"),
    "a slice with a new axis": (strided([1, 1, 1, 1], newAxisMask=2), LIMITATION, "new_axis_mask 2"),
    "a slice with an ellipsis": (strided([1, 1, 1, 1], ellipsisMask=1), LIMITATION, "ellipsis_mask 1"),
    "computed weights": (
        lambda net, last: net.op("CONV_2D", [last, net.tensor([8, 1, 1, 4]), net.constant([0] * 8)], [1, 8, 8, 8]),
        LIMITATION, "no constant"),
    "a computed shape": (
        lambda net, last: net.op("RESHAPE", [last, net.tensor([2], "INT32")], [1, 256]), LIMITATION, "no constant"),
    "a float tensor": (lambda net, last: net.unary("LOGISTIC", net.tensor([1, 8], "FLOAT32"), "FLOAT32"), DATA_TYPE, "FLOAT32"),
    "an int16 tensor": (lambda net, last: net.unary("LOGISTIC", net.tensor([1, 8], "INT16"), "INT16"), DATA_TYPE, "INT16"),
    "an int32 sum": (
        lambda net, last: net.add(net.tensor([1, 8], "INT32"), net.tensor([1, 8], "INT32"), dtype="INT32"), DATA_TYPE, "INT32"),
    "float to int8": (lambda net, last: net.unary("QUANTIZE", net.tensor([1, 8], "FLOAT32")), LIMITATION, "FLOAT32"),
    "int8 to float": (lambda net, last: net.unary("DEQUANTIZE", last, "FLOAT32"), DATA_TYPE, "not among the operators"),
    "a resize of a batch": (
        lambda net, last: net.op("RESIZE_BILINEAR", [net.tensor([2, 4, 4, 3]), net.constant([8, 8])], [2, 8, 8, 3]),
        RANK, "has the outer dimension 2"),
    "a batch of 2": (lambda net, last: net.unary("RELU", net.tensor([2, 8, 8, 4])), RANK, "3 innermost dimensions"),
    "a pixel shuffle through six dimensions": (
        lambda net, last: net.reshape(last, [1, 8, 8, 1, 2, 2]), RANK, "1x8x8x1x2x2"),
    "leaky relu": (lambda net, last: net.unary("LEAKY_RELU", last), NOT_SUPPORTED, "LEAKY_RELU is not among"),
    "hard swish": (lambda net, last: net.unary("HARD_SWISH", last), NOT_SUPPORTED, "HARD_SWISH is not among"),
    "depth to space": (
        lambda net, last: net.op("DEPTH_TO_SPACE", [last], [1, 16, 16, 1], blockSize=2), NOT_SUPPORTED, "DEPTH_TO_SPACE"),
    "the place of the maximum": (
        lambda net, last: net.op("ARG_MAX", [last, net.constant(3)], [1, 8, 8], dtype="INT32"), DATA_TYPE, "ARG_MAX"),
    "an unknown custom operator": (
        lambda net, last: net.op("CUSTOM", [last], [1, 4], custom="Atan"), UNRESOLVED, "'Atan'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_falls_off_with_its_reason(name: str, tmp_path: Path) -> None:
    step, status, said = BROKEN[name]
    found = verdict(tmp_path, step)
    assert (found.supported, found.status) == (False, status)
    assert said in found.reason


def test_a_size_known_only_at_run_time_falls_off(tmp_path: Path) -> None:
    net = Net()
    net.conv(net.input([1, 8, 8, 3], signature=[1, -1, -1, 3]), 4)
    (graph,) = read_model(net.write(tmp_path / "m.tflite")).subgraphs
    found = judge(graph, graph.ops[0])
    assert not found.supported
    assert "only known at run time" in found.reason


@pytest.mark.parametrize("kind", ["CONV_2D", "TRANSPOSE_CONV", "QUANTIZE"])
def test_a_version_that_the_last_compiler_does_not_know_refuses_the_file(kind: str, tmp_path: Path) -> None:
    refused = REPORTED[kind][0]
    steps: dict[str, Callable[[Net, int, int], int]] = {
        "CONV_2D": lambda net, last, version: net.conv(last, 4, version=version),
        "TRANSPOSE_CONV": lambda net, last, version: net.transposed(last, 4, version=version),
        "QUANTIZE": lambda net, last, version: net.unary("QUANTIZE", last, version=version),
    }
    assert verdict(tmp_path, lambda net, last: steps[kind](net, last, refused - 1)).supported
    found = verdict(tmp_path, lambda net, last: steps[kind](net, last, refused))
    assert (found.supported, found.status, found.documented) == (False, UNKNOWN_VERSION, False)
    assert found.source == REPORTED[kind][1]


def test_tensorflows_table_says_what_the_reported_refusals_say() -> None:
    for kind, (version, _) in REPORTED.items():
        assert too_new(kind, version)
    assert not too_new("SOMETHING_ELSE", 99)
    assert set(RULES) <= set(NEWEST)
    assert all(1 < INT8_SINCE[kind] <= NEWEST[kind] for kind in INT8_SINCE)


def test_the_versions_that_the_compiler_mapped_in_movenet_are_known_to_it(kit: Path) -> None:
    (graph,) = read_model(kit / "models" / "coral" / "movenet_single_pose_lightning_ptq.tflite").subgraphs
    assert not [op for op in graph.ops if too_new(op.kind, op.version)]
    assert not [op for op in graph.ops[2:88] if op.version < INT8_SINCE.get(op.kind, 1)]


def test_an_operator_younger_than_the_compiler_refuses_the_file(tmp_path: Path) -> None:
    found = verdict(tmp_path, lambda net, last: net.unary("GELU", last))
    assert (found.status, "does not know this operator" in found.reason) == (UNKNOWN_VERSION, True)


def test_an_int8_operator_of_a_version_for_uint8_is_noted(tmp_path: Path) -> None:
    found = verdict(tmp_path, lambda net, last: net.conv(last, 4, version=1))
    assert found.supported
    assert ["version 1 of an int8 operator" in warned.text for warned in found.warnings] == [True]


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_no_operator_ever_had_is_noted_for_all_kinds(version: int, tmp_path: Path) -> None:
    """RESHAPE is in no table of when int8 came: 1 is its first version."""
    found = verdict(tmp_path, lambda net, last: net.reshape(last, [1, 256], version=version), [1, 8, 8, 4])
    assert found.supported
    assert any(f"version {version} of an int8 operator, TensorFlow writes 1" in item.text for item in found.warnings)


def test_the_table_is_the_published_one() -> None:
    assert set(RULES) == TABLE
    assert not set(REFUSED) & set(RULES)


def test_every_row_and_limit_has_its_source() -> None:
    for rule in RULES.values():
        assert rule.source
        assert set(rule.roles.rstrip("*")) <= set("dwbap")
        for limit in rule.limits:
            assert limit.text
            assert limit.source
            # A limit that the documentation does not give must say where it was seen.
            assert limit.documented == limit.source.startswith("coral.ai/docs")
    assert all(sources and all(source.startswith("github.com/") for source in sources) for _, sources in DOUBTFUL.values())


def test_limits_without_a_number_are_notes_and_doubtful_operators_are_warned_of(tmp_path: Path) -> None:
    resize = verdict(tmp_path, KEPT["a resize"])
    assert [warned.doubtful for warned in resize.warnings] == [False]
    transposed = verdict(tmp_path, KEPT["a transposed convolution"])
    assert transposed.warnings[0].doubtful
    assert not verdict(tmp_path, KEPT["a convolution"]).warnings
