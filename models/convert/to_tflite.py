"""PyTorch -> TFLite: float32, int8 weights (dynamic range), and int8 throughout, for one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.convert.bias import correct_biases
from models.convert.quiet import quiet
from models.convert.source import ConversionError, Source
from models.convert.tflite_io import Integers, set_io

INPUT = "image"
CHANNELS_LAST = ("heatmap", "rtmdet")  # decoders, by the start of their names, that read maps in either layout
EQUALISED_ON = 32  # pictures: largest magnitudes of channels are robust to which


def float_graph(
    source: Source, target: Literal["tflite", "edgetpu"] = "tflite", pictures: Sequence[NDArray[np.uint8]] = ()
) -> tuple[bytes, tuple[str, ...]]:
    """The network as TFLite, float32 pixels (1, H, W, 3) in, all else float32: what the three files below are made of.

    Rewritten exactly for the target first; returns also what was rewritten, a line each. With pictures, (H, W, 3) uint8 as the
    network sees them, its channels are equalised on them, which changes nothing but what quantisation will cost. Maps
    come channels last where their decoder reads both: the converter works so throughout, and no transposes remain.
    """
    with quiet(f"{source.name}: export to TFLite"):
        import litert_torch

        from models.convert.fold import fold_input
        from models.convert.graph import Pixels, example, one_thread
        from models.convert.rewrite import rewrite

        pixels = example(source, 1, dtype="float32")
        with one_thread():
            module, changes = rewrite(source.module, target, pixels.permute(0, 3, 1, 2))
            lines = [str(change) for change in changes]
            count = _equalise(source, module, pictures[:: max(1, len(pictures) // EQUALISED_ON)])
            lines += [f"{count} channels equalised on the calibration pictures"] if count else []
            module = fold_input(module, source.mean, source.std)
            channels_last = source.decoder.startswith(CHANNELS_LAST)
            network = Pixels(source, module, normalise=False, channels_last=channels_last).eval()
            content = bytes(litert_torch.convert(network, (pixels,)).model_content())
    return content, tuple(lines)


def _equalise(source: Source, module: Any, pictures: Sequence[NDArray[np.uint8]]) -> int:
    """In place; the number of channels. Networks that cannot be traced stay as they are."""
    import torch

    from models.convert.equalise import equalise

    if not isinstance(module, torch.fx.GraphModule):
        return 0
    mean, std = np.array(source.mean, np.float32), np.array(source.std, np.float32)
    batches = (torch.from_numpy((picture - mean) / std).permute(2, 0, 1)[None] for picture in pictures)
    return equalise(module, batches) if pictures else 0


def to_float(source: Source, graph: bytes) -> bytes:
    """Float32; takes uint8 pixels (1, H, W, 3)."""
    return set_io(graph, [INPUT], source.outputs)


def to_dynamic(source: Source, graph: bytes) -> bytes:
    """int8 weights, one scale a channel; activations are float32, quantised where it pays, as they come. uint8 pixels in."""
    with quiet(f"{source.name}: quantising weights"):
        from ai_edge_quantizer import quantizer, recipe

        done = quantizer.Quantizer(graph, recipe.dynamic_wi8_afp32())
        content = bytes(done.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)
    return set_io(content, [INPUT], source.outputs)


def to_int8(
    source: Source, graph: bytes, pictures: Sequence[NDArray[np.uint8]], *, integers: Integers = "int8", threads: int = 2
) -> tuple[bytes, str]:
    """int8 weights and activations, int8 or uint8 in and out; also how ranges and biases were chosen.

    pictures: (H, W, 3) uint8 each, as the network is fed at run time: they decide which range each activation gets, see
    `ranges`, and what is added to the biases, see `bias`. Raises ConversionError without pictures, and for a network that
    cannot be all integers.
    """
    if not pictures:
        raise ConversionError(f"{source.name}: int8 needs pictures to calibrate with; give --calibration")
    with quiet(f"{source.name}: quantising to int8"):
        from models.convert.ranges import quantise

        done = quantise(graph, pictures, threads)
    _expect_integers(source, done.content)
    with quiet(f"{source.name}: correcting biases"):
        corrected = correct_biases(done.content, graph, pictures, threads=threads)
    return set_io(corrected.content, [INPUT], source.outputs, integers=integers), f"{done}; {corrected}"


def _expect_integers(source: Source, content: bytes) -> None:
    """No step in floats may be left: it would run on the CPU of an Edge TPU's host, silently."""
    from models.convert.tflite_io import operations

    left = sorted({name for name in operations(content) if name in ("DEQUANTIZE", "CAST")})
    if left:
        raise ConversionError(
            f"{source.name}: the int8 network still has {', '.join(left)}: an operation in it cannot be quantised; "
            "`posebus models check` names it; rewrite it, or leave tflite-int8 out of --formats"
        )
