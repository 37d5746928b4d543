"""Reading PyTorch checkpoints, and FastPose's in particular: safely, and with every difference named."""

from __future__ import annotations

import pickle
import re
import textwrap
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.convert.source import ConversionError
from models.fastpose.network import VARIANTS, FastPose, FastPoseConfig
from models.fastpose.resnet import BLOCKS, blocks_in

State = dict[str, torch.Tensor]
SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin")
_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights, beside the optimiser's
_COUNTER = "num_batches_tracked"  # of batch norms; no inference needs it, and files of before PyTorch 0.4.1 lack it
# Wide enough to be weights by themselves; narrower ones come with scales.
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_SHOWN = 6  # differences named of each kind; the rest are counted


def load_state(path: Path) -> State:
    """The tensors of a checkpoint by name, on the CPU; `module.` of DataParallel taken off.

    The file may hold them bare, or under one of `state_dict`, `model_state_dict`, `model`. Only tensors and plain containers
    are read, no code is run. Raises ConversionError for any other file, with the reason and what to do.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's protocol; what it cannot read raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL (\S+)", str(error))
        if culprit is None:
            raise ConversionError(f"{path}: is no PyTorch checkpoint, or a damaged one: {_beginning(path)}") from error
        raise ConversionError(
            f"{path}: holds {culprit[1]} and not just tensors, so to load it could run any code; where you trust it, save the "
            "weights alone with torch.save(network.state_dict(), ...)"
        ) from error
    except Exception as error:  # damaged bytes raise whatever they lead to, of torch, pickle, zipfile and struct
        # Of the others the text says nothing: `101` is a KeyError of the unpickler.
        telling = isinstance(error, RuntimeError | zipfile.BadZipFile) or (isinstance(error, OSError) and error.filename)
        reason = _first_sentence(error) if telling else _beginning(path)
        raise ConversionError(f"{path}: is no PyTorch checkpoint, or a damaged one: {reason}") from error
    return _tensors(path, content)


def _tensors(path: Path, content: Any) -> State:
    for key in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise ConversionError(f"{path}: holds a {type(content).__name__} and no weights by name")
    strange = [str(key) for key, value in content.items() if not isinstance(key, str) or not isinstance(value, torch.Tensor)]
    if strange:
        raise ConversionError(
            f"{path}: no tensors: {_listed(strange)}; expected the weights by name, bare or under one of {', '.join(_NESTED)}"
        )
    for key, value in content.items():
        _check_kind(path, key, value)
    wrapped = all(key.startswith("module.") for key in content)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in content.items()}


def _check_kind(path: Path, key: str, value: torch.Tensor) -> None:
    """Raise unless the tensor is dense and of floats, so that its numbers are the weights; counters may be whole numbers."""
    kind = str(value.dtype).removeprefix("torch.")
    if value.device.type != "cpu":
        problem = f"lies on the device {value.device.type!r}, so the file has no values of it"
    elif value.layout != torch.strided or value.is_nested:
        problem = "is nested" if value.is_nested else f"is sparse ({str(value.layout).removeprefix('torch.')})"
    elif key.endswith(_COUNTER) and not value.is_complex() and not value.is_quantized:
        return
    elif value.dtype not in _FLOATS:
        problem = f"holds {kind}, which is no weight without its scale" if not value.is_complex() else f"holds {kind}"
    else:
        return
    raise ConversionError(
        f"{path}: {key} {problem}; weights must be dense floats: save the float32 weights, from before any quantisation or "
        "pruning, with torch.save(network.state_dict(), ...)"
    )


def is_fastpose(state: State) -> bool:
    """Whether the names are FastPose's, or nearly: those of its backbone and of its upsampling."""
    names = ("preact.conv1.", "duc1.", "duc2.", "conv_out.")
    return all(any(key.startswith(name) for key in state) for name in names)


def load_fastpose(path: Path, variant: str | None = None) -> tuple[FastPose, FastPoseConfig]:
    """The network with the checkpoint's weights, in eval mode, and its configuration.

    variant: a key of VARIANTS that the file must fit, in any number of keypoints; by default what names and shapes tell.
    Raises ConversionError with what is missing, unexpected, or of another shape.
    """
    if variant is not None and variant not in VARIANTS:
        raise ConversionError(f"FastPose has no variant {variant!r}; choose one of {', '.join(VARIANTS)}")
    state = load_state(path)
    if any("conv2_offset" in key for key in state):
        raise ConversionError(
            f"{path}: is a FastPose with deformable convolutions (-dcn), which neither PyTorch itself nor the edge runtimes "
            f"have; take a checkpoint without them: {', '.join(VARIANTS)}"
        )
    config = _detected(state) if variant is None else VARIANTS[variant]
    if (outputs := state.get("conv_out.weight")) is not None and outputs.ndim == 4:
        config = replace(config, keypoints=outputs.shape[0])
    with torch.device("meta"):
        network = FastPose(config)
    fill(network, state, f"{path}: does not fit {config.name}")
    return network, config


def fill(network: nn.Module, state: State, complaint: str) -> None:
    """Give the network, made on the device meta, the state's tensors as float32, and put it into eval mode.

    Raises ConversionError, `complaint` and then the differences, unless names and shapes are the same.
    """
    expected = network.state_dict()
    counters = {key: torch.zeros((), dtype=torch.long) for key in expected if key.endswith(_COUNTER)}
    given = {key: value if key.endswith(_COUNTER) else value.float() for key, value in state.items()}
    given = {**counters, **given}
    problems = differences(expected, given)
    if problems:
        raise ConversionError(f"{complaint}: {'; '.join(problems)}")
    damaged = [key for key, value in given.items() if not bool(torch.isfinite(value).all())]
    if damaged:
        raise ConversionError(f"{complaint}: {_listed(damaged)} hold values that are not finite")
    network.load_state_dict(given, strict=True, assign=True)
    network.eval().requires_grad_(False)


def differences(expected: State, given: State) -> list[str]:
    """What keeps `given` from being `expected`, one line a kind; empty where nothing does. Only names and shapes count."""
    shapes = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in given and given[key].shape != value.shape
    ]
    kinds = {
        "missing": [key for key in expected if key not in given],
        "unexpected": [key for key in given if key not in expected],
        "of another shape": shapes,
    }
    return [f"{len(found)} {kind}: {_listed(found)}" for kind, found in kinds.items() if found]


def _detected(state: State) -> FastPoseConfig:
    """The configuration that a checkpoint's names and shapes tell; where they tell none, the one it is compared with."""
    blocks = blocks_in(state, "preact.")
    bottleneck = "preact.layer1.0.conv3.weight" in state
    depths = [layers for layers, counts in BLOCKS.items() if counts == blocks and (layers >= 50) == bottleneck]
    layers = depths[0] if depths else 50
    plain = not any(".se.fc." in key for key in state)
    backbone: Any = "shuffle" if "preact.layer2.0.conv2.1.weight" in state else "resnet" if plain else "se-resnet"
    outputs = state.get("conv_out.weight")
    dim = outputs.shape[1] if outputs is not None and outputs.ndim == 4 else 128
    if "duc1.1.weight" in state:
        convolutions = tuple(_convolutions(state, f"duc{stage}.") for stage in (1, 2, 3))
        found = FastPoseConfig("", layers, backbone, "duc", dim, convolutions)
    else:
        found = FastPoseConfig("", layers, "se-resnet", dim=dim)  # AlphaPose has this head with this backbone only
    for known in VARIANTS.values():
        if replace(known, name="") == found:
            return known
    return replace(found, name=f"fast_res{layers}_256x192") if depths else VARIANTS["fast_res50_256x192"]


def _convolutions(state: State, prefix: str) -> int:
    return sum(key.startswith(prefix) and key.endswith(".weight") and value.ndim == 4 for key, value in state.items())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _beginning(path: Path) -> str:
    """What a file that cannot be read seems to be."""
    with path.open("rb") as file:
        head = file.read(24)
    if not head:
        return "it is empty"
    return "it is cut short" if head.startswith(b"PK\x03\x04") else f"it begins with {head!r}"


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return textwrap.shorten(re.split(r"(?<=[.!?])\s", lines[0])[0].rstrip("."), 200, placeholder=" ...")
