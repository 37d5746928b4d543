from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.artifact import ArtifactError, find_artifact
from common.config import DetectorSettings
from common.geometry import iou_matrix
from common.manifest import ModelError
from common.runtimes import RuntimeUnavailable
from common.runtimes.base import Request
from common.runtimes.fake import FakeEngine
from services.detector.detect import CANDIDATES_MAX, PersonDetector, load_detector
from tests.model_parts import pulled, walking_person


def room(*people: tuple[int, int, int, int], width: int = 640, height: int = 480) -> np.ndarray:
    """A dark picture with bright rectangles, which the fake network takes for people."""
    image = np.full((height, width, 3), 30, np.uint8)
    for x0, y0, x1, y1 in people:
        image[y0:y1, x0:x1] = 255
    return image


def detector(rows: np.ndarray | None = None, *, score_min: float = 0.25, max_people: int = 20, **spec: float) -> PersonDetector:
    """The fake detector; with `rows` (K, 5) = xyxy 0..1 and score, one that answers them to any picture."""
    artifact = find_artifact("fake-person")
    assert artifact.manifest.detect is not None
    changed = artifact.manifest.detect.model_copy(update=spec)
    artifact = replace(artifact, manifest=artifact.manifest.model_copy(update={"detect": changed}))
    if rows is None:
        return load_detector(DetectorSettings(model="fake-person", score_min=score_min, max_people=max_people))
    answer = np.zeros((1, len(rows), 56), np.float32)
    answer[0, :, [51, 52, 53, 54, 55]] = np.asarray(rows, np.float32)[:, [1, 0, 3, 2, 4]].T
    engine = FakeEngine(Request(artifact, "detect", "auto", 1, (256, 256)), lambda batch: {"people": answer})
    return PersonDetector(engine, artifact, score_min=score_min, max_people=max_people)


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (480, 640), (200, 100), (1921, 1079)])
def test_boxes_are_in_pixels_of_the_given_picture(size):
    width, height = size
    truth = np.array([[0.1, 0.2, 0.25, 0.9], [0.5, 0.3, 0.7, 0.8]]) * [width, height, width, height]
    found = detector().detect(room(*truth.round().astype(int).tolist(), width=width, height=height))
    assert len(found) == 2
    assert found.boxes.dtype == np.float32
    assert iou_matrix(truth.astype(np.float32), found.boxes).max(axis=1).min() > 0.85


def test_an_empty_room_has_no_people():
    found = detector().detect(room())
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_the_best_come_first_and_no_more_than_asked_for():
    rows = [[0.1, 0.1, 0.2, 0.5, 0.4], [0.3, 0.1, 0.4, 0.5, 0.9], [0.5, 0.1, 0.6, 0.5, 0.6], [0.7, 0.1, 0.8, 0.5, 0.1]]
    found = detector(rows, max_people=2).detect(room())
    np.testing.assert_allclose(found.scores, [0.9, 0.6], rtol=1e-5)
    np.testing.assert_allclose(found.boxes[0], [192, 48, 256, 240], rtol=1e-4)
    assert len(detector(rows).detect(room())) == 3  # the last is below score_min


def test_doubles_are_suppressed():
    rows = [[0.1, 0.1, 0.3, 0.9, 0.8], [0.11, 0.1, 0.31, 0.9, 0.7], [0.2, 0.1, 0.4, 0.9, 0.6]]
    np.testing.assert_allclose(detector(rows).detect(room()).scores, [0.8, 0.6], rtol=1e-5)


def test_boxes_are_cut_at_the_picture_and_slivers_left_out():
    rows = [[-0.2, -0.1, 0.5, 1.2, 0.8], [1.1, 0.2, 1.3, 0.4, 0.9], [0.4, 0.4, 0.4, 0.6, 0.9]]
    found = detector(rows).detect(room())
    np.testing.assert_allclose(found.boxes, [[0, 0, 320, 480]], rtol=1e-4)


def test_scores_are_scaled_as_the_manifest_says_and_never_above_1():
    rows = [[0.1, 0.1, 0.2, 0.5, 0.2], [0.5, 0.1, 0.6, 0.5, 0.7]]
    np.testing.assert_allclose(detector(rows, score_scale=2.0).detect(room()).scores, [1.0, 0.4], rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    with pytest.raises(ModelError, match="'fake-person' gave boxes that are not finite"):
        detector([[0.1, 0.1, bad, 0.5, 0.9]]).detect(room())
    with pytest.raises(ModelError, match="not finite"):
        detector([[0.1, 0.1, 0.2, 0.5, bad]]).self_check()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_box_of_nobody_may_be_anything_but_a_score_that_is_no_number(bad):
    person, nobody = [0.1, 0.1, 0.2, 0.5, 0.9], [bad, bad, bad, bad, 0.0]
    found = detector([nobody, person]).detect(room())
    np.testing.assert_allclose(found.boxes, [[64, 48, 128, 240]], rtol=1e-4)
    with pytest.raises(ModelError, match="'fake-person' gave scores that are not finite"):
        detector([[0.3, 0.1, 0.4, 0.5, bad], person]).detect(room())


def test_however_many_cells_see_somebody_only_the_best_thousand_are_compared():
    """A broken network, or score_min 0: comparing the 8,400 boxes of yolox at 640 pixels took 10.9 s and 2.5 GB."""
    x, y = np.meshgrid(np.arange(50) / 50, np.arange(40) / 40)
    corners = np.stack([x.ravel(), y.ravel()], axis=1)
    scores = np.random.default_rng(0).permutation(np.linspace(0, 1, 2000))[:, None]
    rows = np.concatenate([corners, corners + 0.02, scores], axis=1)  # none covers another
    found = detector(rows, score_min=0.0, max_people=5000).detect(room())
    assert len(found) == CANDIDATES_MAX == 1000
    np.testing.assert_allclose(found.scores, np.sort(scores[:, 0])[:-1001:-1], rtol=1e-5)


def test_a_network_whose_scores_are_negative_fails_its_self_check():
    with pytest.raises(ModelError, match=r"not within 0\.\.1"):
        detector([[0.1, 0.1, 0.2, 0.5, -0.5]], score_min=-1).self_check()


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(ValueError, match=r"a picture is \(H, W, 3\) uint8"):
        detector().detect(image)


def test_models_that_cannot_serve_are_named():
    with pytest.raises(ArtifactError, match="'no-such' is not known"):
        load_detector(DetectorSettings(model="no-such"))
    with pytest.raises(RuntimeUnavailable, match=r"needs a .*onnx"):
        load_detector(DetectorSettings(model="fake-person", runtime="onnx"))
    with pytest.raises(ModelError, match=r"detect\.decoder 'psychic' is not one of movenet_multipose"):
        detector([[0, 0, 1, 1, 1]], decoder="psychic")
    with pytest.raises(ModelError, match="'pp-tinypose-128x96' does not detect; it is for: pose"):
        load_detector(DetectorSettings(model="pp-tinypose-128x96"))


def test_movenet_finds_nobody_in_noise_and_passes_its_self_check():
    pulled("movenet-multipose")
    found = load_detector(DetectorSettings(model="movenet-multipose", score_min=0.4))
    found.self_check()
    assert found.input_size_px == (256, 256)
    assert len(found.detect(np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8))) == 0
    assert len(found.detect(np.zeros((480, 640, 3), np.uint8))) == 0
    found.close()
    with pytest.raises(ModelError, match="closed"):
        found.detect(room())


@pytest.mark.parametrize("name", sorted({DetectorSettings().model, "movenet-multipose"}))
def test_a_detector_finds_the_walking_person_at_any_size(name):
    pulled(name)
    found = load_detector(DetectorSettings(model=name))
    image = walking_person()
    whole = found.detect(image)
    assert whole.scores[0] > 0.5
    small = found.detect(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    assert iou_matrix(whole.boxes[:1], small.boxes[:1] * 2)[0, 0] > 0.8
    found.close()


@pytest.mark.kit
@pytest.mark.parametrize("name", sorted({DetectorSettings().model, "rtmdet-nano", "picodet-s-320", "movenet-multipose"}))
def test_real_networks_find_the_cook(name, kit: Path):
    pulled(name)
    found = load_detector(DetectorSettings(model=name))
    found.self_check()
    image = cv2.imread(str(kit / "data/coco-mini/val2017/000000397133.jpg"))
    truth = np.array([[388.7, 70.0, 498.1, 347.5]], np.float32)
    assert iou_matrix(truth, found.detect(image).boxes[:1])[0, 0] > 0.7
    found.close()
