"""Full int8: biases that make each channel's mean what it is in the float network.

Rounded weights and cut activations shift the mean of every channel, the same way on every picture, and the shifts of all
layers add up. A bias takes a shift back for nothing at run time: empirical bias correction (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019, arXiv:1906.04721, section 4.2; Finkelstein et al.,
"Fighting Quantization Bias With Bias", arXiv:1906.03193).

Layer after layer, so that each sees the corrected ones before it: the integer network is cut into stages, and what passes from
one to the next is kept, so that a sweep costs two runs a picture however deep the network is. Where an activation is fused,
only its result can be seen. Its mean is what the next layer gets, so this is the mean that is made equal; it moves with
the bias by the share of values that are not cut off, and the correction is divided by that share (a Newton step).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.convert.output_error import ErrorMeter
from models.convert.source import ConversionError
from models.convert.stages import Stage, Tensors, bias_of, operator_name, run_tensors, stages, weighted
from models.convert.tflite_io import read, write

SWEEPS = 2  # the first takes all but what the Newton steps leave
LEARNED_ON = 48  # pictures at most: channels of the smallest layers, 8x6, have 2304 values then
JUDGED_EVERY = 4  # of the calibration pictures, one in so many is kept to judge a sweep by
MIN_MOVING = 0.25  # of a channel's values: where fewer move, a step is shortened, as others start to move on the way
_INT32 = np.iinfo(np.int32)

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Corrected:
    """layers: whose biases changed, 0 where no sweep helped; pictures: that taught them; noise: of the outputs, as OutputError
    has it, on pictures that did not teach."""

    content: bytes
    layers: int
    pictures: int
    noise_before: float
    noise: float

    def __str__(self) -> str:
        if not self.layers:
            return "biases kept: correcting them did not bring the outputs nearer to the float network's"
        return f"biases of {self.layers} layers corrected on {self.pictures} pictures"


def correct_biases(int8: bytes, reference: bytes, pictures: Pictures, *, sweeps: int = SWEEPS, threads: int = 2) -> Corrected:
    """The int8 network with better biases, or as it was where they do not help.

    int8: a TFLite network made from reference, a float one, by quantising it: their convolutions and fully connected layers
    correspond by their order. pictures: (H, W, 3) uint8 each, of the calibration. A sweep over all layers is kept only if it
    brings the outputs nearer to reference's on pictures that it did not learn from. Raises ConversionError where the two
    networks do not correspond.
    """
    judged = list(pictures[::JUDGED_EVERY])
    learned = [picture for i, picture in enumerate(pictures) if i % JUDGED_EVERY]
    learned = learned[:: max(1, len(learned) // LEARNED_ON)][:LEARNED_ON]
    if not learned:
        return Corrected(int8, 0, 0, float("nan"), float("nan"))
    right = list(run_tensors(reference, read(reference).subgraphs[0].outputs, judged, threads))
    before = noise = _noise(right, int8, judged, threads)
    means = _reference_means(reference, int8, learned, threads)
    layers = 0
    for _ in range(sweeps):
        model = read(int8)
        changed = _sweep(model, means, learned, threads)
        content = write(model)
        found = _noise(right, content, judged, threads)
        if not found < noise:
            break
        int8, noise, layers = content, found, max(layers, changed)
    return Corrected(int8, layers, len(learned) if layers else 0, before, noise)


def _noise(right: Sequence[Tensors], content: bytes, pictures: Pictures, threads: int) -> float:
    meter = ErrorMeter()
    found = run_tensors(content, read(content).subgraphs[0].outputs, pictures, threads)
    for expected, answer in zip(right, found, strict=True):
        meter.add(_named(expected), _named(answer))
    error = meter.result()
    return float("inf") if error is None else error.noise


def _named(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {str(i): value for i, value in enumerate(tensors.values())}


def _reference_means(
    reference: bytes, int8: bytes, pictures: Pictures, threads: int
) -> dict[int, NDArray[np.float64]]:
    """What each channel's mean should be, by the index of the integer network's output tensor."""
    pairs = _pairs(read(reference), read(int8))
    sums: dict[int, NDArray[np.float64]] = {}
    for tensors in run_tensors(reference, list(pairs), pictures, threads):
        for index, value in tensors.items():
            sums[pairs[index]] = sums.get(pairs[index], 0.0) + _channels(value).mean(axis=0, dtype=np.float64)
    return {index: total / len(pictures) for index, total in sums.items()}


def _pairs(reference: Any, int8: Any) -> dict[int, int]:
    """Output tensors of the layers with weights: of the float network -> of the integer one."""
    left, right = list(weighted(reference)), list(weighted(int8))
    names = [_described(reference, layer) for layer in left], [_described(int8, layer) for layer in right]
    if names[0] != names[1]:
        differ = next((i for i, (a, b) in enumerate(zip(*names, strict=False)) if a != b), min(len(left), len(right)))
        found = ["none" if differ >= len(layers) else layers[differ] for layers in names]
        raise ConversionError(
            f"the int8 network was not made from this float network: layer {differ + 1} with weights is {found[0]} in the "
            f"float one and {found[1]} in the other; give the graph that was quantised"
        )
    return {int(a.outputs[0]): int(b.outputs[0]) for a, b in zip(left, right, strict=True)}


def _described(model: Any, layer: Any) -> str:
    shape = "x".join(str(size) for size in model.subgraphs[0].tensors[layer.outputs[0]].shape)
    return f"{operator_name(model, layer)} {shape}"


def _sweep(model: Any, means: dict[int, NDArray[np.float64]], pictures: Pictures, threads: int) -> int:
    """Correct the biases of all layers, in place and in order; returns how many changed."""
    states: list[Tensors] = [{} for _ in pictures]
    graph, count = model.subgraphs[0], 0
    for stage in stages(model):
        found = {index: _Moments() for index in stage.layers}
        for tensors in stage.run(states, pictures, threads, stage.layers):
            for index, value in tensors.items():
                found[index].add(value)
        for index, operator in stage.layers.items():
            tensor = graph.tensors[index]
            count += _correct(model, operator, means[index] - found[index].mean(tensor), found[index].moving())
        _advance(stage, states, pictures, threads)
    return count


def _advance(stage: Stage, states: list[Tensors], pictures: Pictures, threads: int) -> None:
    """What later stages need of this one, as it is now; what only this one needed is dropped."""
    for state, tensors in zip(states, stage.run(states, pictures, threads, stage.passed), strict=True):
        state.update(tensors)
        for index in stage.last_used:
            state.pop(index, None)


class _Moments:
    """Sum of each channel's integers, and how many of them are not at an end of the range, where a bias does nothing."""

    def __init__(self) -> None:
        self._sum: Any = 0
        self._inside: Any = 0
        self._count = 0

    def add(self, value: NDArray[Any]) -> None:
        values, ends = _channels(value), np.iinfo(value.dtype)
        self._sum = self._sum + values.sum(axis=0, dtype=np.int64)
        self._inside = self._inside + ((values > ends.min) & (values < ends.max)).sum(axis=0)
        self._count += len(values)

    def mean(self, tensor: Any) -> NDArray[np.float64]:
        scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
        return np.asarray((self._sum / self._count - zero) * scale, np.float64)

    def moving(self) -> NDArray[np.float64]:
        return np.asarray(self._inside / self._count, np.float64)


def _channels(value: NDArray[Any]) -> NDArray[Any]:
    """(values, channels): TFLite has channels last."""
    return value.reshape(-1, value.shape[-1])


def _correct(model: Any, operator: Any, missing: NDArray[np.float64], moving: NDArray[np.float64]) -> bool:
    """In place; whether any integer changed."""
    found = bias_of(model, operator)
    if found is None:
        return False
    wanted = stepped(found.values, found.scale, missing, moving)
    if np.array_equal(wanted, found.values):
        return False
    found.replace(wanted)
    return True


def stepped(
    values: NDArray[np.int32], scale: NDArray[np.float64], missing: NDArray[np.float64], moving: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Biases that add what is missing of each channel's mean. values: (C,), one of them is worth scale, (C,) or (1,).

    missing: (C,), the mean in floats less the one in integers. moving: (C,), the share of values that a bias moves.
    """
    steps = np.rint(missing / np.maximum(moving, MIN_MOVING) / scale)
    return np.asarray(np.clip(values + steps, _INT32.min, _INT32.max), np.int64).astype(np.int32)
