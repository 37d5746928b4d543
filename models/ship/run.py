"""Ship a trained network: `python -m models.ship.run tinypose-s out/training/tinypose-s/average.pt`.

Converts it to ONNX, float TFLite and int8 TFLite, compares each with the network in PyTorch, checks that int8 runs on an Edge
TPU as a whole and ONNX by TensorRT, measures the files on validation data, writes manifest and model card, and puts all of it
at `models/zoo/NAME`. Nothing there changes unless everything is good.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from common.artifact import zoo_folder
from common.manifest import ModelError
from models.convert.pipeline import Watch
from models.ship.history import history
from models.ship.measure import Rows, evaluate, write
from models.ship.pictures import ship_data
from models.ship.release import build, install, source_of
from models.ship.trained import read_trained

MAX_LOST = {"oks": 0.01, "ap50": 0.02}  # by int8 on validation data; above it, models.ship.qat has to come first


def ship(
    name: str, weights: Path, out: Path, *, kit: Path, data: Path, coco: Path | None = None, beside: list[str] | None = None,
    calibration: int = 128, check: int = 48, max_lost: float | None = None, threads: int = 2, runs: Path | None = None,
    trial: bool = False,
) -> Rows:  # fmt: skip
    """Returns the numbers of the shipped files.

    coco: data to measure on, instead of the kit's. runs: the folder of logs. trial: see models.ship.release.build.

    Raises ModelError, DataError.
    """
    trained = read_trained(weights, runs)
    source = source_of(trained, weights, name)
    pictures = ship_data(trained, source, kit, data, calibration=calibration, check=check)
    with tempfile.TemporaryDirectory(prefix="posebus-ship-") as temporary:
        folder = Path(temporary) / name
        build(trained, source, pictures, folder, history(trained, kit, data), threads=threads, trial=trial,
              watch=_steps(name))  # fmt: skip
        rows = evaluate(folder, kit=kit, coco=coco, beside=beside, threads=threads)
        refuse_loss(rows, name, max_lost)
        write(folder, rows)
        install(folder, out)
    print(f"{name}: shipped to {out}")
    return rows


def refuse_loss(rows: Rows, name: str, limit: float | None = None) -> None:
    """Raises ModelError where int8 has lost more than MAX_LOST against the float file, on the same people."""
    mine = {row["precision"]: row for key, row in rows.items() if key == name or key.startswith(f"{name}:")}
    metric = next(key for key in MAX_LOST if key in rows[name])
    right = mine.get("float32") or mine["float16"]
    lost = (right[metric] or 0.0) - (mine["int8"][metric] or 0.0)
    allowed = MAX_LOST[metric] if limit is None else limit
    if lost > allowed:
        raise ModelError(
            f"{name}: int8 loses {lost:.4f} {metric}, {allowed} is allowed; run `python -m models.ship.qat` on the weights "
            "first, or give --max-lost"
        )


def _steps(name: str) -> Watch:
    """Says each step once: the comparison tells of each picture."""
    said = set()

    def watch(what: str, share: float) -> None:
        if what not in said:
            said.add(what)
            print(f"{name}: {share:.0%} {what}", flush=True)

    return watch


def main(
    name: Annotated[str, typer.Argument(help="of the artifact")],
    weights: Annotated[Path, typer.Argument(help="average.pt of a run, or int8.pt of models.ship.qat")],
    out: Annotated[Path | None, typer.Option(help="default: the zoo's folder of that name")] = None,
    kit: Annotated[Path, typer.Option(envvar="POSEBUS_KIT", help="the folder of the data")] = Path("../shared/kit"),
    data: Annotated[Path, typer.Option(help="the folder of further sets in COCO's layout")] = Path("out/data"),
    max_lost: Annotated[float | None, typer.Option(help="of OKS or AP50, by int8; default 0.01 and 0.02")] = None,
    runs: Annotated[Path | None, typer.Option(help="the folder of logs; default: runs/ of the network's package")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    try:
        ship(name, weights, out or zoo_folder() / name, kit=kit, data=data, max_lost=max_lost, threads=threads, runs=runs)
    except (ModelError, OSError, ValueError) as error:
        print(f"error: {error}")
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
