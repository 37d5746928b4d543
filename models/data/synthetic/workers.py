"""Renders scenes in processes of their own.

A module apart from the command: a spawned process cannot import what was run as `python -m models.data.synthetic`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import cv2

from models.data.synthetic.backdrops import Photos
from models.data.synthetic.scene import Rendered, Settings, render


def render_all(seeds: list[int], settings: Settings, processes: int) -> Iterator[tuple[int, Rendered]]:
    """(seed, scene) of each seed, in order. Raises BrokenProcessPool when a process dies."""
    if processes == 1 or len(seeds) < 2:
        photos = Photos(settings.backgrounds)
        for seed in seeds:
            yield seed, render(seed, settings, photos)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start) as pool:
        yield from zip(seeds, pool.map(partial(_scene, settings), seeds, chunksize=4), strict=True)


def _start() -> None:
    """One thread a process: OpenCV and PyTorch would each start as many as there are cores."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _scene(settings: Settings, seed: int) -> Rendered:
    return render(seed, settings)
