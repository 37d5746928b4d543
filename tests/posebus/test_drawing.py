"""Drawings: the right pixels change, in the right colours, and nothing outside of the picture breaks them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.config import CameraSettings, ZoneSettings
from common.messages import Alert
from posebus import drawing, moments, scenes
from posebus.drawing import Image
from posebus.scenes import Scene
from tests.posebus.pictures import FPS, alert, blank, recording, standing, track

ROOM = CameraSettings(
    name="room",
    source="room.mp4",
    zones=(ZoneSettings(name="machine", polygon=((0.1, 0.6), (0.4, 0.6), (0.4, 0.9), (0.1, 0.9))),),
)


def has_colour(area: Image, colour: drawing.Colour, tolerance: int = 12) -> bool:
    return bool((np.abs(area.astype(int) - colour).max(axis=2) <= tolerance).any())


def test_limbs_have_the_colour_of_the_persons_side() -> None:
    image = blank()
    drawing.skeleton(image, standing())
    assert has_colour(image[150:230, 345:380], drawing.LEFT)
    assert not has_colour(image[150:230, 345:380], drawing.RIGHT)
    assert has_colour(image[150:230, 260:295], drawing.RIGHT)
    assert not has_colour(image[150:230, 260:295], drawing.LEFT)


def test_guessed_keypoints_are_not_drawn() -> None:
    image = blank()
    hidden = tuple((x, y, 0.05) for x, y, _ in standing())
    drawing.skeleton(image, hidden)
    assert not image.any()


def test_what_lies_outside_of_the_picture_does_no_harm() -> None:
    image = blank()
    far = tuple((x * 10 - 3000, y * 10 - 2000, 0.9) for x, y, _ in standing())
    drawing.skeleton(image, far)
    drawing.label(image, "id 1 fallen", (5000, -5000), drawing.RED)
    drawing.plate(image, (-50, -50), (20, 20), drawing.RED)
    assert image[:40, -200:].any()  # the label was moved into the picture


def test_boxes_are_scaled_to_the_stored_picture() -> None:
    image = blank(320, 240)
    drawing.person(image, track(), (0.5, 0.5))
    assert has_colour(image[190:206, 130:140], drawing.GREEN)  # lower left corner (270, 400) / 2
    assert not image[:, 250:].any()


@pytest.mark.parametrize(("state", "colour"), [("normal", drawing.GREEN), ("fallen", drawing.RED), ("falling", drawing.AMBER)])
def test_the_box_tells_the_state(state: str, colour: drawing.Colour) -> None:
    image = blank()
    drawing.person(image, track(state), (1.0, 1.0))
    assert has_colour(image[385:410, 260:290], colour)


def test_somebody_unseen_is_grey() -> None:
    image = blank()
    drawing.person(image, track("fallen", missed_s=0.5), (1.0, 1.0))
    assert has_colour(image[385:410, 260:290], drawing.GREY)
    assert not has_colour(image, drawing.RED)


def test_zones_are_translucent_and_red_when_alarmed() -> None:
    quiet, alarmed = blank(), blank()
    polygon = ROOM.zones[0].polygon
    drawing.zone(quiet, "machine", polygon, occupied=False, alarmed=False)
    drawing.zone(alarmed, "machine", polygon, occupied=True, alarmed=True)
    inside, outside = (350, 150), (100, 400)
    assert 0 < quiet[inside].max() < 60
    assert alarmed[inside].argmax() == 2  # red leads
    assert alarmed[inside].max() > quiet[inside].max()
    assert not quiet[outside].any()
    assert not alarmed[outside].any()


def test_letters_are_dark_on_light_and_light_on_dark() -> None:
    assert drawing.ink_on(drawing.AMBER) == drawing.INK
    assert drawing.ink_on(drawing.INK) == drawing.PAPER


def banner_area(scene: Scene, at_s: float) -> Image:
    image = scene.picture(scene.records[round(at_s * FPS)])
    assert image is not None
    return image[30:66]


def test_a_banner_stands_from_the_alert_until_it_is_resolved() -> None:
    alerts = [alert("fall", "raised", 1.0), alert("fall", "resolved", 3.0, revision=2, raised_s=1.0)]
    scene = Scene(recording(alerts), ROOM)
    assert not has_colour(banner_area(scene, 0.5), drawing.RED, 40)
    assert has_colour(banner_area(scene, 1.0), drawing.RED, 40)
    assert has_colour(banner_area(scene, 2.5), drawing.RED, 40)
    assert not has_colour(banner_area(scene, 3.5), drawing.RED, 40)
    assert has_colour(banner_area(scene, 3.5), drawing.GREEN, 40)


def test_the_zone_turns_red_with_its_own_alert_only() -> None:
    def floor(alerts: list[Alert]) -> int:
        scene = Scene(recording(alerts), ROOM)
        image = scene.picture(scene.records[16])
        assert image is not None
        return int(image[350, 150].argmax()) if image[350, 150].max() > 70 else -1

    assert floor([alert("intrusion", "raised", 1.0)]) == 2
    assert floor([alert("fall", "raised", 1.0)]) == -1


def test_a_frame_whose_pixels_are_missing_or_broken_has_no_picture() -> None:
    scene = Scene(recording([], jpegs=False), ROOM)
    assert scene.picture(scene.records[0]) is None
    scene.records[0].jpeg = b"\xff\xd8 not a picture"
    assert scene.picture(scene.records[0]) is None


def test_the_video_has_every_frame_and_plays_in_real_time(tmp_path: Path) -> None:
    (path,) = scenes.write_videos([Scene(recording([]), ROOM)], tmp_path)
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.read()[0]:
        count += 1
    assert count == 33
    assert abs(video.get(cv2.CAP_PROP_FPS) - FPS) < 0.1
    video.release()


def test_the_contact_sheet_shows_the_key_moments() -> None:
    alerts = [
        alert("intrusion", "raised", 0.5),
        alert("fall", "raised", 1.0),
        alert("fall", "resolved", 3.0, revision=2, raised_s=1.0),
    ]
    pictures = moments.story(Scene(recording(alerts), ROOM))
    captions = [words for words, _ in pictures]
    assert captions == [
        "room 1.0 s: person found", "room 0.5 s: intrusion alert", "room 1.0 s: fall alert", "room 3.0 s: fall resolved",
    ]  # fmt: skip
    sheet = scenes.contact_sheet([pictures, pictures[:1]], title="demo")
    assert sheet.shape[1] == 3 * 640 + 4 * 14
    assert sheet.shape[0] > 3 * 480  # two rows of four pictures, and the second group


def test_samples_are_spread_over_the_clip() -> None:
    captions = [words for words, _ in moments.samples(Scene(recording([]), ROOM), 3)]
    assert [words.split(" s:")[0] for words in captions] == ["room 0.6", "room 2.0", "room 3.2"]


def test_a_machine_too_slow_for_vp8_gets_the_cheaper_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "ENCODE_S", -1.0)
    assert scenes.write_videos([Scene(recording([]), ROOM)], tmp_path) == [tmp_path / "room.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["room.mp4"]


def test_no_pictures_give_no_video(tmp_path: Path) -> None:
    assert scenes.write_videos([Scene(recording([], jpegs=False), ROOM)], tmp_path) == []
