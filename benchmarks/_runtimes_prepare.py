"""Carries PP-TinyPose from the kit's OpenVINO IR through PyTorch to ONNX, TFLite float32 and int8, for `benchmarks.runtimes`.

The files are written even where int8 loses more than the gate of `posebus models convert` lets pass: the benchmark's job is to
say what is lost. Calibration: people of the kit's crops, which share no picture with coco-mini.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from common.manifest import FILENAME, ModelError

PICTURES = 128


def prepare(kit: Path, folder: Path) -> None:
    """Write the converted artifact into `folder`. Raises ModelError (ConversionError) naming what is missing."""
    if importlib.util.find_spec("torch") is None:
        raise ModelError("converting needs PyTorch: use an environment with `pip install posebus[convert]`")
    from models.convert.data import load_data, network_pictures
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
        graph, changes = float_graph(source, pictures=pictures)
        (made / "model.tflite").write_bytes(to_float(source, graph))
        content, chosen = to_int8(source, graph, pictures)
        for change in (*changes, chosen):
            print(change, flush=True)
        (made / "model_int8.tflite").write_bytes(content)
        files = [
            Written("onnx", "float32", made / "model.onnx"),
            Written("tflite", "float32", made / "model.tflite", False),
            Written("tflite", "int8", made / "model_int8.tflite", False),
        ]
        (made / FILENAME).write_text(manifest_text(source, files, [], decoder=source.decoder), encoding="utf-8")
    print(f"{folder}: written", flush=True)
