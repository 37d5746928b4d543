"""The partition: what runs on the Edge TPU, against compiled files and published compiler logs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from models.edgetpu.graph import COMPILED_OP, Op, Subgraph
from models.edgetpu.placement import Placement, check_tflite
from models.edgetpu.reader import read_model
from models.edgetpu.status import DATA_TYPE, LIMITATION, MAPPED, NOT_SUPPORTED, SUBGRAPH, UNKNOWN_VERSION, UNRESOLVED
from tests.models.edgetpu.build import Net


def check(net: Net, tmp_path: Path, every_run: bool = False) -> Placement:
    return check_tflite(net.write(tmp_path / "net.tflite"), every_run=every_run)


def log(found: Placement) -> dict[tuple[str, str], int]:
    """As the compiler's log counts: operator and status."""
    return dict(Counter((op.op.kind, op.status) for op in found.ops))


def test_the_prediction_is_what_the_compiler_left_of_movenet(kit: Path) -> None:
    """Operator for operator: what the compiled twin still holds, and in which order, is what was predicted to stay."""
    folder = kit / "models" / "coral"
    predicted = check_tflite(folder / "movenet_single_pose_lightning_ptq.tflite")
    twin = read_model(folder / "movenet_single_pose_lightning_ptq_edgetpu.tflite").subgraphs[0]
    left = [op for op in twin.ops if op.custom != COMPILED_OP]
    original = predicted.model.subgraphs[0]

    def described(graph: Subgraph, op: Op) -> tuple[object, ...]:
        return (op.kind, *((graph.tensors[index].shape, graph.tensors[index].dtype) for index in op.outputs))

    assert [described(original, op.op) for op in predicted.off] == [described(twin, op) for op in left]
    assert (predicted.placed, predicted.total, predicted.runs) == (98, 157, 1)
    assert predicted.first_off is not None
    assert predicted.cut is not None
    # Its input is cast on the host; its decoding is what cuts it.
    assert [(op.index, op.kind) for op in (predicted.first_off, predicted.cut)] == [(0, "CAST"), (89, "ARG_MAX")]
    (compiled,) = [op for op in twin.ops if op.custom == COMPILED_OP]
    crossing = {twin.tensors[index].shape for index in compiled.outputs}
    made = {original.tensors[index].shape for op in predicted.ops if op.placed for index in op.op.outputs
            if any(not predicted.ops[user].placed for user in original.consumers.get(index, ()))}  # fmt: skip
    assert made == crossing
    # The executable holds the parameters, padded, and the program: its size is an upper bound.
    assert predicted.parameters_bytes < compiled.custom_bytes < 1.5 * predicted.parameters_bytes


def test_a_compiled_file_is_recognised(kit: Path) -> None:
    found = check_tflite(kit / "models" / "coral" / "movenet_single_pose_lightning_ptq_edgetpu.tflite")
    assert found.compiled
    assert (found.placed, found.total) == (1, 60)


def test_a_float_network_runs_on_the_host(kit: Path) -> None:
    found = check_tflite(kit / "models" / "det" / "yolox_nano_float16_quantize.tflite")
    assert (found.placed, found.runs, found.fully_placed) == (0, 0, False)
    assert found.latency.device_ms == found.latency.start_ms == 0
    assert found.cut is None
    assert found.first_off is not None
    assert "FLOAT32" in found.first_off.reason


def test_a_network_quantised_in_part_has_its_convolutions_off(kit: Path) -> None:
    """yolox int8 quantises weights only: its convolutions are float."""
    found = check_tflite(kit / "models" / "det" / "yolox_nano_only_int8_quantize.tflite")
    assert not any(op.placed for op in found.ops if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"))
    assert found.placed < 20


def test_what_comes_after_a_sine_is_stranded(tmp_path: Path) -> None:
    """Published, compiler 16.0: Dense, Dense, SIN, Dense compiles to one run of the first two; the last stays on the CPU."""
    net = Net()
    last = net.dense(net.dense(net.input([1, 16]), 16), 16)
    last = net.unary("SIN", net.unary("DEQUANTIZE", last, "FLOAT32", version=2), "FLOAT32")
    net.dense(net.unary("QUANTIZE", last), 16)
    found = check(net, tmp_path)
    assert [op.kind for op in found.ops if not op.placed] == ["DEQUANTIZE", "SIN", "QUANTIZE", "FULLY_CONNECTED"]
    assert found.ops[-1].status == SUBGRAPH


def mnist(integer: bool) -> Net:
    net = Net()
    last = net.input([1, 28, 28, 1], "INT8" if integer else "FLOAT32")
    last = last if integer else net.unary("QUANTIZE", last)
    for depth in (8, 16):
        last = net.pool(net.conv(last, depth, 3, fusedActivationFunction=1))
    last = net.reshape(last, [1, 7 * 7 * 16])
    last = net.unary("SOFTMAX", net.dense(net.dense(last, 64), 10))
    if not integer:
        net.unary("DEQUANTIZE", last, "FLOAT32", version=2)
    return net


MNIST_MAPPED = {("RESHAPE", MAPPED): 1, ("CONV_2D", MAPPED): 2, ("SOFTMAX", MAPPED): 1, ("MAX_POOL_2D", MAPPED): 2,
                ("FULLY_CONNECTED", MAPPED): 2}  # fmt: skip


def test_a_digit_classifier_with_integer_ends_is_fully_placed(tmp_path: Path) -> None:
    """github.com/system-software-lab/nrf20, convert/quantize/README.md: mnist7, compiler 15.0."""
    found = check(mnist(True), tmp_path)
    assert log(found) == MNIST_MAPPED
    assert found.fully_placed


def test_a_digit_classifier_with_float_ends_keeps_them_on_the_host(tmp_path: Path) -> None:
    """The same page: mnist4. The head is blamed on a limitation, the tail on its type."""
    found = check(mnist(False), tmp_path)
    assert log(found) == {**MNIST_MAPPED, ("QUANTIZE", LIMITATION): 1, ("DEQUANTIZE", DATA_TYPE): 1}
    assert found.runs == 1


def test_mobilenet_v2_is_placed_but_for_its_float_ends(tmp_path: Path) -> None:
    """Published log: 70 of 72 operators (github.com/f0cal/google-coral/issues/20)."""
    net = Net()
    last = net.conv(net.unary("QUANTIZE", net.input([1, 32, 32, 3], "FLOAT32")), 8, 3)
    for number in range(17):
        last = net.pad(last, [[0, 0], [0, 1], [0, 1], [0, 0]]) if number < 5 else last
        made = net.conv(net.depthwise(net.conv(last, 16)), 8)
        last = net.add(made, last) if number >= 7 else made
    last = net.reduce("MEAN", last, [1, 2])
    last = net.unary("SOFTMAX", net.dense(last, 10))
    net.unary("DEQUANTIZE", last, "FLOAT32", version=2)
    found = check(net, tmp_path)
    assert log(found) == {
        ("ADD", MAPPED): 10, ("PAD", MAPPED): 5, ("QUANTIZE", LIMITATION): 1, ("CONV_2D", MAPPED): 35,
        ("DEPTHWISE_CONV_2D", MAPPED): 17, ("DEQUANTIZE", DATA_TYPE): 1, ("MEAN", MAPPED): 1, ("FULLY_CONNECTED", MAPPED): 1,
        ("SOFTMAX", MAPPED): 1,
    }  # fmt: skip
    assert (found.placed, found.total) == (70, 72)


def efficientdet_lite0() -> Net:
    """The operators of EfficientDet-Lite0 as TFLite Model Maker exports it, in a plain wiring."""
    net = Net()
    last = net.unary("QUANTIZE", net.input([1, 32, 32, 3], "UINT8"))
    last = net.conv(last, 8)
    for number in range(80):
        last = net.conv(net.depthwise(last), 8)
        last = net.add(last, last) if number < 42 else last
    for _ in range(14):
        last = net.pool(last, stride=1)
    for _ in range(12):
        last = net.resize(last, 1, "RESIZE_NEAREST_NEIGHBOR")
    heads = [[net.reshape(net.conv(last, 4), [1, 1024, 4]) for _ in range(5)] for _ in range(2)]
    for _ in range(11):
        last = net.conv(last, 8)
    boxes, scores = (net.concat(*head, axis=1) for head in heads)
    scores = net.unary("LOGISTIC", scores)
    ends = [net.unary("DEQUANTIZE", tensor, "FLOAT32", version=2) for tensor in (boxes, scores)]
    answers = [net.tensor([1, 25], "FLOAT32") for _ in range(4)]
    net.op("CUSTOM", ends, None, custom="TFLite_Detection_PostProcess", outputs=answers)
    return net


def test_efficientdet_lite0_keeps_its_post_processing_on_the_host(tmp_path: Path) -> None:
    """Published log, compiler 16.0: 267 operators, 264 on the Edge TPU, 3 on the CPU (TFLite Model Maker, 320x320)."""
    found = check(efficientdet_lite0(), tmp_path)
    assert log(found) == {
        ("ADD", MAPPED): 42, ("CUSTOM", DATA_TYPE): 1, ("RESHAPE", MAPPED): 10, ("CONCATENATION", MAPPED): 2,
        ("RESIZE_NEAREST_NEIGHBOR", MAPPED): 12, ("DEPTHWISE_CONV_2D", MAPPED): 80, ("DEQUANTIZE", DATA_TYPE): 2,
        ("CONV_2D", MAPPED): 102, ("QUANTIZE", MAPPED): 1, ("LOGISTIC", MAPPED): 1, ("MAX_POOL_2D", MAPPED): 14,
    }  # fmt: skip
    assert (found.placed, found.total) == (264, 267)


def test_yolov3_tiny_stops_at_its_first_leaky_relu(tmp_path: Path) -> None:
    """Published log, compiler 15.0: of 36 operators, QUANTIZE and CONV_2D are mapped; 11 LEAKY_RELU are not supported."""
    net = Net()
    last = net.unary("QUANTIZE", net.input([1, 32, 32, 3], "UINT8"))
    for number in range(11):
        last = net.unary("LEAKY_RELU", net.conv(last, 8))
        last = net.pool(last, stride=1) if number < 6 else last
    net.conv(net.concat(last, last), 8)
    found = check(net, tmp_path)
    assert log(found) == {
        ("QUANTIZE", MAPPED): 1, ("CONV_2D", MAPPED): 1, ("CONV_2D", SUBGRAPH): 11, ("LEAKY_RELU", NOT_SUPPORTED): 11,
        ("MAX_POOL_2D", SUBGRAPH): 6, ("CONCATENATION", SUBGRAPH): 1,
    }  # fmt: skip
    assert found.first_off is not None
    assert (found.first_off.index, found.first_off.kind, found.first_off.fix) == (2, "LEAKY_RELU", "use RELU or PRELU")
    assert found.cut is found.first_off


def test_yolov5n_without_its_decoding_is_fully_placed(tmp_path: Path) -> None:
    """Published log, compiler 16.0: 201 operators, one subgraph, none on the CPU (SiLU as LOGISTIC and MUL)."""
    net = Net()
    last = net.unary("QUANTIZE", net.input([1, 32, 32, 3], "UINT8"))
    for number in range(57):
        made = net.conv(last, 8)
        made = net.op("MUL", [made, net.unary("LOGISTIC", made)], net.shape(made), version=2)
        last = net.add(made, made) if number < 7 else made
        last = net.pool(last, stride=1) if 7 <= number < 10 else last
        last = net.resize(last, 1, "RESIZE_NEAREST_NEIGHBOR") if 10 <= number < 12 else last
        last = net.concat(last, last) if 12 <= number < 25 else last
    for _ in range(3):
        head = net.conv(last, 255)
    net.unary("QUANTIZE", head)
    found = check(net, tmp_path)
    assert log(found) == {
        ("CONCATENATION", MAPPED): 13, ("LOGISTIC", MAPPED): 57, ("RESIZE_NEAREST_NEIGHBOR", MAPPED): 2,
        ("CONV_2D", MAPPED): 60, ("MUL", MAPPED): 57, ("QUANTIZE", MAPPED): 2, ("MAX_POOL_2D", MAPPED): 3, ("ADD", MAPPED): 7,
    }  # fmt: skip
    assert found.fully_placed


def test_a_pose_network_with_prelu_is_fully_placed(tmp_path: Path) -> None:
    """MobileHumanPose, compiler 16.0: 139 operators, all mapped (github.com/eehoeskrap/PaperReview/issues/15)."""
    net = Net()
    last = net.unary("QUANTIZE", net.input([1, 16, 16, 3], "UINT8"))
    for number in range(41):
        last = net.conv(last, 8)
        last = net.op("PRELU", [last, net.constant([[[1] * 8]], "INT8")], net.shape(last))
        if number < 17:
            last = net.depthwise(net.pad(last, [[0, 0], [1, 1], [1, 1], [0, 0]]))
        last = net.pad(last, [[0, 0], [0, 0], [0, 0], [0, 0]]) if 17 <= number < 21 else last
        last = net.add(last, last) if number < 10 else last
        last = net.resize(last) if 21 <= number < 24 else last
    for _ in range(3):
        last = net.concat(last, last)
    net.unary("QUANTIZE", net.conv(last, 18))
    found = check(net, tmp_path)
    assert log(found) == {
        ("CONV_2D", MAPPED): 42, ("QUANTIZE", MAPPED): 2, ("ADD", MAPPED): 10, ("PRELU", MAPPED): 41,
        ("CONCATENATION", MAPPED): 3, ("PAD", MAPPED): 21, ("DEPTHWISE_CONV_2D", MAPPED): 17, ("RESIZE_BILINEAR", MAPPED): 3,
    }  # fmt: skip


def test_a_classifier_that_ends_in_argmax_leaves_only_that_on_the_host(tmp_path: Path) -> None:
    """Published log: github.com/google-coral/edgetpu/issues/409."""
    net = Net()
    last = net.input([1, 16, 16, 3])
    for _ in range(2):
        last = net.pool(net.conv(last, 8))
    last = net.reshape(net.depthwise(last), [1, 128])
    last = net.dense(net.dense(last, 16), 4)
    net.op("ARG_MAX", [last, net.constant(1)], [1], dtype="INT32")
    found = check(net, tmp_path)
    assert log(found) == {
        ("DEPTHWISE_CONV_2D", MAPPED): 1, ("RESHAPE", MAPPED): 1, ("MAX_POOL_2D", MAPPED): 2, ("FULLY_CONNECTED", MAPPED): 2,
        ("CONV_2D", MAPPED): 2, ("ARG_MAX", DATA_TYPE): 1,
    }  # fmt: skip


def broken_in_the_middle() -> Net:
    net = Net()
    last = net.conv(net.conv(net.input([1, 8, 8, 4]), 4), 4)
    net.conv(net.unary("LEAKY_RELU", last), 4)
    net.conv(last, 8, name="branch")
    return net


def test_what_does_not_depend_on_the_cut_stays_on_the_device(tmp_path: Path) -> None:
    """A branch beside the operator that falls off; the network of MoveNet's twin shows the same."""
    found = check(broken_in_the_middle(), tmp_path)
    assert [op.placed for op in found.ops] == [True, True, False, False, True]
    assert (found.runs, found.possible_runs) == (1, 2)


def test_with_all_runs_what_comes_after_the_cut_is_placed_too(tmp_path: Path) -> None:
    found = check(broken_in_the_middle(), tmp_path, every_run=True)
    assert [op.run for op in found.ops] == [0, 0, None, 1, 0]
    assert found.latency.start_ms == 2 * check(broken_in_the_middle(), tmp_path).latency.start_ms


@pytest.mark.parametrize(
    ("kind", "status"),
    [("version", UNKNOWN_VERSION), ("custom", UNRESOLVED)],
    ids=["an unknown version", "an unknown custom operator"],
)
def test_a_refused_file_has_nothing_on_the_device(kind: str, status: str, tmp_path: Path) -> None:
    net = Net()
    last = net.conv(net.input([1, 8, 8, 4]), 4)
    if kind == "version":
        net.conv(last, 4, version=6)
    else:
        net.op("CUSTOM", [last], [1, 4], custom="PosenetDecoderOp")
    found = check(net, tmp_path)
    assert found.refused is not None
    assert found.placed == 0
    assert found.ops[0].reason.startswith("the compiler refuses the whole file")
    assert found.ops[0].status == status


def simple_baseline() -> Net:
    """A residual stub and the head of SimpleBaseline: three transposed convolutions and a 1x1 one (Xiao et al., 2018)."""
    net = Net()
    last = net.conv(net.input([1, 64, 48, 3], "INT8"), 32, 3, 2, fusedActivationFunction=1)
    last = net.add(net.conv(last, 32), last)
    last = net.conv(net.conv(last, 64, 3, 2), 64, 3, 2)
    for number in range(3):
        last = net.transposed(last, 32, name=f"head/deconv{number + 1}")
        last = net.unary("RELU", last)
    net.conv(last, 17, name="head/final")
    return net


def test_the_transposed_convolutions_of_simple_baseline_are_found_and_named(tmp_path: Path) -> None:
    found = check(simple_baseline(), tmp_path)
    assert [(op.kind, op.name) for op in found.doubtful] == [
        ("TRANSPOSE_CONV", "head/deconv1"),
        ("TRANSPOSE_CONV", "head/deconv2"),
        ("TRANSPOSE_CONV", "head/deconv3"),
    ]
    (warned,) = [warned for warned in found.doubtful[0].warnings if warned.doubtful]
    assert "fall off" in warned.text
    assert any("686" in source for source in warned.sources)
    assert found.runtime == 13
    # By the published table they run, so the placement is full; it is not to be relied on.
    assert found.fully_placed


def test_bodies_of_control_flow_stay_on_the_host(tmp_path: Path) -> None:
    net = Net()
    net.conv(net.input([1, 8, 8, 3]), 4)
    net.next_subgraph()
    net.conv(net.input([1, 8, 8, 3]), 4)
    found = check(net, tmp_path)
    assert len(found.model.subgraphs) == 2
    assert [(op.subgraph, op.placed, op.status) for op in found.ops] == [(0, True, MAPPED), (1, False, NOT_SUPPORTED)]
    assert not found.fully_placed


def test_an_empty_network_is_not_called_placed(tmp_path: Path) -> None:
    empty = check(Net(), tmp_path)
    assert (empty.total, empty.fully_placed, empty.first_off) == (0, False, None)
