"""The loop learns, resumes as if it had not stopped, and stops with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.data.sample import DataError, Report  # noqa: E402
from models.evaluation.oks import oks  # noqa: E402
from models.tinypose.augment import NONE  # noqa: E402
from models.tinypose.batches import Mix, to_input  # noqa: E402
from models.tinypose.config import CONFIGS, RunConfig, read_config  # noqa: E402
from models.tinypose.network import HEADS, TinyPose, layers  # noqa: E402
from models.tinypose.sets import training_sets  # noqa: E402
from models.tinypose.targets import LOSSES  # noqa: E402
from models.tinypose.train import predict, settle_new, train  # noqa: E402
from models.training.errors import TrainingError  # noqa: E402


def make_set(folder: Path, count: int = 6) -> Path:
    """People of discs, in COCO's layout: the colour of a disc is its keypoint."""
    random = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        picture = random.integers(90, 120, (160, 120, 3), np.uint8).copy()
        points = random.uniform((15, 15), (105, 145), (17, 2))
        for k, (x, y) in enumerate(points):
            cv2.circle(picture, (int(x), int(y)), 5, (15 * k, 255 - 15 * k, (60 * k) % 256), -1)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), picture)
        keypoints = np.column_stack([points, np.full(17, 2)]).round(2)
        images.append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 160})
        annotations.append(
            {"id": i, "image_id": i, "category_id": 1, "bbox": [10, 10, 100, 140], "area": 9000, "iscrowd": 0,
             "keypoints": keypoints.reshape(-1).tolist(), "num_keypoints": 17}
        )  # fmt: skip
    write(folder, {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]})
    return folder


def write(folder: Path, labels: dict[str, Any]) -> None:
    (folder / "people.json").write_text(json.dumps(labels))


def a_config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "name": "tiny", "width_px": 48, "height_px": 64, "neck": 8, "start": "random", "frozen": 0, "steps": 6, "warmup": 2,
        "batch": 4, "evaluate_every": 2, "sets": [{"kind": "coco", "path": "discs"}],
    }  # fmt: skip
    return RunConfig(**(settings | changes))


def run(tmp_path: Path, config: RunConfig, where: str = "work", **options: Any) -> Path:
    if not (tmp_path / "discs").exists():
        make_set(tmp_path / "discs")
    return train(config, tmp_path / "no kit", tmp_path, tmp_path / where, tmp_path / "runs" / where, **options)


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole = run(tmp_path, a_config(), "whole")
    run(tmp_path, a_config(), "parts", stop_at=3)
    parts = run(tmp_path, a_config(), "parts", resume=True)
    mine, theirs = (torch.load(path, weights_only=True)["network"] for path in (whole, parts))
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0, msg=name)


def test_the_run_leaves_configuration_log_and_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="curves need matplotlib")
    run(tmp_path, a_config())
    folder = tmp_path / "runs" / "work" / "tiny"
    rows = (folder / "log.csv").read_text().splitlines()
    assert rows[0].split(",")[:3] == ["step", "seconds", "loss"]
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "4", "6"]
    assert cv2.imread(str(folder / "curves.png")) is not None
    assert json.loads((folder / "config.json").read_text())["steps"] == 6


def test_a_run_to_go_on_from_ends_before_its_schedule_does(tmp_path: Path) -> None:
    run(tmp_path, a_config(until=4), "early")
    run(tmp_path, a_config(steps=4), "whole")
    early, whole = (
        [dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]]
        for rows in ((tmp_path / "runs" / name / "tiny" / "log.csv").read_text().splitlines() for name in ("early", "whole"))
    )
    assert [row["step"] for row in early] == [row["step"] for row in whole] == ["2", "4"]
    assert float(early[-1]["learning_rate"]) > 1.5 * float(whole[-1]["learning_rate"])


@pytest.mark.parametrize(("changes", "people"), [({}, 5), ({"known": 17}, 4), ({"known": 1}, 6), ({"part": 0.5}, 2)])
def test_people_are_taken_by_known_keypoints_and_in_part(tmp_path: Path, changes: dict[str, Any], people: int) -> None:
    """Of six people one shows 2 keypoints, below the 3 that are asked for, and one 5."""
    folder = make_set(tmp_path / "discs")
    labels = json.loads((folder / "people.json").read_text())
    for annotation, shown in zip(labels["annotations"], (2, 5), strict=False):
        annotation["keypoints"][3 * shown :] = [0] * (51 - 3 * shown)
        annotation["num_keypoints"] = shown
    write(folder, labels)
    ((_, found),) = training_sets(a_config(**changes), tmp_path, tmp_path, Report())
    assert len(found) == people


@pytest.mark.parametrize("head", list(HEADS))
def test_one_batch_can_be_learned_by_heart(tmp_path: Path, head: str) -> None:
    torch.manual_seed(0)
    config = a_config(head=head, neck=32)
    make_set(tmp_path / "discs")
    found = training_sets(config, tmp_path, tmp_path, Report())
    _, crops, keypoints = Mix(found, (48, 64), NONE, 0).batch(0, 6)
    network = TinyPose(config.network).train()
    truth, x = torch.from_numpy(keypoints), to_input(crops)
    settle_new(network, x, trunk=True)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(350):
        loss = LOSSES[head](network(x), truth, config.network, truth[..., 2])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert oks(predict(network.eval(), config, crops), keypoints, np.full(6, 48 * 64 * 0.5)).mean() > 0.8


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import models.tinypose.train as module

    def poisoned(network: TinyPose, x: Any, *, trunk: bool) -> None:
        next(iter(layers(network.head))).weight.data[0] = float("nan")

    monkeypatch.setattr(module, "settle_new", poisoned)
    with pytest.raises(TrainingError, match=r"step 0: the loss is nan; the batch holds discs/\d.png"):
        run(tmp_path, a_config())


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    run(tmp_path, a_config(), stop_at=2)
    with pytest.raises(TrainingError, match="neck: 8 -> 16"):
        run(tmp_path, a_config(neck=16), resume=True)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run(tmp_path, a_config(), stop_at=2)
    path = tmp_path / "work" / "tiny" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is damaged"):
        run(tmp_path, a_config(), resume=True)


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="start without --resume"):
        run(tmp_path, a_config(), resume=True)


def test_a_missing_picture_is_counted_and_the_rest_is_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_set(tmp_path / "discs")
    (tmp_path / "discs" / "images" / "2.png").unlink()
    run(tmp_path, a_config(), stop_at=1)
    told = capsys.readouterr().out
    assert "5 people" in told
    assert "2.png is missing" in told


def test_a_set_of_nobody_is_refused(tmp_path: Path) -> None:
    make_set(tmp_path / "discs")
    write(tmp_path / "discs", {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]})
    with pytest.raises(TrainingError, match="holds nobody with keypoints"):
        run(tmp_path, a_config())


def test_a_broken_picture_stops_with_its_name(tmp_path: Path) -> None:
    make_set(tmp_path / "discs")
    for path in (tmp_path / "discs" / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"\.png"):
        run(tmp_path, a_config())


def test_a_full_disk_is_told_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    run(tmp_path, a_config(), stop_at=2)
    path = tmp_path / "work" / "tiny" / "checkpoint.pt"
    before = path.read_bytes()
    os.symlink("/dev/full", path.with_name("checkpoint.pt.part"))
    with pytest.raises(TrainingError, match="cannot be written"):
        run(tmp_path, a_config(), resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_each_configuration_is_valid_and_named_as_its_file(path: Path) -> None:
    assert read_config(path.stem).name == path.stem


@pytest.mark.parametrize(("text", "told"), [
    ("steps = 'many'", "steps: "), ("colour = 'red'", "colour: Extra inputs"), ("name = ", "is not TOML"),
    ("width_px = 50", "width_px"),
])  # fmt: skip
def test_a_wrong_configuration_names_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    rest = 'name = "x"\nwidth_px = 48\nheight_px = 64\nsteps = 1\nsets = [{ kind = "people" }]\n'
    kept = "\n".join(line for line in rest.splitlines() if line.split(" ")[0] != text.split(" ")[0])
    path.write_text(text + "\n" + kept)
    with pytest.raises(TrainingError, match=f"mine.toml.*{told}"):
        read_config(str(path))


def test_an_unknown_configuration_lists_those_there_are() -> None:
    with pytest.raises(TrainingError, match=r"there are .*tinypose-base"):
        read_config("tinypose-xl")
