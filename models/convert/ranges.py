"""Full int8: which range each activation gets, chosen on the calibration pictures.

Everything between a layer's extremes fits into the widest range, but a few outliers then make 8 bits coarse for all else; the
mean over pictures of each one's extremes cuts the outliers, a narrower range still more. Which is best differs from network
to network, so several are tried, and the one whose outputs are nearest to the float network's is taken. Inputs are always
0..255, and outputs keep the widest range: a heatmap whose peaks are cut has no maximum any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.convert.output_error import ErrorMeter
from models.convert.source import ConversionError

PIXEL_RANGE = (0.0, 255.0)  # of the input: gives scale 1 and zero point -128, so that a pixel is a number, not rounded
SHARES = (1.0, 0.5, 0.0, -0.25, -0.5)  # of the way from the mean extremes to the widest ones; below 0: narrower than the mean
KEPT = 0.5  # of the mean extremes, at least
JUDGED_ON = 12  # pictures of the calibration; the gate uses others
_SIGNATURE = "serving_default"

Range = Mapping[str, Any]  # min and max of one tensor, as the quantiser wants them
Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Quantised:
    """An int8 network; share: of SHARES, whose ranges it has; noise: of its outputs against the float network's."""

    content: bytes
    share: float
    noise: float

    def __str__(self) -> str:
        return f"activations: ranges at {self.share:.0%} of the way from the pictures' mean extremes to the widest"


def quantise(graph: bytes, pictures: Pictures, threads: int) -> Quantised:
    """graph: float32 pixels in, TFLite; pictures: (H, W, 3) uint8 each, one or more."""
    from ai_edge_quantizer import quantizer, recipe

    steps = recipe.static_wi8_ai8()
    seen = _observe(graph, pictures, threads)
    ends = _ends(graph)
    judged = pictures[:: max(1, len(pictures) // JUDGED_ON)][:JUDGED_ON]
    right = _run(graph, judged, threads)
    best: Quantised | None = None
    for share in SHARES:
        done = quantizer.Quantizer(graph, steps)
        ranges = _ranges(seen, share, ends)
        content = bytes(
            done.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
        )
        meter = ErrorMeter()
        for expected, found in zip(right, _run(content, judged, threads), strict=True):
            meter.add(expected, found)
        error = meter.result()
        noise = float("inf") if error is None else error.noise
        if best is None or noise < best.noise:
            best = Quantised(content, share, noise)
    assert best is not None
    return best


def _observe(graph: bytes, pictures: Pictures, threads: int) -> dict[str, dict[str, Any]]:
    """Extremes of every tensor, over all pictures and in the mean.

    By the quantiser's profiler: it finds the same as keeping all tensors, in a fifth of the time (PP-TinyPose, 813 tensors).
    """
    from ai_edge_quantizer import calibrator, recipe, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
    observer = calibrator.Calibrator(graph, num_threads=threads, mode=mode, qsv_update_func=gather)
    observer.calibrate({_SIGNATURE: _Samples(pictures, _ends(graph).argument)}, manager)
    seen: dict[str, dict[str, Any]] = observer.get_model_qsvs()
    return seen


def gather(seen: Range, new: Range) -> dict[str, Any]:
    """One more picture's extremes: those of all, and the running mean."""
    count = seen.get("count", 1) + 1
    low, high = seen.get("mean_min", seen["min"]), seen.get("mean_max", seen["max"])
    with np.errstate(invalid="ignore"):  # tensors that reach infinity are refused by name, later
        return {
            "min": np.minimum(seen["min"], new["min"]),
            "max": np.maximum(seen["max"], new["max"]),
            "mean_min": low + (new["min"] - low) / count,
            "mean_max": high + (new["max"] - high) / count,
            "count": count,
        }


@dataclass(frozen=True)
class _Ends:
    argument: str  # of the signature
    input: str  # tensors
    outputs: tuple[str, ...]


def _ends(graph: bytes) -> _Ends:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=graph)
    (argument,) = interpreter.get_signature_list()[_SIGNATURE]["inputs"]
    (entry,) = interpreter.get_input_details()
    return _Ends(str(argument), str(entry["name"]), tuple(str(each["name"]) for each in interpreter.get_output_details()))


def _ranges(seen: Mapping[str, Range], share: float, ends: _Ends) -> dict[str, dict[str, Any]]:
    ranges = {}
    for name, found in seen.items():
        if not found:
            ranges[name] = dict(found)
            continue
        if not (np.isfinite(found["min"]).all() and np.isfinite(found["max"]).all()):
            raise ConversionError(
                f"tensor {name!r} reaches infinity or NaN on the calibration pictures and so has no int8 range: look for a "
                "max pool padded with -inf, a division or a logarithm there, or leave tflite-int8 out of --formats"
            )
        part = 1.0 if name in ends.outputs else share
        low, high = found.get("mean_min", found["min"]), found.get("mean_max", found["max"])
        ranges[name] = {"min": np.minimum(low + part * (found["min"] - low), KEPT * np.minimum(low, 0)),
                        "max": np.maximum(high + part * (found["max"] - high), KEPT * np.maximum(high, 0))}  # fmt: skip
    like = ranges[ends.input]
    ranges[ends.input] = {
        "min": np.full_like(like["min"], PIXEL_RANGE[0]), "max": np.full_like(like["max"], PIXEL_RANGE[1])
    }  # fmt: skip
    return ranges


class _Samples:
    """Calibration data as the quantiser reads it, twice: made as it is read, as together it would fill the memory."""

    def __init__(self, pictures: Pictures, name: str) -> None:
        self._pictures, self._name = pictures, name

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        for picture in self._pictures:
            yield {self._name: picture[None].astype(np.float32)}


def _run(content: bytes, pictures: Pictures, threads: int) -> list[dict[str, NDArray[Any]]]:
    """Outputs of each picture, as floats, whatever the network takes and gives."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    scale, zero = entry["quantization"]
    answers = []
    for picture in pictures:
        batch = picture[None].astype(np.float32)
        values = np.clip(np.rint(batch / scale) + zero, -128, 127) if scale else batch
        interpreter.set_tensor(entry["index"], values.astype(entry["dtype"]))
        interpreter.invoke()
        answers.append({str(i): _floats(interpreter, each) for i, each in enumerate(interpreter.get_output_details())})
    return answers


def _floats(interpreter: Any, answer: Mapping[str, Any]) -> NDArray[Any]:
    value: NDArray[Any] = interpreter.get_tensor(answer["index"])
    scale, zero = answer["quantization"]
    return (value.astype(np.float32) - zero) * np.float32(scale) if scale else value
