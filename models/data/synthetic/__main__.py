"""Renders scenes of synthetic people into a folder.

    python -m models.data.synthetic --count 10000 --seed 0 --out FOLDER --backgrounds PHOTOS --processes 2

Scene i has the seed S + i, so runs of other counts agree where they overlap. The same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from models.data.errors import DataError
from models.data.synthetic.backdrops import Photos
from models.data.synthetic.bodies import require
from models.data.synthetic.keyposes import MOTIONS
from models.data.synthetic.scene import Settings
from models.data.synthetic.store import Journal, check_space
from models.data.synthetic.workers import render_all

REPORT_S = 60.0
MOST = 10_000_000  # seeds; names have eight digits


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parser().parse_args(arguments)
    try:
        run(options)
    except (DataError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    parse = argparse.ArgumentParser(prog="python -m models.data.synthetic", description="render scenes of synthetic people")
    parse.add_argument("--count", type=int, required=True, help="scenes")
    parse.add_argument("--seed", type=int, default=0, help="seed of the first scene")
    parse.add_argument("--out", type=Path, required=True, help="folder for pictures and annotations.json")
    parse.add_argument("--backgrounds", type=Path, help="folder of photographs without people, or a kit; rooms without it")
    parse.add_argument("--motion", choices=sorted(MOTIONS), help="only this; all of them, by their shares, without it")
    parse.add_argument("--processes", type=int, default=1)
    return parse


def run(options: argparse.Namespace) -> Path:
    """Renders what is missing in the folder; returns the COCO file. Raises DataError and ImportError."""
    if options.count < 1 or options.seed < 0 or options.seed + options.count > MOST or options.processes < 1:
        raise DataError(
            f"--count {options.count} --seed {options.seed} --processes {options.processes}: count and processes must be at "
            f"least 1, seeds 0..{MOST - 1}"
        )
    settings = Settings(options.backgrounds, options.motion)
    Photos(settings.backgrounds)  # so that a wrong folder is refused before any work
    seeds = range(options.seed, options.seed + options.count)
    stated = {"backgrounds": options.backgrounds.name if options.backgrounds else None, "motion": options.motion}
    check_space(options.out, options.count)
    require()  # so that a missing package is told before a folder is made, and by this process
    journal = Journal(options.out, stated)
    missing = [seed for seed in seeds if seed not in journal.scenes]
    if len(missing) < options.count:
        print(f"{options.count - len(missing)} of {options.count} scenes are there already", flush=True)
    began = told = time.monotonic()
    for done, (seed, scene) in enumerate(render_all(missing, settings, options.processes), start=1):
        journal.add(seed, scene)
        now = time.monotonic()
        if now - told > REPORT_S or done == len(missing):
            print(f"scenes={done}/{len(missing)} rate={done / (now - began):.2f}/s", flush=True)
            told = now
            journal.finish(seed for seed in seeds if seed in journal.scenes)  # so that a trainer can start early
    return journal.finish(seeds)


if __name__ == "__main__":
    sys.exit(main())
