"""One command for a shipped network: which runs, which rendered sets, and what is done already."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from common.artifact import read_artifact  # noqa: E402
from models.data.sample import Report  # noqa: E402
from models.ship import reproduce  # noqa: E402
from models.ship.figures import write_figures  # noqa: E402
from models.ship.history import history  # noqa: E402
from models.ship.pictures import _whole, ship_data  # noqa: E402
from models.ship.release import source_of  # noqa: E402
from models.ship.reproduce import Places, chain, render, sets_of  # noqa: E402
from models.ship.trained import read_trained  # noqa: E402
from models.tinydet.data import read_folder  # noqa: E402
from models.tinypose.config import RunConfig, Set  # noqa: E402
from models.tinypose.network import TinyPose  # noqa: E402
from models.training.checkpoints import save  # noqa: E402
from models.training.errors import TrainingError  # noqa: E402
from services.pose.crops import crop_batch  # noqa: E402
from tests.models.ship.folders import artifact  # noqa: E402


def config(name: str, start: str = "random", path: str = "figures") -> RunConfig:
    return RunConfig(
        name=name, width_px=48, height_px=64, neck=8, steps=5, start=start, batch=2, sets=(Set(kind="coco", path=path),)
    )  # fmt: skip


@pytest.fixture
def runs(monkeypatch):
    known = {
        each.name: each
        for each in (config("tinypose-a"), config("tinypose-b", "tinypose-a", "rooms"), config("tinypose-c", "tinypose-d"),
                     config("tinypose-d", "tinypose-c"))
    }  # fmt: skip
    monkeypatch.setattr(reproduce, "read_pose", known.__getitem__)
    return known


def test_the_runs_that_it_goes_on_from_come_first(runs):
    found = chain("tinypose-b")
    assert [each.name for _, each in found] == ["tinypose-a", "tinypose-b"]
    assert list(sets_of(found)) == ["figures", "rooms"]


def test_a_circle_and_a_foreign_name_are_refused(runs):
    with pytest.raises(TrainingError, match="goes on from itself"):
        chain("tinypose-c")
    with pytest.raises(TrainingError, match="'yolo' is of no known network"):
        chain("yolo")


def test_a_set_that_is_there_stays_and_one_without_a_recipe_is_refused(tmp_path):
    places = Places(tmp_path, tmp_path, tmp_path)
    write_figures(tmp_path / "figures", 1, seed=1)
    render("figures", places, {})
    with pytest.raises(TrainingError, match=r"does not say how it is made; add a table \[sets\.rooms\]"):
        render("rooms", places, {})
    with pytest.raises(TrainingError, match=r"json\.tool ended with code"):
        render("rooms", places, {"rooms": {"module": "json.tool", "arguments": ["--no-such-option"]}})


def test_a_set_of_several_seeds_is_put_together_from_what_each_gave(tmp_path, monkeypatch):
    made = []

    def call(module, arguments, out):
        made.append(arguments)
        write_figures(out, 2, seed=int(arguments[-1]))

    monkeypatch.setattr(reproduce, "_call", call)
    recipes = {"rooms": {"module": "m", "arguments": ["--kit", "{kit}"], "seeds": [1, 2]}}
    render("rooms", Places(tmp_path / "kit", tmp_path, tmp_path), recipes)
    assert made == [["--kit", f"{tmp_path / 'kit'}", "--seed", seed] for seed in ("1", "2")]
    assert len(read_folder(tmp_path / "rooms", Report())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["rooms"]


def test_a_finished_run_is_not_trained_again(tmp_path):
    run = config("tinypose-a")
    save(tmp_path / "tinypose-a" / "checkpoint.pt", {"step": 5, "config": run.model_dump(mode="json")})
    weights = reproduce.train("tinypose", run, Places(tmp_path / "no", tmp_path / "no", tmp_path))
    assert weights == tmp_path / "tinypose-a" / "average.pt"


def trained(folder, run: RunConfig):
    save(folder / "average.pt", {"network": TinyPose(run.network).state_dict(), "config": run.model_dump(mode="json")})
    return read_trained(folder / "average.pt", folder / "runs")


def test_pictures_for_int8_are_half_plain_and_half_as_in_training_without_sharing_one(tmp_path):
    write_figures(tmp_path / "figures", 12, seed=1)
    run = trained(tmp_path, config("tinypose-a"))
    source = source_of(run, tmp_path / "average.pt", "tinypose-t")
    data = ship_data(run, source, tmp_path / "no-kit", tmp_path, calibration=8, check=10)
    spoiled = [sample for sample in data.calibration if sample.name.startswith("training picture")]
    assert (len(data.calibration), len(spoiled), len(data.check)) == (8, 4, 10)
    assert all(sample.image.shape == (64, 48, 3) for sample in spoiled)
    assert data.weak
    with pytest.raises(TrainingError, match=r"12 pictures with people to calibrate .* 20 and 10 are needed"):
        ship_data(run, source, tmp_path / "no-kit", tmp_path, calibration=40, check=10)


def test_a_training_crop_is_what_the_network_sees_of_it(tmp_path):

    picture = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    run = trained(tmp_path, config("tinypose-a"))
    sample = _whole(picture, 0, source_of(run, tmp_path / "average.pt", "tinypose-t"))
    manifest = read_artifact(artifact(tmp_path / "tinypose-t")).manifest
    assert np.abs(crop_batch(sample.image, sample.boxes, manifest).pixels[0].astype(int) - picture).max() <= 1


def test_the_history_follows_the_runs_and_counts_their_pictures(tmp_path):
    write_figures(tmp_path / "figures", 3, seed=1)
    for name, start, seconds in (("tinypose-a", "imagenet", 60), ("tinypose-b", "tinypose-a", 30)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        run = config(name, start)
        (folder / "config.json").write_text(json.dumps(run.model_dump(mode="json")))
        (folder / "log.csv").write_text(f"step,seconds,dev_oks\n5,{seconds},0.5\n")
    told = history(trained(tmp_path, config("tinypose-b", "tinypose-a")), tmp_path / "no-kit", tmp_path)
    assert [(run["name"], run["steps"]) for run in told["runs"]] == [("tinypose-a", 5), ("tinypose-b", 5)]
    assert told["seconds"] == 90
    assert told["sources"] == [{"name": "rendered people, figures", "licence": "made by models/data, CC0-1.0", "pictures": 3}]


def test_the_recipes_say_of_each_shipped_network_how_it_became_int8():
    recipes = reproduce.tomllib.loads(reproduce.RECIPES.read_text(encoding="utf-8"))
    assert set(recipes["int8_steps"]) == set(reproduce.NETWORKS)
    for recipe in recipes["sets"].values():
        assert {"module", "arguments"} <= recipe.keys() <= {"module", "arguments", "seeds"}
