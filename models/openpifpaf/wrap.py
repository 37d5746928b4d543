"""Makes an artifact of an OpenPifPaf network that you exported to ONNX, for the pose service's bottom-up approach.

In an environment of its own, as OpenPifPaf needs an older PyTorch (sides are multiples of 16, plus 1, in your cameras' aspect):

    pip install openpifpaf onnx
    python -m openpifpaf.export_onnx --checkpoint shufflenetv2k16 --input-width 641 --input-height 369 --outfile pifpaf.onnx

and then here:

    python -m models.openpifpaf.wrap pifpaf.onnx --out artifacts/pifpaf

The network must be one for the 17 keypoints of COCO (`cocokp`), exported by OpenPifPaf 0.11 to 0.13. What it normalises outside
of the graph is folded in, the result is run and compared with the export, and the folder appears whole or not at all.
OpenPifPaf and its checkpoints come under their own licences (the code: AGPL-3.0); say yours with --licence.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.artifact import Artifact, read_artifact
from common.manifest import FILENAME, ModelError
from common.model_store import sha256_of
from common.runtimes import load
from models.convert.publish import Written, manifest_text, new_folder
from models.convert.source import ConversionError, Source
from models.openpifpaf.exported import Exported, read_export, run_export, with_pixels
from services.pose.bottom_up import BottomUpEstimator

# OpenPifPaf's preprocessing, that of ImageNet, in pixel units; RGB.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
MODEL = "model.onnx"
# Largest difference of an output to the export's, as a share of that output's largest value: float32 keeps 7 digits, of which a
# network of a hundred layers loses three.
TOLERANCE = 1e-3
LICENCE = "that of the checkpoint; OpenPifPaf itself is AGPL-3.0"


def wrap(exported: Path, out: Path, *, name: str | None = None, licence: str = LICENCE) -> Artifact:
    """Write the artifact folder `out` from an exported .onnx; returns the artifact.

    name: of the artifact, default from the file's. Raises ConversionError naming the file and every difference to what is
    needed, ModelError where no runtime can run it.
    """
    export = read_export(exported)
    source = _describe(export, name or _name_of(exported), licence)
    import onnx

    with new_folder(out) as folder:
        onnx.save(with_pixels(export, MEAN, STD), folder / MODEL)
        text = manifest_text(source, [Written("onnx", "float32", folder / MODEL, batch=False)], (), decoder="cifcaf")
        (folder / FILENAME).write_text(text, encoding="utf-8")
        _verify(export, folder)
    return read_artifact(out.expanduser())


def _describe(export: Exported, name: str, licence: str) -> Source:
    return Source(
        name=name,
        module=None,
        task="bottom_up",
        width_px=export.width_px,
        height_px=export.height_px,
        colour="rgb",
        mean=MEAN,
        std=STD,
        decoder="cifcaf",
        outputs=("cif", "caf"),
        licence=licence,
        training_data="COCO 2017 keypoints (OpenPifPaf's cocokp), as the numbers of fields say",
        provenance=f"OpenPifPaf, exported to ONNX as {export.path.name}, SHA-256 {sha256_of(export.path)}",
        options=(("long_side_px", max(export.width_px, export.height_px)),),
    )


def _name_of(path: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._") or "openpifpaf"


def _verify(export: Exported, folder: Path) -> None:
    """Run the artifact as the service will, and hold its outputs against the export's; raises ModelError."""
    artifact = read_artifact(folder)
    engine = load(artifact, task="bottom_up", runtime="onnx")
    estimator = BottomUpEstimator(engine, artifact)
    try:
        estimator.self_check()
        picture = np.random.default_rng(0).integers(0, 256, (1, export.height_px, export.width_px, 3), np.uint8)
        ours, theirs = engine.run(picture), _run_export(export, picture)
    finally:
        estimator.close()
    for name, wanted in theirs.items():
        error = float(np.abs(ours[name] - wanted).max() / max(float(np.abs(wanted).max()), 1e-6))
        if not error <= TOLERANCE:
            raise ConversionError(f"{export.path}: output {name!r} differs by {error:.2g} after folding; please report this")


def _run_export(export: Exported, picture: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    values = (picture.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return run_export(export.path, export.source, np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exported", type=Path, metavar="EXPORTED.onnx")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new artifact")
    parser.add_argument("--name", help="of the artifact; default: the file's")
    parser.add_argument("--licence", default=LICENCE, help="of your checkpoint")
    args = parser.parse_args()
    missing = [package for package in ("onnx", "onnxruntime") if importlib.util.find_spec(package) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} not installed; run `pip install onnx onnxruntime`")
    try:
        artifact = wrap(args.exported, args.out, name=args.name, licence=args.licence)
    except ModelError as error:
        raise SystemExit(str(error)) from error
    spec = artifact.manifest.input
    print(f"{artifact}: {artifact.folder}, input {spec.width_px}x{spec.height_px}, run and equal to the export")
    print(f"posebus.yaml:  pose: {{approach: bottom_up, model: {artifact.folder}}}")


if __name__ == "__main__":
    main()
