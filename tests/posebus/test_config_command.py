"""`posebus config`: every wrong file is refused with file, line and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posebus import reference
from tests.posebus.conftest import GOOD, REPO, Command

TWO_CORNERS = GOOD.replace("[[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]", "[[0.1, 0.1], [0.9, 0.1]]")
DUPLICATE = GOOD + "  - name: lobby\n    source: usb:0\n"


def test_a_good_file_is_good(posebus: Command, config_file: Path) -> None:
    done = posebus("config", "check", config_file)
    assert (done.code, done.err) == (0, "")
    assert "cameras=1 zones=1" in done.out


def test_the_example_in_the_repository_is_good(posebus: Command) -> None:
    done = posebus("config", "check", REPO / "posebus.example.yaml")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GOOD + "colour: red\n", 8, "colour: unknown key"),
        (GOOD.replace("source:", "sauce:"), 3, "cameras[0].source: Field required"),
        (TWO_CORNERS, 7, "has 2 corners, a polygon needs at least 3"),
        (DUPLICATE, 1, "camera 'lobby' is defined 2 times"),
        ("cameras: [\n", 2, "not valid YAML"),
        ("", 1, "expected a mapping"),
        ("- 1\n- 2\n", 1, "expected a mapping"),
    ],
    ids=["unknown key", "missing key", "polygon of two points", "duplicate camera", "not YAML", "empty", "a list"],
)
def test_a_wrong_file_is_refused_with_line_and_key(posebus: Command, tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text.format(site="home") if "{site}" in text else text)
    done = posebus("config", "check", path)
    assert done.code == 1
    assert any(f"wrong.yaml:{line}: " in problem and said in problem for problem in done.err.splitlines()), done.err


def test_every_problem_of_a_file_is_told(posebus: Command, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(TWO_CORNERS.format(site="home") + "    fps: -1\n    colour: red\n")
    assert len(posebus("config", "check", path).err.splitlines()) == 3


def test_schema_tells_every_key(posebus: Command) -> None:
    text = posebus("config", "schema").out
    assert "`max_age_s`" in text
    assert "`polygon`" in text
    schema = json.loads(posebus("config", "schema", "--json-schema").out)
    assert set(schema["properties"]) >= {"site", "bus", "cameras", "detector", "pose", "analytics"}


@pytest.mark.parametrize("page", ["topics", "config"])
def test_the_reference_pages_are_current(page: str) -> None:
    text = {"topics": reference.topics_page, "config": reference.config_page}[page]()
    path = reference.DOCS / f"{page}.md"
    assert path.read_text(encoding="utf-8") == text, "run `python -m posebus.reference`"


def test_the_topics_page_names_every_topic_and_field() -> None:
    text = reference.topics_page()
    for word in ("`frames/{camera}`", "`alert/1`", "`captured_at_ns`", "`keypoints_px`", "list of StageTiming"):
        assert word in text
