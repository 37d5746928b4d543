from __future__ import annotations

from pathlib import Path

import pytest

from common import config

GOOD = """\
site: home
cameras:
  - name: lobby
    source: rtsp://admin:secret@10.0.0.5/stream
    zones:
      - name: press
        polygon: [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]
  - name: hall
    source: clips/hall.mp4
"""


def load(tmp_path: Path, text: str) -> config.PosebusConfig:
    file = tmp_path / "posebus.yaml"
    file.write_text(text)
    return config.load(file)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value).splitlines()


def test_a_good_file_loads_and_relative_sources_are_taken_from_its_folder(tmp_path):
    loaded = load(tmp_path, GOOD)
    assert loaded.cameras[1].source == str(tmp_path / "clips/hall.mp4")
    assert loaded.cameras[0].source.startswith("rtsp://")
    assert loaded.cameras[0].zones[0].dwell_s == 1.0


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("    source: rtsp", "    colour: red\n    source: rtsp"), 4, ["cameras[0].colour", "unknown key"]),
        (("[[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]", "[[0.1, 0.1], [0.9, 0.1]]"), 7, ["polygon", "2 corners", "at least 3"]),
        (("[[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]", "[[0.1, 0.1], [0.2, 0.2], [0.5, 0.5]]"), 7, ["polygon", "no area"]),
        (("[0.9, 0.1]", "[640, 0.1]"), 7, ["polygon[1][0]", "640"]),
        (("name: hall", "name: lobby"), 1, ["camera 'lobby' is defined 2 times"]),
        (("name: hall", "name: Big Hall"), 8, ["'Big Hall' is not a valid name"]),
        (("site: home", "site: home\nmqtt: x"), 2, ["mqtt", "unknown key"]),
        (("    source: clips/hall.mp4\n", ""), 8, ["cameras[1].source", "required"]),
        (("    source: clips/hall.mp4", "    source: clips/hall.mp4\n    fps: fast"), 10, ["cameras[1].fps", "'fast'"]),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_and_key(tmp_path, change, line, words):
    assert change[0] in GOOD
    found = problems(tmp_path, GOOD.replace(*change, 1))
    assert any(all(word in problem for word in words) for problem in found), found
    assert found[0].startswith(f"{tmp_path / 'posebus.yaml'}:{line}: "), found


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "expected a mapping"), ("- a\n", "expected a mapping"), ("cameras: [", "not valid YAML"), ("cameras: []", "cameras")],
)
def test_what_is_no_configuration_is_refused(tmp_path, text, words):
    assert words in problems(tmp_path, text)[0]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(config.ConfigError, match=r"nowhere\.yaml: cannot be read"):
        config.load(tmp_path / "nowhere.yaml")


def test_all_problems_are_told_at_once(tmp_path):
    assert len(problems(tmp_path, GOOD.replace("site: home", "site: home\nx: 1").replace("name: press", "nam: press"))) >= 3


def test_only_the_part_sources_holds_passwords_and_every_part_parses_back(tmp_path):
    parts = config.split(load(tmp_path, GOOD))
    assert parts.keys() == config.PARTS.keys()
    assert [name for name, part in parts.items() if "secret" in str(part.data)] == ["sources"]
    for name, part in parts.items():
        assert config.parse_part(config.PARTS[name], part)


def test_the_revision_changes_with_the_data_only(tmp_path):
    first, again = config.split(load(tmp_path, GOOD)), config.split(load(tmp_path, "# a comment\n" + GOOD))
    other = config.split(load(tmp_path, GOOD + "    fps: 5\n"))
    assert first == again
    assert first["cameras"].revision != other["cameras"].revision
    assert first["detector"].revision == other["detector"].revision


def test_a_part_that_does_not_validate_is_named():
    from common.messages import ConfigPart

    with pytest.raises(config.ConfigError, match="config/detector revision abc: score_min"):
        config.parse_part(config.DetectorSettings, ConfigPart(part="detector", revision="abc", data={"score_min": 7}))


def test_each_stage_has_a_default_network_that_does_its_task():
    from common.artifact import find_artifact

    for stage, task, settings in (("detector", "detect", config.DetectorSettings()), ("pose", "pose", config.PoseSettings())):
        assert config.default_models()[stage] == settings.model
        assert task in find_artifact(settings.model).tasks


def test_without_a_name_bottom_up_takes_a_network_that_finds_whole_skeletons(tmp_path):
    from common.artifact import find_artifact

    loaded = load(tmp_path, GOOD + "pose: {approach: bottom_up}\n")
    assert "bottom_up" in find_artifact(loaded.pose.model).tasks
    named = load(tmp_path, GOOD + "pose: {approach: bottom_up, model: artifacts/pifpaf}\n")
    assert named.pose.model == "artifacts/pifpaf"
    part = config.split(loaded)["pose"]
    assert config.parse_part(config.PoseSettings, part) == loaded.pose


@pytest.mark.parametrize("text", [GOOD.replace("    source: rtsp", "    sorce: rtsp"), GOOD.replace("rtsp://", "fps: rtsp://")])
def test_an_error_shows_no_password(tmp_path, text):
    assert all("secret" not in problem for problem in problems(tmp_path, text))


def test_an_address_in_the_wrong_place_is_shown_without_its_password(tmp_path):
    text = GOOD + "    fps: rtsp://eye:secret@10.0.0.5/1\n"
    (found,) = problems(tmp_path, text)
    assert "rtsp://***@10.0.0.5/1" in found
    assert "secret" not in found
