"""One command from the data to a shipped network: `make train MODEL=tinypose-s`.

Renders the sets that its configurations name, trains the runs that it goes on from and its own, fine-tunes for int8 and
ships. What is done already stays: after an interruption the same command goes on where it was.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from common.artifact import zoo_folder
from common.manifest import ModelError
from models.data.sample import DataError, Report
from models.ship.history import STARTS
from models.ship.qat import fine_tune
from models.ship.run import ship
from models.tinydet import train as tinydet
from models.tinydet.config import read_config as read_det
from models.tinydet.data import development, training_mix
from models.tinypose import train as tinypose
from models.tinypose.config import read_config as read_pose
from models.training.checkpoints import load
from models.training.errors import TrainingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes.toml"
NETWORKS = ("tinypose-s", "tinypose-m", "tinydet-s", "tinydet-m")


@dataclass(frozen=True)
class Places:
    """kit: the kit's folder; data: of rendered sets; work: of checkpoints."""

    kit: Path
    data: Path
    work: Path


def config_of(name: str) -> tuple[str, Any]:
    """(kind, configuration) of a run. Raises TrainingError."""
    kind = name.split("-")[0]
    if kind not in ("tinypose", "tinydet"):
        raise TrainingError(f"run {name!r} is of no known network: its name must begin with tinypose- or tinydet-")
    return kind, read_pose(name) if kind == "tinypose" else read_det(name)


def chain(name: str) -> list[tuple[str, Any]]:
    """The run and those that it goes on from, in the order in which they are trained. Raises TrainingError for a circle."""
    runs: list[tuple[str, Any]] = []
    while name not in STARTS:
        if any(config.name == name for _, config in runs):
            raise TrainingError(f"run {name!r} goes on from itself; change `start` in its configuration")
        runs.insert(0, config_of(name))
        name = runs[0][1].start
    return runs


def sets_of(runs: list[tuple[str, Any]]) -> Iterator[str]:
    """Paths of rendered sets, each once."""
    yield from dict.fromkeys(entry.path for _, config in runs for entry in config.sets if entry.path)


def render(path: str, places: Places, recipes: dict[str, Any]) -> None:
    """Make a rendered set unless it is there. Raises TrainingError where nothing says how, or where it fails."""
    folder = places.data / path
    if any(any(folder.glob(made)) for made in ("*.json", "annotations/*.json", "*.npz")):
        return
    if path not in recipes:
        raise TrainingError(f"{folder} is not there, and {RECIPES} does not say how it is made; add a table [sets.{path}]")
    recipe = recipes[path]
    arguments = [argument.format(kit=places.kit) for argument in recipe["arguments"]]
    if "seeds" not in recipe:
        _call(recipe["module"], arguments, folder)
        return
    parts = {seed: places.data / f".{path}-{seed}" for seed in recipe["seeds"]}
    for seed, part in parts.items():
        if not any(part.glob("annotations/*.json")):
            _call(recipe["module"], [*arguments, "--seed", str(seed)], part)
    _join(parts, folder)


def _call(module: str, arguments: list[str], out: Path) -> None:
    command = [sys.executable, "-m", module, *arguments, "--out", str(out)]
    print(" ".join(command[1:]), flush=True)
    if code := subprocess.run(command, check=False).returncode:
        raise TrainingError(f"{module} ended with code {code}; see above, then run the same command again")


def _join(parts: dict[int, Path], folder: Path) -> None:
    """All pictures in one folder, whose names tell the seeds; the annotations last, as without them there is no set."""
    for kind in ("images", "annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for part in parts.values():
        for picture in sorted((part / "images").iterdir()):
            picture.replace(folder / "images" / picture.name)
    for seed, part in parts.items():
        for labels in sorted((part / "annotations").glob("*.json")):
            labels.replace(folder / "annotations" / f"{labels.stem}-{seed}.json")
        shutil.rmtree(part)


def train(kind: str, config: Any, places: Places) -> Path:
    """Train a run from where it stopped, or not at all; returns average.pt."""
    checkpoint = places.work / config.name / "checkpoint.pt"
    last = getattr(config, "until", None) or config.steps
    if checkpoint.is_file() and load(checkpoint, config.model_dump(mode="json"))["step"] >= last:
        print(f"{config.name}: is trained")
        return Path(checkpoint.with_name("average.pt"))
    resume = checkpoint.is_file()
    if kind == "tinypose":
        return Path(tinypose.train(config, places.kit, places.data, places.work, tinypose.RUNS, resume=resume))
    report = Report(strict=False)
    mix, dev = training_mix(config, places.kit, places.data, report), development(places.kit, report)
    return Path(tinydet.train(config, mix, dev, places.work, tinydet.RUNS, resume=resume))


def reproduce(name: str, places: Places, out: Path, *, threads: int) -> None:
    """From the data to the artifact at `out`. Raises ModelError, DataError."""
    recipes = tomllib.loads(RECIPES.read_text(encoding="utf-8"))
    runs = chain(name)
    for path in sets_of(runs):
        render(path, places, recipes["sets"])
    weights = Path()
    for kind, config in runs:
        weights = train(kind, config, places)
    if steps := recipes["int8_steps"][name]:
        weights = fine_tune(weights, weights.with_name("int8.pt"), places.kit, places.data, steps=steps)
    ship(name, weights, out, kit=places.kit, data=places.data, threads=threads)


def main(
    name: Annotated[str, typer.Argument(help=f"one of {', '.join(NETWORKS)}")],
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the folder of the data")] = Path("../shared/kit"),
    data: Annotated[Path, typer.Option(help="the folder of rendered sets")] = Path("out/data"),
    work: Annotated[Path, typer.Option(help="the folder of checkpoints")] = Path("out/training"),
    out: Annotated[Path | None, typer.Option(help="default: the zoo's folder of that name")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    torch.set_num_threads(threads)
    if name not in NETWORKS:
        raise typer.BadParameter(f"{name!r} is not shipped; choose one of {', '.join(NETWORKS)}")
    try:
        reproduce(name, Places(kit, data, work), out or zoo_folder() / name, threads=threads)
    except (ModelError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
