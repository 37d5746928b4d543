"""A trained TinyPose for models/convert: `posebus models convert average.pt --network tinypose`."""

from __future__ import annotations

from pathlib import Path

import torch

from models.convert.source import ConversionError, Source
from models.tinypose.batches import MEAN, STD
from models.tinypose.config import RunConfig
from models.tinypose.network import OffsetsHead, TinyPose, deploy
from models.training.checkpoints import load as load_checkpoint
from models.training.errors import TrainingError

TRAINING_DATA = (
    "5,116 crops and 4,220 people of scenes with a teacher's keypoints (PP-TinyPose 256x192; several public sources, some "
    "without a stated licence: see the model card), Leeds Sports Pose extended (research use), rendered people; trunk from "
    "ImageNet"
)


def reads(path: Path) -> bool:
    """Whether this is what models/tinypose/train.py saved as the average of a run."""
    try:
        return _config(path) is not None
    except TrainingError:
        return False


def load(path: Path, variant: str | None = None) -> Source:
    """The network of a run, with plain layers; variant: its name, by default the run's. Raises ConversionError."""
    try:
        config = _config(path)
    except TrainingError as error:
        raise ConversionError(str(error)) from error
    if config is None:
        raise ConversionError(f"{path} is no TinyPose; give average.pt of a run of `python -m models.tinypose.train`")
    network = TinyPose(config.network)
    network.load_state_dict(load_checkpoint(path)["network"])
    if isinstance(network.head, OffsetsHead):  # learned in strides, decoded in pixels
        with torch.no_grad():
            network.head.vector.scale *= network.head.stride
            network.head.vector.bias *= network.head.stride
    return Source(
        name=variant or config.name, module=deploy(network), task="pose", width_px=config.width_px, height_px=config.height_px,
        colour="rgb", mean=MEAN, std=STD, decoder=network.head.decoder, outputs=network.head.outputs, licence="Apache-2.0",
        training_data=TRAINING_DATA, provenance=f"python -m models.tinypose.train --config {config.name}",
    )  # fmt: skip


def _config(path: Path) -> RunConfig | None:
    state = load_checkpoint(path)
    settings = state.get("config") if isinstance(state, dict) else None
    if not isinstance(settings, dict) or not {"head", "neck"} <= settings.keys():
        return None
    return RunConfig(**settings)
