"""Carries PP-TinyPose from the kit's OpenVINO IR through PyTorch to ONNX, TFLite float32 and int8, for `benchmarks.runtimes`.

The files are written even where int8 loses more than the gate of `posebus models convert` lets pass: the benchmark's job is to
say what is lost. Calibration: people of the kit's crops, which share no picture with coco-mini.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.manifest import FILENAME, ModelError

PICTURES = 128
RANGED = 48  # of them, for the ranges of channels: their largest values change little with more


def prepare(kit: Path, folder: Path) -> None:
    """Write the converted artifact into `folder`. Raises ModelError (ConversionError) naming what is missing."""
    try:
        import torch
    except ImportError as error:
        raise ModelError("converting needs PyTorch: use an environment with `pip install posebus[convert]`") from error
    from models.convert.data import load_data, network_pictures
    from models.convert.equalise import equalise
    from models.convert.graph_source import artifact_of
    from models.convert.publish import Written, manifest_text, new_folder
    from models.convert.source import load_source
    from models.convert.to_onnx import to_onnx
    from models.convert.to_tflite import float_graph, to_float, to_int8

    network = kit / "models" / "pose" / "pp_tinypose_256x192_fp16.xml"
    source = load_source(network)
    data = load_data(kit / "people" / "crops0.zip", PICTURES)
    pictures = network_pictures(artifact_of(network, None), data.calibration)
    shutil.rmtree(folder, ignore_errors=True)  # ours, of an earlier run
    with new_folder(folder) as made:
        to_onnx(source, made / "model.onnx")
        print("model.onnx: written", flush=True)
        equal = equalise(source.module, _batches(torch, source, pictures[:RANGED]))
        print(f"{source.name}: {equal} channels equalised before quantisation", flush=True)
        graph, changes = float_graph(source)
        for change in changes:
            print(change, flush=True)
        (made / "model.tflite").write_bytes(to_float(source, graph))
        content, ranges = to_int8(source, graph, pictures)
        print(ranges, flush=True)
        (made / "model_int8.tflite").write_bytes(content)
        files = [
            Written("onnx", "float32", made / "model.onnx"),
            Written("tflite", "float32", made / "model.tflite", False),
            Written("tflite", "int8", made / "model_int8.tflite", False),
        ]
        (made / FILENAME).write_text(manifest_text(source, files, [], decoder=source.decoder), encoding="utf-8")
    print(f"{folder}: written", flush=True)


def _batches(torch: Any, source: Any, pictures: list[NDArray[np.uint8]], size: int = 8) -> Iterator[Any]:
    """Pictures as the bare network takes them: normalised planes."""
    for start in range(0, len(pictures), size):
        pixels = (np.stack(pictures[start : start + size]) - np.array(source.mean)) / np.array(source.std)
        yield torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32))
