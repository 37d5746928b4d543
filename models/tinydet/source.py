"""A trained tinydet for models/convert: `posebus models convert average.pt --network tinydet`."""

from __future__ import annotations

from pathlib import Path

from models.convert.source import ConversionError, Source
from models.tinydet.config import RunConfig
from models.tinydet.measure import DECODER, NMS_IOU
from models.tinydet.network import OUTPUTS, TinyDet
from models.tinypose.batches import MEAN, STD
from models.tinypose.network import deploy
from models.training.checkpoints import load as load_checkpoint
from models.training.errors import TrainingError

TRAINING_DATA = (
    "1,183 scenes with people boxed by a vote of detectors and 4,859 crops of people (several public sources, some without a "
    "stated licence: see the model card), Leeds Sports Pose extended (research use), rendered people; trunk from ImageNet"
)


def reads(path: Path) -> bool:
    """Whether this is what models/tinydet/train.py saved as the average of a run."""
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
        raise ConversionError(f"{path} is no tinydet; give average.pt of a run of `python -m models.tinydet.train`")
    network = TinyDet(config.network)
    network.load_state_dict(load_checkpoint(path)["network"])
    return Source(
        name=variant or config.name, module=deploy(network), task="detect",
        width_px=config.network.width_px, height_px=config.network.height_px, colour="rgb", mean=MEAN, std=STD,
        decoder=DECODER, outputs=OUTPUTS, licence="Apache-2.0", training_data=TRAINING_DATA,
        provenance=f"python -m models.tinydet.train --config {config.name}", options=(("nms_iou", NMS_IOU),),
    )  # fmt: skip


def _config(path: Path) -> RunConfig | None:
    state = load_checkpoint(path)
    settings = state.get("config") if isinstance(state, dict) else None
    if not isinstance(settings, dict) or not {"variant", "frozen"} <= settings.keys():
        return None
    return RunConfig(**settings)
