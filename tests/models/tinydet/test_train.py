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

from models.convert.source import ConversionError, load_source  # noqa: E402
from models.data.sample import MemoryPicture, Person, Report, Sample  # noqa: E402
from models.tinydet.augment import Chances  # noqa: E402
from models.tinydet.config import FOLDER, RunConfig, read_config  # noqa: E402
from models.tinydet.data import Mix, read_folder, tensors, training_mix  # noqa: E402
from models.tinydet.loss import losses  # noqa: E402
from models.tinydet.measure import average_precision, detect  # noqa: E402
from models.tinydet.network import TinyDet, cells, flat, settle_new  # noqa: E402
from models.tinydet.scene import scene_of  # noqa: E402
from models.tinydet.train import train  # noqa: E402
from models.tinypose.batches import to_input  # noqa: E402
from models.training.errors import TrainingError  # noqa: E402

SIZE = (96, 64)


def made(count: int = 6) -> list[Sample]:
    """Grey pictures with one or two red people each."""
    random = np.random.default_rng(5)
    samples = []
    for i in range(count):
        pixels = random.integers(90, 120, (64, 96, 3), np.uint8)
        people = []
        for k in range(1 + i % 2):
            x, y, width, height = 8 + 44 * k, int(random.integers(4, 14)), int(random.integers(16, 30)), 40
            pixels[y : y + height, x : x + width] = (210, 30, 40)
            people.append(Person(np.array([x, y, x + width, y + height], np.float32)))
        samples.append(Sample(f"{i}.png", MemoryPicture(pixels), tuple(people), "made", ""))
    return samples


def a_config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "name": "tiny", "variant": "tinydet-s", "size_px": SIZE, "start": "random", "frozen": 0, "steps": 6, "warmup": 2,
        "batch": 4, "evaluate_every": 2, "sets": [{"kind": "scenes"}],
    }  # fmt: skip
    return RunConfig(**(settings | changes))


def run(folder: Path, config: RunConfig, where: str = "work", **options: Any) -> Path:
    samples = made()
    mix = Mix([(1.0, samples)], [], SIZE, config.seed)
    dev = {"made": [scene_of(sample) for sample in samples]}
    return train(config, mix, dev, folder / where, folder / "runs" / where, **options)


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole = run(tmp_path, a_config(), "whole")
    run(tmp_path, a_config(), "parts", stop_at=3)
    parts = run(tmp_path, a_config(), "parts", resume=True)
    mine, theirs = (torch.load(path, weights_only=True)["network"] for path in (whole, parts))
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0, msg=name)


def test_the_run_leaves_configuration_and_log(tmp_path: Path) -> None:
    run(tmp_path, a_config())
    folder = tmp_path / "runs" / "work" / "tiny"
    rows = (folder / "log.csv").read_text().splitlines()
    names = rows[0].split(",")
    assert {"step", "seconds", "loss", "score_loss", "box_loss", "cells", "made_ap50", "made_turned_ap50"} <= set(names)
    assert [row.split(",")[names.index("step")] for row in rows[1:]] == ["2", "4", "6"]
    assert json.loads((folder / "config.json").read_text())["steps"] == 6


def test_a_run_to_go_on_from_ends_before_its_schedule(tmp_path: Path) -> None:
    run(tmp_path, a_config(until=2))
    state = torch.load(tmp_path / "work" / "tiny" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert state["optimiser"]["param_groups"][0]["lr"] == pytest.approx(1.5e-3 * 0.25)  # trunk, after a warm-up of 2 steps


def test_a_run_goes_on_from_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, a_config(until=1))
    run(tmp_path, a_config(name="next", start="tiny", steps=1))
    count = len(TinyDet(a_config().network).state_dict())
    assert f"start: {count} of {count} tensors of tiny" in capsys.readouterr().out


def test_one_batch_can_be_learned_by_heart() -> None:
    torch.manual_seed(0)
    config = a_config(variant="tinydet-m")
    scenes = [scene_of(sample) for sample in made(4)]
    x = to_input(np.stack([scene.image for scene in scenes]))
    network = TinyDet(config.network).train()
    settle_new(network, x)
    points, strides = cells(config.network)
    people, ignored = tensors(scenes)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    values = []
    for _ in range(60):
        loss = losses(*flat(network(x)), points, strides, people, ignored)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        values.append(loss.total.item())
    assert values[-1] < 0.35 * values[0]
    assert average_precision(detect(network.eval(), scenes), scenes) > 0.9


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import models.tinydet.train as module

    def poisoned(network: TinyDet, x: Any) -> None:
        network.head.logits["8"].weight.data[0] = float("nan")

    monkeypatch.setattr(module, "settle_new", poisoned)
    with pytest.raises(TrainingError, match=r"step 0: the loss is nan; the batch holds .*\d\.png"):
        run(tmp_path, a_config())


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    run(tmp_path, a_config(), stop_at=1)
    with pytest.raises(TrainingError, match="batch: 4 -> 2"):
        run(tmp_path, a_config(batch=2), resume=True)


def test_a_full_disk_is_told_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    run(tmp_path, a_config(), stop_at=1)
    path = tmp_path / "work" / "tiny" / "checkpoint.pt"
    before = path.read_bytes()
    os.symlink("/dev/full", path.with_name("checkpoint.pt.part"))
    with pytest.raises(TrainingError, match="cannot be written"):
        run(tmp_path, a_config(), resume=True)
    assert path.read_bytes() == before


def test_the_same_step_draws_the_same_pictures() -> None:
    first, second = (Mix([(1.0, made())], [], SIZE, 3, Chances()).batch(7, 3) for _ in range(2))
    for mine, theirs in zip(first, second, strict=True):
        assert np.array_equal(mine.image, theirs.image)
        assert np.array_equal(mine.people, theirs.people)


def test_small_sources_are_drawn_more_often_than_their_size_says() -> None:
    few = [Sample(f"few{i}", s.picture, s.people, "few", "") for i, s in enumerate(made(1))]
    many = [Sample(f"many{i}", s.picture, s.people, "many", "") for i, s in enumerate(made(16))]
    mix = Mix([(1.0, few + many)], [], SIZE, 0, Chances(mosaic=0.0, lay=0.0, decoy=0.0))
    share = np.mean([scene.name == "few0" for scene in mix.batch(0, 400)])
    assert share == pytest.approx(0.2, abs=0.06)  # 1 : root of 16


def test_a_folder_in_cocos_layout_is_read(tmp_path: Path) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    sample = made(2)[1]
    cv2.imwrite(str(tmp_path / "set" / "images" / "1.png"), sample.picture.read()[..., ::-1])
    boxes = [person.box_xyxy_px for person in sample.people]
    labels = {
        "images": [{"id": 1, "file_name": "1.png", "width": 96, "height": 64}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": [*map(float, box[:2]), *map(float, box[2:] - box[:2])]}
            for i, box in enumerate(boxes)
        ],
    }
    (tmp_path / "set" / "people.json").write_text(json.dumps(labels))
    config = a_config(sets=[{"kind": "coco", "path": "set"}])
    (scenes,) = training_mix(config, tmp_path / "no kit", tmp_path, Report()).sets
    np.testing.assert_allclose(scene_of(scenes[0]).people, boxes)
    with pytest.raises(TrainingError, match="holds no COCO annotations"):
        read_folder(tmp_path / "set" / "images", Report())


def test_a_trained_network_is_a_source_of_conversion(tmp_path: Path) -> None:
    weights = run(tmp_path, a_config(until=1))
    source = load_source(weights)
    assert (source.name, source.task, source.decoder) == ("tiny", "detect", "rtmdet")
    assert (source.width_px, source.height_px) == SIZE
    with torch.no_grad():
        assert len(source.module(torch.zeros(1, 3, 64, 96))) == len(source.outputs) == 6


def test_something_else_is_no_tinydet(tmp_path: Path) -> None:
    for state in ({"network": {}, "config": {"head": "offsets"}}, {"state_dict": {}}):
        torch.save(state, tmp_path / "other.pt")
        with pytest.raises(ConversionError, match=r"is no (tinydet|checkpoint of a training run)"):
            load_source(tmp_path / "other.pt", "tinydet")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_each_configuration_is_valid_and_named_as_its_file(path: Path) -> None:
    assert read_config(path.stem).name == path.stem


@pytest.mark.parametrize(("text", "told"), [
    ("steps = 'many'", "steps: "), ("colour = 'red'", "colour: Extra inputs"), ("name = ", "is not TOML"),
    ("variant = 'tinydet-xl'", "variant"),
])  # fmt: skip
def test_a_wrong_configuration_names_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    rest = 'name = "x"\nvariant = "tinydet-s"\nsteps = 1\nsets = [{ kind = "scenes" }]\n'
    kept = "\n".join(line for line in rest.splitlines() if line.split(" ")[0] != text.split(" ")[0])
    path.write_text(text + "\n" + kept)
    with pytest.raises(TrainingError, match=f"mine.toml.*{told}"):
        read_config(str(path))
