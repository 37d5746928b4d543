"""FastPose checkpoints as sources of a conversion, with the pixels and the geometry that AlphaPose trains with."""

from __future__ import annotations

from pathlib import Path

from common.model_store import sha256_of
from models.convert.source import ConversionError, Source
from models.fastpose.checkpoint import SUFFIXES, is_fastpose, load_fastpose, load_state
from models.fastpose.network import HEIGHT_PX, WIDTH_PX

KEYPOINTS = 17  # COCO's, the only skeleton of posebus
# AlphaPose scales pixels to 0..1 and subtracts these from red, green and blue; it does not divide by a deviation. They are
# ImageNet's means for blue, green, red, but "just align with our training process" (AlphaPose, issue 472).
MEAN = (0.406 * 255, 0.457 * 255, 0.480 * 255)
STD = (255.0, 255.0, 255.0)
PADDING = 1.25  # crop side / box side, before the aspect is fitted (`scale_mult` in AlphaPose)


def reads(path: Path) -> bool:
    """Whether the file is a FastPose checkpoint. Raises ConversionError for a checkpoint that cannot be read at all."""
    return path.suffix.lower() in SUFFIXES and is_fastpose(load_state(path))


def load(path: Path, variant: str | None) -> Source:
    """The checkpoint's network; its heat maps are read with AlphaPose's offset of a quarter of a cell.

    variant: a key of models.fastpose.network.VARIANTS. Raises ConversionError for a checkpoint that does not fit, and for
    other keypoints than COCO's 17.
    """
    network, config = load_fastpose(path, variant)
    check_keypoints(path, config.keypoints)
    return Source(
        name=config.name.replace("_", "-"),
        module=network,
        task="pose",
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        colour="rgb",
        mean=MEAN,
        std=STD,
        decoder="heatmaps_quarter",
        outputs=("heatmaps",),
        licence="that of the checkpoint; AlphaPose's own are for non-commercial research only",
        training_data="that of the checkpoint; AlphaPose's own: COCO 2017 keypoints",
        provenance=f"{path.name}, sha256 {sha256_of(path)}, FastPose {config.name}",
        padding=PADDING,
    )


def check_keypoints(path: Path, keypoints: int) -> None:
    """Raise ConversionError unless they are COCO's 17 in number."""
    if keypoints != KEYPOINTS:
        raise ConversionError(
            f"{path}: finds {keypoints} keypoints; posebus' skeletons are COCO's {KEYPOINTS} (Halpe's 26 and 136 are not)"
        )
