"""Numbers of shipped files: into the manifest, evaluation.json and the card, and again after a second measurement."""

from __future__ import annotations

import json

import pytest

from common.artifact import read_artifact
from models.ship import measure
from tests.models.ship.folders import artifact, pose_row

ROWS = {"tinypose-t": pose_row(), "tinypose-t:float16": pose_row("float16", form="onnx"), "movenet-lightning": pose_row()}


def test_the_manifest_gets_our_numbers_and_keeps_those_of_the_conversion(tmp_path):
    folder = artifact(tmp_path / "tinypose-t")
    measure.write(folder, ROWS)
    rows = read_artifact(folder).manifest.measured
    assert [(row.metric, row.precision) for row in rows] == [
        ("OKS to reference", "float32"),
        *((metric, precision) for precision in ("int8", "float16") for metric in ("AP~", "OKS", "AP")),
    ]
    assert rows[1].value == 0.51
    assert (rows[1].n, rows[1].threads_ms) == (68, {"2": 2.1})


def test_measuring_again_replaces_the_earlier_numbers(tmp_path):
    folder = artifact(tmp_path / "tinypose-t")
    measure.write(folder, ROWS)
    measure.write(folder, {"tinypose-t": pose_row(oks=0.7)})
    rows = read_artifact(folder).manifest.measured
    assert [(row.metric, row.value) for row in rows] == [("OKS to reference", 0.999), ("AP~", 0.51), ("OKS", 0.7), ("AP", 0.45)]
    assert list(json.loads((folder / measure.EVALUATION).read_text())) == ["tinypose-t"]


def test_an_unknown_number_is_left_out_of_the_manifest(tmp_path):
    folder = artifact(tmp_path / "tinypose-t", converted=False)
    measure.write(folder, {"tinypose-t": pose_row() | {"ap_own": None}})
    assert [row.metric for row in read_artifact(folder).manifest.measured] == ["AP~", "OKS"]


def test_the_card_is_written_with_them(tmp_path):
    folder = artifact(tmp_path / "tinypose-t")
    measure.write(folder, ROWS)
    assert "| **tinypose-t** | tflite int8 | 0.510 (0.40..0.60) |" in (folder / "MODEL_CARD.md").read_text()


def test_an_evaluation_that_fails_is_an_error(tmp_path, capsys):
    folder = artifact(tmp_path / "tinypose-t")
    with pytest.raises(measure.ModelError, match="the evaluation ended with code 2"):
        measure.evaluate(folder, kit=tmp_path / "nowhere", beside=[])
    assert "error:" in capsys.readouterr().err
    assert not list(folder.glob("*.new"))
