"""What is shipped is in the wheel, and in the images what they run."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path

import pytest

from common.artifact import list_artifacts
from common.manifest import FolderSource
from models.convert.pipeline import KINDS
from models.ship.card import CARD
from models.ship.weights import FILE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]
SHIPPED = ("manifest.toml", "evaluation.json", CARD, FILE, *(kind.filename for kind in KINDS.values()))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_wheel_carries_every_file_of_an_artifact(name):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["models"]
    assert any(fnmatch.fnmatch(f"zoo/tinypose-s/{name}", pattern.replace("**/", "*/")) for pattern in patterns)


def test_images_get_networks_and_manifests_but_neither_cards_nor_training_weights():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    left_out = [line.removeprefix("models/zoo/**/") for line in lines if line.startswith("models/zoo/**/")]
    kept = [name for name in SHIPPED if not any(fnmatch.fnmatch(name, pattern) for pattern in left_out)]
    assert kept == ["manifest.toml", *(kind.filename for kind in KINDS.values())]


def test_files_of_our_own_artifacts_are_there_and_small():
    for artifact in list_artifacts():
        specs = [*artifact.manifest.file, *([artifact.manifest.training] if artifact.manifest.training else [])]
        for spec in specs:
            if any(isinstance(source, FolderSource) for source in spec.source):
                assert (artifact.folder / spec.path).stat().st_size == spec.size_bytes
                assert spec.size_bytes <= 4_000_000, f"{artifact.name}: {spec.path}"
