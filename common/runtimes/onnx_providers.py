"""The execution providers of ONNX Runtime: what a device name asks for, what is here, and whether it was really given."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from common.manifest import InputSpec
from common.runtimes.base import RuntimeUnavailable
from common.runtimes.contract import NetworkInput
from common.runtimes.tensorrt_build import profile_shapes

CPU, CUDA, TENSORRT, OPENVINO = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt", "OpenVINO"))
_PACKAGE = {CUDA: "onnxruntime-gpu", TENSORRT: "onnxruntime-gpu and tensorrt", OPENVINO: "onnxruntime-openvino"}
_CHOICES = "choose auto, cpu, gpu:0 (CUDA), tensorrt:0 or openvino:CPU"


@dataclass(frozen=True)
class Provider:
    """An execution provider, the name of its device as the status shows it, and the options that choose that device."""

    name: str
    device: str
    options: dict[str, str] = field(default_factory=dict)


def device_names(available: list[str]) -> list[str]:
    """What `device` may say for these providers."""
    names = {CUDA: "gpu", TENSORRT: "tensorrt", OPENVINO: "openvino", CPU: "cpu"}
    return [names[provider] for provider in available if provider in names]


def choose(device: str, available: list[str]) -> Provider:
    """The provider for a device name.

    `auto` is CUDA where this build of ONNX Runtime has it, else the CPU. It is never TensorRT, although that is faster: its
    engines take minutes to build, in which the service would not be ready. Ask for `tensorrt:0` to wait for them once.
    Raises RuntimeUnavailable when the name is unknown or this build lacks the provider.
    """
    if device == "auto":
        return _named("gpu:0") if CUDA in available else Provider(CPU, "cpu")
    provider = _named(device)
    if provider.name not in available:
        raise RuntimeUnavailable(
            f"runtime 'onnx' has no {provider.name} for device {device!r} in this build; it has {', '.join(available)}; "
            f"install {_PACKAGE[provider.name]} in place of onnxruntime, or choose device: cpu"
        )
    return provider


def _named(device: str) -> Provider:
    if device == "cpu":
        return Provider(CPU, "cpu")
    numbered = re.fullmatch(r"(gpu|cuda|tensorrt)(?::(\d+))?", device)
    if numbered is not None:
        index = numbered[2] or "0"
        if numbered[1] == "tensorrt":
            return Provider(TENSORRT, f"tensorrt:{index}", {"device_id": index})
        return Provider(CUDA, f"gpu:{index}", {"device_id": index})
    openvino = re.fullmatch(r"openvino(?::([A-Za-z]+(?:\.\d+)?))?", device)
    if openvino is not None:
        kind = (openvino[1] or "CPU").upper()
        return Provider(OPENVINO, f"openvino:{kind}", {"device_type": kind})
    raise RuntimeUnavailable(f"runtime 'onnx' has no device {device!r}; {_CHOICES}")


def open_session(ort: Any, model: bytes, options: Any, provider: Provider) -> Any:
    """A session that runs on that provider; operators that it lacks run on the CPU.

    ort: the module onnxruntime. Where a provider cannot start (driver, libraries), ONNX Runtime only warns and goes on with
    the next one, ten times slower; that is refused here. Raises RuntimeUnavailable.
    """
    wanted: list[Any] = [(provider.name, provider.options)] if provider.options else [provider.name]
    if provider.name == TENSORRT:
        wanted.append((CUDA, {"device_id": provider.options["device_id"]}))
    if provider.name != CPU:
        wanted.append(CPU)
    session = ort.InferenceSession(model, options, providers=wanted)
    given = session.get_providers()
    if provider.name not in given:
        raise RuntimeUnavailable(
            f"runtime 'onnx' could not start {provider.name} on device {provider.device!r} and would run on "
            f"{', '.join(given)}; check the driver and the CUDA, cuDNN or TensorRT libraries that this build of onnxruntime "
            "needs, or choose device: cpu"
        )
    session.disable_fallback()  # else a failing frame rebuilds the session on the CPU without a word
    return session


def tensorrt_options(
    found: NetworkInput, spec: InputSpec, size_px: tuple[int, int], folder: str, *, half: bool = True
) -> dict[str, str]:
    """Options of the TensorRT provider: precision, engines kept in `folder`, one profile.

    The profile has batches of 1 to 8 and all sizes that the manifest promises, as engines of our own TensorRT runtime have:
    what lies outside, ONNX Runtime builds another engine for, for minutes in the middle of a run. size_px: (width, height) of
    the largest pictures to come.
    """
    options = {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": folder,
        "trt_fp16_enable": str(half),
    }
    if None in found.shape:
        for key, shape in zip(("min", "opt", "max"), profile_shapes(found, spec, size_px), strict=True):
            options[f"trt_profile_{key}_shapes"] = f"{found.name}:" + "x".join(map(str, shape))
    return options
