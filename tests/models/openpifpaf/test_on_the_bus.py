"""A wrapped network in the pose service: real broker, store and process; a small network in the place of OpenPifPaf's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.openpifpaf.wrap import MEAN, STD, wrap
from tests.models.openpifpaf.test_wrap import BOXES, HEIGHT, PEOPLE, STRIDE, WIDTH, export
from tests.services.test_stages import Rig


def test_frames_become_the_skeletons_of_the_fields(tmp_path, make_bus, stores, configure, start_service):
    wrap(export(tmp_path / "pifpaf.onnx"), tmp_path / "made")
    pose = {"approach": "bottom_up", "model": str(tmp_path / "made"), "runtime": "onnx"}
    rig = Rig(make_bus(), stores, configure, start_service, {}, pose)
    rig.start("pose", "p1")
    jpeg = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 150, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    poses = rig.posed(rig.send(jpeg, captured=(2 * WIDTH, 2 * HEIGHT)))
    assert poses.model == "pifpaf 1"
    assert len(poses.people) == len(PEOPLE)
    moved_px = float(np.mean((150 - np.array(MEAN)) / np.array(STD))) * STRIDE
    found = sorted(poses.people, key=lambda person: person.box_xyxy_px)
    for person, truth, (_, _, width, height) in zip(found, PEOPLE, BOXES, strict=True):
        keypoints = np.array(person.keypoints_px)
        # Twice the stored picture; the message rounds to a tenth of a pixel.
        np.testing.assert_allclose(keypoints[:, :2], 2 * (truth[:, :2] + (moved_px, 0)), atol=0.2)
        assert person.score > 0.5
        x0, y0, x1, y1 = person.box_xyxy_px
        assert x1 - x0 == pytest.approx(2 * width, rel=0.15)
        assert y1 - y0 == pytest.approx(2 * height, rel=0.05)
