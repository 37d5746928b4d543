"""The model card says what lies beside it, and nothing else."""

from __future__ import annotations

import json

from models.ship.card import card
from tests.models.ship.folders import artifact, detect_row, pose_row


def test_a_card_has_every_file_with_what_is_known_of_it(tmp_path):
    text = card(artifact(tmp_path / "tinypose-t"))
    assert "| `model_int8.tflite` | tflite | int8 | 0.00 | OKS 0.9876, 95 % of keypoints within 1.23 px | 87 of 87 " in text
    assert "| `model_float16.onnx` | onnx | float16 | 0.00 |  |  |" in text
    assert "1.38 million parameters. Takes 48 x 64 pixels" in text


def test_time_energy_and_sources_follow_from_the_history(tmp_path):
    text = card(artifact(tmp_path / "tinypose-t"))
    assert "| somebody/people | MIT | 321 | 0123456789ab |" in text
    assert "| tinypose-t | imagenet | 700 | 32 | 2.00 h | dev_oks 0.500 |" in text
    assert "2.0 hours on 2 CPU cores: about 0.04 kWh, 19 g of CO2. Estimated, not measured" in text
    assert "make train MODEL=tinypose-t" in text


def test_scores_come_with_sample_sizes_and_only_where_something_was_measured(tmp_path):
    folder = artifact(tmp_path / "tinypose-t")
    assert "How good" not in card(folder)
    rows = {"tinypose-t": pose_row(), "movenet-lightning": pose_row(oks=0.4)}
    (folder / "evaluation.json").write_text(json.dumps(rows))
    text = card(folder)
    assert "| AP~ (OKS) by posture | lying, n = 5 |" in text
    assert "| movenet-lightning | tflite int8 |" in text
    assert "2 threads, load average 0.1 then" in text


def test_a_detector_tells_of_lying_people_and_whose_truth_that_is(tmp_path):
    folder = artifact(tmp_path / "t")
    manifest = (folder / "manifest.toml").read_text().replace('tasks = ["pose"]', 'tasks = ["detect"]')
    manifest = manifest.replace("tinypose-t", "tinydet-t")
    head, rest = manifest.split("[pose]")
    rest = '[detect]\ndecoder = "rtmdet"\n' + rest[rest.index("\n[[file]]") :]
    (folder / "manifest.toml").write_text(head + rest.replace('task = "pose"', 'task = "detect"'))
    (folder / "evaluation.json").write_text(json.dumps({"tinydet-t": detect_row()}))
    text = card(folder)
    assert "| **tinydet-t** | tflite int8 | 0.600 (0.50..0.70) | 0.300 | 120 | 0.900 (0.80..1.00) | 40 | 0.950 | 5.0 |" in text
    assert "truth: boxes by hand" in text
