"""Whether TensorRT takes a network: by the published rules, and by the real parser where tensorrt-rtx is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from common.manifest import ModelError
from models.tensorrt import rtx
from models.tensorrt.check import BUILDER, PARSER, Check, check_onnx
from models.tensorrt.finding import Finding
from models.tensorrt.table import IN_BOTH, IN_NONE, ONLY_NEW, OTHER_SCHEMES
from tests.models.tensorrt.build import Net

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec(rtx.PACKAGE) is None, reason="tensorrt-rtx is absent: run by .ci/run with the extra tensorrt-check"
)


def check(net: Net, tmp_path: Path, parse: bool = False) -> Check:
    return check_onnx(net.write(tmp_path / "net.onnx"), parse=parse)


def found(net: Net, tmp_path: Path, level: str = "error") -> list[Finding]:
    return [item for item in check(net, tmp_path).findings if item.level == level]


def plain() -> Net:
    net = Net([1, 3, 16, 16])
    net.node("Relu", net.conv(net.input, 4, 3), name="relu")
    return net


def test_a_plain_network_has_no_findings(tmp_path: Path) -> None:
    answer = check(plain(), tmp_path)
    assert (answer.good, answer.findings, answer.opset, answer.quantised) == (True, (), 17, False)
    assert answer.operators == {"Conv": 1, "Relu": 1}
    assert answer.parser == {"skipped": "not asked for"}


@pytest.mark.parametrize(
    ("opset", "errors", "warnings"),
    [(8, [], ["older than 9"]), (13, [], []), (17, [], []), (18, [], ["TensorRT 8.5", "TensorRT 8.6"]),
     (20, [], ["TensorRT 8.5", "TensorRT 8.6", "TensorRT 9.2"]),
     (25, ["TensorRT 10.15"], ["TensorRT 8.5", "TensorRT 8.6", "TensorRT 9.2"])],
)  # fmt: skip
def test_the_opset_is_held_against_each_release(opset: int, errors: list[str], warnings: list[str], tmp_path: Path) -> None:
    net = plain()
    net.opset = opset
    answer = check(net, tmp_path)
    for level, wanted in (("error", errors), ("warning", warnings)):
        texts = [item.text for item in answer.findings if item.level == level and item.subject == "opset"]
        assert len(texts) == len(wanted)
        assert all(any(part in text for text in texts) for part in wanted)


def test_an_operator_of_another_domain_needs_a_plugin(tmp_path: Path) -> None:
    net = plain()
    net.node("Fancy", net.nodes[-1].output[0], name="mine", domain="my.ops")
    (item,) = found(net, tmp_path)
    assert (item.subject, item.by) == ("Fancy 'mine'", "rules")
    assert "'my.ops'" in item.text


def test_tensorrts_own_plugin_is_told_apart_from_yours(tmp_path: Path) -> None:
    net = plain()
    net.node("EfficientNMS_TRT", net.nodes[-1].output[0], name="nms", domain="TRT")
    assert found(net, tmp_path) == []
    (item,) = found(net, tmp_path, "warning")
    assert "ships with TensorRT" in item.text


@pytest.mark.parametrize("kind", ["Unique", "Det", "BitShift", "QLinearConv"])
def test_an_operator_in_no_table_is_an_error_with_its_fix(kind: str, tmp_path: Path) -> None:
    net = plain()
    net.nodes.append(helper.make_node(kind, [net.nodes[-1].output[0]], ["out"], name="bad"))
    (item,) = found(net, tmp_path)
    assert item.subject == f"{kind} 'bad'"
    assert item.fix == OTHER_SCHEMES.get(kind, "rewrite it, or cut it off and do it on the host")


def test_an_operator_that_only_new_releases_know_is_a_warning(tmp_path: Path) -> None:
    net = plain()
    net.node("LayerNormalization", net.nodes[-1].output[0], net.constant(np.ones(16)), name="norm")
    assert found(net, tmp_path) == []
    (item,) = found(net, tmp_path, "warning")
    assert "by TensorRT 10.15 but not by 8.5" in item.text


def test_operators_inside_a_branch_are_looked_at(tmp_path: Path) -> None:
    net = Net([1, 3])
    body = helper.make_graph([helper.make_node("Unique", [net.input], ["u"], name="inner")], "body", [],
                             [helper.make_tensor_value_info("u", TensorProto.FLOAT, None)])  # fmt: skip
    net.node("If", net.constant(True, bool), then_branch=body, else_branch=body)
    assert "Unique 'inner'" in [item.subject for item in found(net, tmp_path)]


RESIZES: dict[str, tuple[dict[str, object], str]] = {
    "cubic": ({"mode": "cubic"}, "mode 'cubic'"),
    "crop coordinates": ({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, "'tf_crop_and_resize'"),
}


@pytest.mark.parametrize("name", RESIZES)
def test_resizes_that_tensorrt_has_not_are_errors(name: str, tmp_path: Path) -> None:
    attributes, said = RESIZES[name]
    net = Net([1, 3, 8, 8])
    net.node("Resize", net.input, "", net.constant([1, 1, 2, 2]), name="up", **attributes)
    (item,) = found(net, tmp_path)
    assert said in item.text


def test_a_linear_resize_is_fine(tmp_path: Path) -> None:
    net = Net([1, 3, 8, 8])
    net.node("Resize", net.input, "", net.constant([1, 1, 2, 2]), mode="linear")
    assert check(net, tmp_path).findings == ()


def test_a_pool_with_indices_and_one_with_dilations_are_errors(tmp_path: Path) -> None:
    net = Net([1, 3, 8, 8])
    net.node("MaxPool", net.input, name="both", outputs=2, kernel_shape=[2, 2])
    net.node("MaxPool", net.input, name="wide", kernel_shape=[2, 2], dilations=[2, 2])
    assert [item.subject for item in found(net, tmp_path)] == ["MaxPool 'both'", "MaxPool 'wide'"]


def test_dynamic_sizes_are_told(tmp_path: Path) -> None:
    net = Net(["batch", 3, "height", "width"])
    net.conv(net.input, 4, 3)
    answer = check(net, tmp_path)
    assert [item.level for item in answer.findings] == ["warning", "note"]
    assert "dimensions 2, 3 are dynamic" in answer.findings[0].text
    assert "1 to 8" in answer.findings[1].text


def test_uint8_pixels_are_cast_first(tmp_path: Path) -> None:
    net = Net([1, 8, 8, 3], TensorProto.UINT8)
    net.node("Transpose", net.node("Cast", net.input, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    answer = check(net, tmp_path)
    assert answer.good
    assert "uint8 input, cast at once" in answer.findings[0].text


def test_uint8_pixels_that_are_not_cast_first_are_an_error(tmp_path: Path) -> None:
    net = Net([1, 8, 8, 3], TensorProto.UINT8)
    net.node("Cast", net.node("Transpose", net.input, name="turn", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    (item,) = found(net, tmp_path)
    assert item.subject == "Transpose 'turn'"


def test_int64_constants_are_noted_and_those_beyond_32_bits_warned_of(tmp_path: Path) -> None:
    net = Net([1, 4])
    net.node("Reshape", net.input, net.constant([4, 1], np.int64))
    assert [item.level for item in check(net, tmp_path).findings] == ["note"]
    net.node("Add", net.constant([2**40], np.int64), net.constant([1], np.int64))
    (item,) = found(net, tmp_path, "warning")
    assert "beyond 32 bits" in item.text


def test_a_slice_to_the_end_is_no_number_beyond_32_bits(tmp_path: Path) -> None:
    net = Net([1, 4])
    net.node("Slice", net.input, net.constant([0], np.int64), net.constant([2**63 - 1], np.int64))
    assert found(net, tmp_path, "warning") == []


def quantised(residual: bool = True, **changes: object) -> Net:
    """A residual block in int8: Q/DQ before each convolution, weights per channel, a pair on the residual input."""
    net = Net([1, 4, 16, 16])
    start = net.pair(net.input, name="input")
    first = net.node("Relu", net.conv(start, 4, 4, name="one", weights=net.weights(4, 4, [0.01] * 4)))
    pair = net.pair(first, name="middle", **changes)  # type: ignore[arg-type]
    second = net.conv(pair, 4, 4, name="two", weights=net.weights(4, 4, [0.02] * 4))
    net.node("Add", second, net.pair(net.input, name="residual") if residual else net.input, name="sum")
    return net


def test_a_well_quantised_block_has_no_findings(tmp_path: Path) -> None:
    answer = check(quantised(), tmp_path)
    assert (answer.quantised, answer.findings) == (True, ())


def test_a_residual_input_without_its_pair_is_named(tmp_path: Path) -> None:
    (item,) = check(quantised(residual=False), tmp_path).findings
    assert (item.level, item.subject) == ("warning", "Add 'sum'")
    assert "'image' is not quantised" in item.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"zero": 3}, "zero point 3"), ({"zero": 128, "dtype": np.uint8}, "quantised to UINT8"),
     ({"scale": [0.1, 0.2, 0.3, 0.4]}, "4 scales on an activation")],
)  # fmt: skip
def test_activations_are_symmetric_int8_per_tensor(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    texts = [item.text for item in found(quantised(**changes), tmp_path)]
    assert any(said in text for text in texts)


def convolution(weights: Callable[[Net], str], pair: bool = True) -> Net:
    net = Net([1, 4, 16, 16])
    net.conv(net.pair(net.input) if pair else net.input, 4, 4, name="only", weights=weights(net))
    return net


def test_weights_are_quantised_per_output_channel(tmp_path: Path) -> None:
    assert check(convolution(lambda net: net.weights(4, 4, [0.1] * 4)), tmp_path).findings == ()
    (item,) = found(convolution(lambda net: net.weights(4, 4, 0.1)), tmp_path, "warning")
    assert "per tensor" in item.text
    (item,) = found(convolution(lambda net: net.weights(4, 4, [0.1] * 4, axis=1)), tmp_path)
    assert "along axis 1, not 0" in item.text


def test_a_convolution_quantised_by_half_is_named(tmp_path: Path) -> None:
    (item,) = found(convolution(lambda net: net.constant(np.ones((4, 4, 3, 3)))), tmp_path, "warning")
    assert "the input is quantised, the weights" in item.text
    (item,) = found(convolution(lambda net: net.weights(4, 4, [0.1] * 4), pair=False), tmp_path, "warning")
    assert "weights are quantised, the input 'image' is not" in item.text


def test_a_convolution_left_in_float_beside_quantised_ones_is_named(tmp_path: Path) -> None:
    net = quantised()
    net.conv(net.nodes[-1].output[0], 2, 4, name="head")
    (item,) = check(net, tmp_path).findings
    assert (item.subject, item.level) == ("Conv 'head'", "warning")
    assert "is not quantised while others are" in item.text


def test_a_quantised_bias_is_an_error(tmp_path: Path) -> None:
    net = Net([1, 4, 16, 16])
    bias = net.node("DequantizeLinear", net.constant([1, 2, 3, 4], np.int32), net.constant([0.1] * 4), name="bias/dq", axis=0)
    net.node("Conv", net.pair(net.input), net.weights(4, 4, [0.1] * 4), bias, name="only")
    (item,) = found(net, tmp_path)
    assert (item.subject, item.fix) == ("DequantizeLinear 'bias/dq'", "leave biases in float")


def twins() -> Net:
    net = Net([1, 4, 16, 16])
    for _ in range(2):
        net.pair(net.input, name="same")
    return net


def test_quantising_operators_of_one_name_are_warned_of(tmp_path: Path) -> None:
    assert [item.subject for item in check(twins(), tmp_path).findings] == ["same/q", "same/dq"]


@pytest.mark.parametrize("content", [b"", b"\x08\x07 no protobuf at all", b"PK\x03\x04"])
def test_a_file_that_is_no_network_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        check_onnx(path, parse=False)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx cannot be read"):
        check_onnx(tmp_path / "gone.onnx")


def test_without_tensorrt_the_parser_is_skipped_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtx, "PACKAGE", "tensorrt_that_is_not_there")
    answer = check(plain(), tmp_path, parse=True)
    assert answer.good
    assert "pip install posebus[tensorrt-check]" in answer.parser["skipped"]


def test_a_parser_that_crashes_is_a_skip_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that ends the process takes only the other process along."""
    package = tmp_path / "broken_parser.py"
    package.write_text("import os\nos._exit(139)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(rtx, "PACKAGE", "broken_parser")
    answer = rtx.run(plain().write(tmp_path / "net.onnx"), 60)
    assert answer["skipped"].startswith("tensorrt-rtx ended with code 139")


def test_the_tables_do_not_overlap() -> None:
    assert not (IN_BOTH & IN_NONE) | (IN_BOTH & ONLY_NEW) | (IN_NONE & ONLY_NEW)


def test_the_kits_detectors_are_checked(kit: Path) -> None:
    folder = kit / "models" / "det"
    yolox, rtmdet = (check_onnx(folder / name, parse=False) for name in ("yolox_nano.onnx", "rtmdet_nano_person.onnx"))
    assert yolox.good
    assert rtmdet.good
    assert [item.level for item in yolox.findings] == ["note"]
    assert "NonMaxSuppression 'NonMaxSuppression_600'" in [item.subject for item in rtmdet.findings]


@needs_rtx
def test_the_real_parser_agrees_with_the_table() -> None:
    """DeformConv is the one operator of the table that TensorRT for RTX 1.7 has not."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert [name for name in sorted(IN_BOTH | ONLY_NEW) if not parser.supports_operator(name)] in ([], ["DeformConv"])
    assert [name for name in sorted(IN_NONE) if parser.supports_operator(name)] == []


@needs_rtx
def test_the_real_parser_names_all_operators_that_it_refuses(tmp_path: Path) -> None:
    net = plain()
    last = net.nodes[-1].output[0]
    net.nodes += [helper.make_node("Unique", [last], ["u"], name="uniq"), helper.make_node("Det", [last], ["d"], name="det")]
    answer = check(net, tmp_path, parse=True)
    assert [(item.subject, item.text) for item in answer.findings if item.by == PARSER] == [
        ("Unique 'uniq'", "UNSUPPORTED_NODE"),
        ("Det 'det'", "UNSUPPORTED_NODE"),
    ]
    assert not answer.good


@needs_rtx
def test_the_real_parser_asks_for_a_plugin(tmp_path: Path) -> None:
    net = plain()
    net.node("Fancy", net.nodes[-1].output[0], name="mine", domain="my.ops")
    (item,) = [item for item in check(net, tmp_path, parse=True).findings if item.by == PARSER]
    assert "Plugin not found" in item.text
    assert item.fix == "register a plugin, or rewrite it"


@needs_rtx
def test_the_real_parser_refuses_quantising_operators_of_one_name(tmp_path: Path) -> None:
    assert not check(twins(), tmp_path, parse=True).parser["supported"]


@needs_rtx
def test_the_real_builder_builds_pixels_in_and_a_quantised_block(tmp_path: Path) -> None:
    net = Net(["batch", 8, 8, 3], TensorProto.UINT8)
    net.node("Transpose", net.node("Cast", net.input, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    for made in (net, quantised()):
        answer = check(made, tmp_path, parse=True)
        assert answer.parser["built"], answer.parser
        assert answer.parser["plan_bytes"] > 1000


@needs_rtx
def test_the_real_builder_lacks_non_maximum_suppression(kit: Path) -> None:
    answer = check_onnx(kit / "models" / "det" / "rtmdet_nano_person.onnx")
    assert answer.good  # TensorRT itself has it; the builder at hand has not
    (item,) = [item for item in answer.findings if item.by == BUILDER]
    assert "NonMaxSuppression_600" in item.text
    assert (item.level, answer.parser["supported"], answer.parser["built"]) == ("warning", True, False)


@needs_rtx
def test_the_real_builder_builds_the_kits_yolox(kit: Path) -> None:
    answer = check_onnx(kit / "models" / "det" / "yolox_nano.onnx")
    assert answer.parser["built"]
