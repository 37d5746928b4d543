from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from models.evaluation.coco import DataError
from models.evaluation.command import Table, interval, markdown, number, options, run, show, write_json


def arguments(*given: str) -> argparse.Namespace:
    return options("", kind="people").parse_args(given)


def test_rows_are_written_whole(tmp_path):
    file = tmp_path / "numbers.json"
    assert run(lambda _: {"net": {"ap": 0.5}}, arguments("--json", str(file))) == 0
    assert json.loads(file.read_text()) == {"net": {"ap": 0.5}}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(file, {"net": {"ap": float("nan")}})
    assert json.loads(file.read_text()) == {"net": {"ap": 0.5}}, "the old file stays"


def test_errors_are_a_line_and_a_code(capsys):
    def work(_):
        raise DataError("a.json: no people")

    assert run(work, arguments()) == 2
    assert capsys.readouterr().err == "error: a.json: no people\n"


def test_what_cannot_end_well_does_not_begin(tmp_path, capsys):
    def work(_):
        raise AssertionError("began")

    assert run(work, arguments("--json", str(tmp_path / "absent" / "x.json"))) == 2
    assert "its folder does not exist" in capsys.readouterr().err
    assert run(work, arguments("--threads", "0")) == 2
    assert "--threads is 0" in capsys.readouterr().err


def test_tables_are_markdown_and_aligned():
    text = markdown(("model", "AP"), [("a", "0.5"), ("long name", "-")])
    assert text.splitlines() == [
        "| model     |  AP |",
        "| --------- | --: |",
        "| a         | 0.5 |",
        "| long name |   - |",
    ]


def test_notes_come_after_the_tables(capsys):
    show([Table("People", ("model",), (("a",),))], ["net: left out"])
    assert capsys.readouterr().out == "\nPeople\n\n| model |\n| ----- |\n| a     |\n\nnet: left out\n"


def test_what_is_not_known_is_a_dash():
    assert (number(None), number(float("nan")), number(0.1234), interval(None)) == ("-", "-", "0.123", "-")
    assert interval((0.1, 0.25)) == "0.10-0.25"


def test_the_kit_is_beside_the_checkout(monkeypatch):
    monkeypatch.delenv("POSEBUS_KIT", raising=False)
    assert arguments().kit == Path("../shared/kit")
