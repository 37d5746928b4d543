from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from common.artifact import ArtifactError, find_artifact, pull, read_artifact, verify  # noqa: E402
from common.config import PoseSettings  # noqa: E402
from common.manifest import ModelError  # noqa: E402
from common.model_slot import ModelSlot  # noqa: E402
from models.convert.data import Data, load_data  # noqa: E402
from models.convert.pipeline import KINDS, Options, convert  # noqa: E402
from models.convert.samples import RENDERED  # noqa: E402
from models.convert.source import ConversionError, load_source  # noqa: E402
from services.pose.estimate import PoseEstimator, load_estimator  # noqa: E402
from tests.models.convert.networks import Peaks, Shuffled, source  # noqa: E402
from tests.wait import eventually  # noqa: E402

BOX = np.array([[120, 60, 260, 420]], np.float32)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(RENDERED, 24, check=12)


@pytest.fixture(scope="module")
def converted(data, tmp_path_factory):
    """(folder, report) of a network with clear peaks, in all formats."""
    out = tmp_path_factory.mktemp("models") / "peaks"
    seen = []
    report = convert(source(Peaks(), "peaks"), out, data, watch=lambda what, share: seen.append((what, share)))
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert seen[-1] == ("done", 1.0)
    return out, report


def settings(out, precision: str = "auto", runtime: str = "tflite") -> PoseSettings:
    return PoseSettings(model=str(out), runtime=runtime, precision=precision)


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)


def estimate(out, **chosen: str) -> np.ndarray:
    model = load_estimator(settings(out, **chosen))
    try:
        return model.estimate(image(), BOX)
    finally:
        model.close()


def test_one_call_gives_every_file_each_verified_against_the_one_before(converted):
    out, report = converted
    assert report.passed
    assert [(step.file, step.precision, step.reference) for step in report.steps] == [
        ("model.onnx", "float32", "PyTorch float32"),
        ("model.tflite", "float32", "model.onnx float32"),
        ("model_dynamic.tflite", "dynamic_int8", "model.tflite float32"),
        ("model_int8.tflite", "int8", "model.tflite float32"),
    ]
    assert sorted(file.name for file in out.iterdir()) == sorted(
        [".conversion", "manifest.toml", "report.json", *(KINDS[name].filename for name in Options().formats)]
    )
    for step in report.steps:
        found = step.comparison.agreement
        assert found.people == 12
        assert found.decided == found.keypoints == 12 * 17
        assert found.oks > 0.98
    verify(read_artifact(out))


def test_the_report_and_the_manifest_say_what_was_measured(converted):
    out, report = converted
    told = json.loads((out / "report.json").read_text())
    assert told["passed"] is True
    assert [step["file"] for step in told["steps"]] == [step.file for step in report.steps]
    assert "one made-up person" in told["weak"]
    rows = [row for row in read_artifact(out).manifest.measured if row.precision == "int8"]
    assert {row.metric for row in rows} == {"OKS to reference", "keypoint shift p95 px", "output noise"}
    assert all(row.n == 12 and "reference: model.tflite float32" in row.note for row in rows)


def test_precision_is_the_one_line_that_puts_the_int8_network_into_the_pose_service(converted):
    out, _ = converted
    floats, integers = estimate(out, precision="float32"), estimate(out, precision="int8")
    np.testing.assert_allclose(integers[..., :2], floats[..., :2], atol=6)  # picture pixels, 2 of the network's
    assert (integers != floats).any(), "another file was loaded"
    np.testing.assert_allclose(estimate(out, runtime="onnx"), floats, atol=1e-2)


def test_the_int8_estimator_passes_its_self_check_and_takes_several_people(converted):
    model = load_estimator(settings(converted[0], "int8"))
    model.self_check()
    assert model.estimate(image(), np.repeat(BOX, 3, axis=0)).shape == (3, 17, 3)
    model.close()


def test_random_weights_are_converted_and_it_is_said_that_oks_means_nothing(data, tmp_path):
    report = convert(source(Shuffled()), tmp_path / "out", data, Options(("onnx", "tflite-int8")))
    assert report.passed, [step.comparison.verdict for step in report.steps]
    for step in report.steps:
        assert "OKS says nothing here" in step.comparison.verdict.notes[0]
        assert step.comparison.agreement.error.noise < 0.2
    assert report.steps[1].reference == "model.onnx float32"
    assert any("transposed convolution" in change.lower() for change in report.steps[1].changes)


def test_a_network_that_loses_its_accuracy_is_refused_and_the_old_artifact_stays(converted, data, tmp_path):
    """Calibrated on one grey: every range is wrong, as with noise or with pictures of something else."""
    out = tmp_path / "out"
    assert convert(source(Peaks(), "peaks"), out, data, Options(("onnx",))).passed
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    grey = tuple(replace(sample, image=np.full_like(sample.image, 114)) for sample in data.calibration)
    wrong = replace(data, calibration=grey)
    report = convert(source(Peaks(strength=2.5), "peaks"), out, wrong, Options(("onnx", "tflite-int8")))
    assert not report.passed
    assert [step.passed for step in report.steps] == [True, False]
    assert report.steps[1].comparison.verdict.reasons
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupt_leaves_nothing_behind(data, tmp_path):
    def stop(what: str, share: float) -> None:
        if "tflite" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source(Peaks()), tmp_path / "out", data, watch=stop)
    assert list(tmp_path.iterdir()) == []


def test_int8_without_pictures_is_refused_before_anything_is_done(data, tmp_path):
    with pytest.raises(ConversionError, match=r"full int8 needs real pictures with people.*give --calibration"):
        convert(source(Peaks()), tmp_path / "out", replace(data, calibration=()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "options", "reason"),
    [
        ({}, Options(("tflite", "coreml")), "format coreml is not known"),  # type: ignore[arg-type]
        ({}, Options(()), "format none is not known"),
        ({"task": "bottom_up"}, Options(("onnx",)), "cannot be verified yet"),
        ({}, Options(("onnx", "tflite"), decode=True), "for ONNX only"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(data, tmp_path, changed, options, reason):
    with pytest.raises(ConversionError, match=reason):
        convert(replace(source(Peaks()), **changed), tmp_path / "out", data, options)


def test_keypoints_decoded_in_the_graph_are_the_services_keypoints(converted, data, tmp_path):
    report = convert(source(Peaks(), "decoded"), tmp_path / "out", data, Options(("onnx",), decode=True))
    assert report.passed
    assert read_artifact(tmp_path / "out").manifest.pose.decoder == "keypoints"
    np.testing.assert_allclose(
        estimate(tmp_path / "out", runtime="onnx"), estimate(converted[0], runtime="onnx"), atol=1e-2
    )


def test_a_network_that_gives_other_outputs_than_its_source_says_is_refused(data, tmp_path):
    with pytest.raises(ConversionError, match="gave 1 outputs, its source names 2"):
        convert(source(Peaks(), outputs=("heatmaps", "more")), tmp_path / "out", data)


def changed_copy(out, target, before: str, after: str):
    """The artifact with another manifest."""
    target.mkdir()
    for file in out.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    text = (target / "manifest.toml").read_text()
    assert before in text
    (target / "manifest.toml").write_text(text.replace(before, after))
    return target


@pytest.mark.parametrize("runtime", ["onnx", "tflite"])
def test_a_manifest_with_another_size_than_the_network_is_a_clear_error(converted, tmp_path, runtime):
    wrong = changed_copy(converted[0], tmp_path / "a", "width_px = 96", "width_px = 128")
    with pytest.raises(ModelError, match=r"artifact 'peaks'.*128"):
        load_estimator(settings(wrong, runtime=runtime))


def test_a_manifest_with_another_decoder_than_the_network_fails_its_self_check(converted, tmp_path):
    wrong = changed_copy(converted[0], tmp_path / "a", '"heatmaps_quarter"', '"movenet_singlepose"')
    model = load_estimator(settings(wrong))
    with pytest.raises(ModelError, match=r"movenet_singlepose.*got"):
        model.self_check()
    model.close()


def test_a_corrupted_file_is_a_clear_error(converted, tmp_path):
    broken = changed_copy(converted[0], tmp_path / "a", "", "")
    content = bytearray((broken / "model_int8.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (broken / "model_int8.tflite").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"(?s)model_int8.tflite.*wrong content: SHA-256"):
        pull(find_artifact(str(broken)), cache=tmp_path / "cache")


def test_a_running_service_keeps_its_model_when_the_new_one_is_broken(converted, tmp_path):
    wrong = changed_copy(converted[0], tmp_path / "a", "width_px = 96", "width_px = 128")
    refused: list[str] = []

    def load(name: str) -> PoseEstimator:
        model = load_estimator(settings(name, "int8"))
        model.self_check()
        return model

    slot = ModelSlot(load, on_ready=lambda name, model: None, on_refused=lambda name, error: refused.append(str(error)))
    try:
        slot.request(str(converted[0]))
        old = eventually(slot.current, 30)
        slot.request(str(wrong))
        eventually(lambda: refused, 30)
        assert slot.current() is old
        assert old.estimate(image(), BOX).shape == (1, 17, 3)
        assert "peaks" in refused[0]
    finally:
        slot.close()


def test_the_quantisers_noise_stays_off_the_terminal(data, capfd, tmp_path):
    convert(source(Peaks()), tmp_path / "out", data, Options(("tflite-int8",)))
    assert capfd.readouterr() == ("", "")


def test_a_package_that_is_missing_is_named_before_anything_is_done(data, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "onnx", replace(KINDS["onnx"], packages=("onnx", "no_such_converter")))
    with pytest.raises(ConversionError, match=r"no_such_converter is not installed: run `pip install posebus\[convert\]`"):
        convert(source(Peaks()), tmp_path / "out", data, Options(("onnx",)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kit
def test_a_real_network_keeps_its_keypoints(kit, tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is absent: run by .ci/run")
    net = load_source(kit / "models" / "pose" / "pp_tinypose_128x96_fp16.xml")
    report = convert(net, tmp_path / "out", load_data(kit / "people" / "crops0.zip", 0, check=12), Options(("onnx",)))
    assert report.passed, report.steps[0].comparison.verdict.reasons
    found = report.steps[0].comparison.agreement
    assert found.decided >= 100
    assert found.oks == pytest.approx(1.0, abs=1e-4)
    assert found.error.max_of_range < 1e-4
