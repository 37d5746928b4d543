"""What a manifest says against what a network takes: each lie is named with both sides."""

from __future__ import annotations

import numpy as np
import pytest

from common.artifact import read_artifact
from common.manifest import ArtifactError, InputSpec
from common.runtimes import load
from common.runtimes.base import Request, pixel_table, stack, to_network
from common.runtimes.contract import NetworkInput, check_network, sizes
from common.runtimes.fake import FakeEngine
from tests.model_parts import SIZE, file_text, manifest_text, pulled, tiny_artifact, write_tiny_onnx

FIXED = InputSpec(width_px=96, height_px=128, layout="NCHW", dtype="float32", mean=(1, 2, 3), std=(1, 1, 1))
RAW = InputSpec(width_px=96, height_px=128, layout="NHWC")
ANY = InputSpec(multiple_px=32, layout="NHWC")


def image(*shape: int | None, dtype: str = "float32", quantised: bool = False) -> NetworkInput:
    return NetworkInput("image", shape, dtype, quantised)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (FIXED, image(None, 3, 128, 96)),
        (FIXED, image(None, None, None, None)),
        (FIXED, image(None, 3, 128, 96, dtype="float16")),
        (FIXED, image(None, 3, 128, 96, dtype="int8", quantised=True)),
        (FIXED.model_copy(update={"batch": False}), image(1, 3, 128, 96)),
        (RAW, image(None, 128, 96, 3, dtype="uint8")),
        (RAW, image(None, 128, 96, 3, dtype="float32")),  # raw pixels, as floats
        (RAW, image(None, 128, 96, 3, dtype="uint8", quantised=True)),
        (ANY, image(None, None, None, 3, dtype="uint8")),
    ],
)
def test_the_truth_passes(spec, found):
    check_network("net", spec, found)


@pytest.mark.parametrize(
    ("spec", "found", "words"),
    [
        (FIXED, image(None, 3, 192, 128), "the manifest says 96x128, the network takes 128x192 pixels"),
        (FIXED, image(None, 3, 96, 128), "the manifest says 96x128, the network takes 128x96 pixels"),
        (FIXED, image(None, 3, None, 64), "the manifest says 96x128, the network takes 64xany pixels"),
        (FIXED, image(None, 128, 96, 3), r"says layout NCHW, .* takes 'image' \(any, 128, 96, 3\) float32, which is NHWC"),
        (RAW, image(None, 3, 128, 96), "says layout NHWC, the network takes .*which is NCHW"),
        (FIXED, image(None, 1, 128, 96), "says pictures of 3 channels, the network takes .*, 1 channels"),
        (FIXED, image(None, 3, 128), r"'image' \(any, 3, 128\) float32, which has not four axes"),
        (FIXED, image(1, 3, 128, 96), "says batches of any size .*exactly 1 at a time; set `batch = false`"),
        (FIXED, image(8, 3, 128, 96), "exactly 8 at a time; export it with a dynamic batch"),
        (FIXED.model_copy(update={"batch": False}), image(4, 3, 128, 96), "says one picture at a time .*exactly 4"),
        (FIXED, image(None, 3, 128, 96, dtype="uint8"), "says float32 with mean and std, .* takes uint8 without a scale"),
        (RAW, image(None, 128, 96, 3, dtype="int8"), "says uint8, the network takes int8 without a scale"),
        (RAW, image(None, 128, 96, 3, dtype="int64"), "says uint8, the network takes int64"),
        (ANY, image(None, 320, 320, 3), "says any size that is a multiple of 32, the network takes 320x320"),
    ],
)
def test_a_lie_is_named_with_both_sides(spec, found, words):
    with pytest.raises(ArtifactError, match=f"artifact 'net': .*{words}"):
        check_network("net", spec, found)


def test_what_a_runtime_can_resize_is_no_lie():
    check_network("net", ANY, image(1, 320, 320, 3), resizable=True)
    check_network("net", RAW, image(1, 128, 96, 3), resizable=True)
    with pytest.raises(ArtifactError, match="says 96x128, the network takes 64x64"):
        check_network("net", RAW, image(1, 64, 64, 3), resizable=True)


def test_sizes_that_runtimes_call_by_name_or_minus_one_are_any():
    assert sizes(("batch", 3, -1, None, 0, 4)) == (None, 3, None, None, None, 4)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_layout_that_is_not_the_networks_is_named_at_load(runtime, tmp_path):
    write_tiny_onnx(tmp_path / "tiny.onnx")
    text = manifest_text("net", file_text(tmp_path / "tiny.onnx", "onnx"), layout="NHWC", size=SIZE)
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(ArtifactError, match=r"says layout NHWC, .* takes 'image' \(any, 3, 4, 6\) float32, which is NCHW"):
        load(read_artifact(tmp_path), runtime=runtime)


def test_a_network_for_one_picture_says_so_where_batches_are_promised(tmp_path):
    write_tiny_onnx(tmp_path / "tiny.onnx", batch=1)
    text = manifest_text("net", file_text(tmp_path / "tiny.onnx", "onnx"), layout="NCHW", size=SIZE)
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(ArtifactError, match="exactly 1 at a time; set `batch = false`"):
        load(read_artifact(tmp_path), runtime="onnx")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_network_that_answers_one_row_whatever_the_batch_is_named_at_load(runtime, tmp_path):
    """Its file fixes one picture; OpenVINO opens that and mixes a batch into a single answer."""
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image"], ["answer"], axes=[0], keepdims=1)],
        "mixed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1 if runtime == "openvino" else "batch", 3, 4, 6])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 3, 4, 6])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "mixed.onnx")
    files = file_text(tmp_path / "mixed.onnx", "onnx")
    (tmp_path / "manifest.toml").write_text(manifest_text("mixed", files, layout="NCHW", size=SIZE))
    with pytest.raises(ArtifactError, match=r"for a batch of 2 .* has the shape \(1, 3, 4, 6\).*set `batch = false`"):
        load(read_artifact(tmp_path), runtime=runtime)
    (tmp_path / "manifest.toml").write_text(manifest_text("mixed", files, layout="NCHW", size=SIZE, batch=False))
    if runtime == "openvino":  # which fixes the batch to one, as the file has it
        engine = load(read_artifact(tmp_path), runtime=runtime)
        (answer,) = engine.run(np.zeros((3, 4, 6, 3), np.uint8)).values()
        assert answer.shape == (3, 3, 4, 6)
        engine.close()


def test_a_batch_that_comes_back_short_in_service_is_refused_not_passed_on(tmp_path):
    artifact = tiny_artifact(tmp_path / "tiny", "fake")
    request = Request(artifact, "detect", "auto", 1, (6, 4))
    short = FakeEngine(request, lambda batch: {"people": np.zeros((min(len(batch), 4), 5))})
    short.warm_up()
    assert short.run(np.zeros((4, 4, 6, 3), np.uint8))["people"].shape == (4, 5)
    with pytest.raises(ArtifactError, match=r"for a batch of 5 the output 'people' has the shape \(4, 5\)"):
        short.run(np.zeros((5, 4, 6, 3), np.uint8))


def test_an_output_without_a_row_a_picture_is_named_at_load(tmp_path):
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image"], ["answer"], keepdims=0)],
        "flat",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 4, 6])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "flat.onnx")
    text = manifest_text("flat", file_text(tmp_path / "flat.onnx", "onnx"), layout="NCHW", size=SIZE)
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(ArtifactError, match=r"the output 'answer' has the shape \(\); its first axis must be the picture"):
        load(read_artifact(tmp_path), runtime="onnx")


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int8])
def test_pixels_become_what_the_network_takes_by_one_table(dtype, layout):
    batch = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    spec = InputSpec(width_px=6, height_px=4, mean=(100, 110, 120), std=(2, 3, 4), dtype="float32")
    table = pixel_table(spec).astype(np.float16).clip(0, 127).astype(dtype)
    values = to_network(batch, table, layout)
    assert values.dtype == dtype
    nhwc = values if layout == "NHWC" else values.transpose(0, 2, 3, 1)
    for channel in range(3):
        np.testing.assert_array_equal(nhwc[..., channel], table[0, :, channel][batch[..., channel]])


def test_outputs_of_different_sizes_are_filled_up_with_zeros():
    parts = [{"dets": np.full((count, rows, 5), rows, np.float32), "labels": np.ones((count, rows), np.int64)}
             for count, rows in ((1, 2), (2, 0), (1, 3))]  # fmt: skip
    together = stack(parts)
    assert together["dets"].shape == (4, 3, 5)
    assert together["labels"].dtype == np.int64
    assert together["labels"].tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert together["dets"][:, :, 4].tolist() == [[2, 2, 0], [0, 0, 0], [0, 0, 0], [3, 3, 3]]


@pytest.mark.kit
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_detector_with_suppression_in_its_graph_takes_batches(runtime, kit):
    artifact = pulled("rtmdet-nano")
    batch = np.random.default_rng(5).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    batch[1] = 114
    engine = load(artifact, runtime=runtime)
    together = engine.run(batch)
    for i, image in enumerate(batch):
        alone = engine.run(image[None])["dets"]
        np.testing.assert_array_equal(together["dets"][i, : alone.shape[1]], alone[0])
        assert not together["dets"][i, alone.shape[1] :].any()
    engine.close()


def test_the_fake_runtime_takes_any_manifest(tmp_path):
    load(tiny_artifact(tmp_path / "tiny", "fake", size="multiple_px = 32"), runtime="fake").close()
