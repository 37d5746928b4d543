"""Model artifacts: a folder with `manifest.toml`; found by name in the zoo, or by path; pulled, checked, and located."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import model_store
from common.manifest import FILENAME, ArtifactError, InputSpec, Manifest, ModelError, ModelFile, Task, read_manifest

__all__ = [
    "Artifact",
    "ArtifactError",
    "ModelError",
    "file_for",
    "find_artifact",
    "input_of",
    "is_here",
    "list_artifacts",
    "path_for",
    "pull",
    "read_artifact",
    "verify",
    "zoo_folder",
]


@dataclass(frozen=True)
class Artifact:
    """A manifest and the folder that it was read from."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.manifest.tasks

    @property
    def files(self) -> dict[str, ModelFile]:
        """Path in the manifest -> file."""
        return {file.path: file for file in self.manifest.file}

    @property
    def formats(self) -> tuple[str, ...]:
        """Formats that the network comes in, best first; `fake` where it has no file at all."""
        return tuple(dict.fromkeys(file.format for file in self.manifest.file)) or ("fake",)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def zoo_folder() -> Path:
    """Folder of the built-in artifacts. The package `models` is only located, never imported."""
    spec = importlib.util.find_spec("models")
    if spec is None or not spec.submodule_search_locations:
        raise ArtifactError("the package 'models' with the built-in artifacts is missing; install posebus again")
    return Path(next(iter(spec.submodule_search_locations))) / "zoo"


def list_artifacts() -> list[Artifact]:
    """All built-in artifacts, sorted by name."""
    return [read_artifact(path.parent) for path in sorted(zoo_folder().glob(f"*/{FILENAME}"))]


def find_artifact(name_or_path: str) -> Artifact:
    """The built-in artifact of that name, or the artifact in that folder.

    Raises ArtifactError naming what is wrong and what to do.
    """
    folder = zoo_folder() / name_or_path
    if "/" not in name_or_path and (folder / FILENAME).is_file():
        return read_artifact(folder)
    given = Path(name_or_path).expanduser()
    if (given / FILENAME).is_file():
        return read_artifact(given)
    if "/" in name_or_path or given.is_dir():
        raise ArtifactError(f"artifact {name_or_path!r}: no {FILENAME} in that folder; give a folder that has one")
    known = sorted(path.parent.name for path in zoo_folder().glob(f"*/{FILENAME}"))
    near = difflib.get_close_matches(name_or_path, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ArtifactError(f"artifact {name_or_path!r} is not known; {hint}built in are {', '.join(known)}")


def read_artifact(folder: Path) -> Artifact:
    """The artifact in that folder; raises ArtifactError with one line for each problem of its manifest."""
    return Artifact(folder.resolve(), read_manifest(folder / FILENAME))


def pull(artifact: Artifact, *, cache: Path | None = None, formats: Sequence[str] = ()) -> Path:
    """Get the artifact's files and check them; returns the path of the first (the folder where it has none).

    formats: get only files of these, as a runtime reads no others; empty, or none of them there: all files.
    Raises ArtifactError when a file cannot be had from any of its sources.
    """
    files = [file for file in artifact.manifest.file if file.format in formats] or artifact.manifest.file
    paths = [model_store.fetch(file, cache, owner=artifact.name, folder=artifact.folder) for file in files]
    return paths[0] if paths else artifact.folder


def file_for(artifact: Artifact, format: str, *, role: str = "model", precision: str = "auto") -> ModelFile:
    """The artifact's file of that format and precision; `auto`: the first of that format in the manifest.

    Raises ArtifactError naming what there is.
    """
    for file in artifact.manifest.file:
        if file.format == format and file.role == role and precision in ("auto", file.precision):
            return file
    has = ", ".join(f"{file.format} {file.precision}" for file in artifact.manifest.file if file.role == role) or "none"
    wanted = format if precision == "auto" else f"{format} {precision}"
    hint = "; the model's file and its weights must say the same precision" if role == "weights" else ""
    raise ArtifactError(f"artifact {artifact.name!r} has no {role} file {wanted}; it has {has}{hint}")


def input_of(artifact: Artifact, format: str, precision: str = "auto") -> InputSpec:
    """The manifest's input, with what the file of that format and precision says otherwise."""
    if format not in artifact.formats or not artifact.manifest.file:  # the fake runtime takes any artifact
        return artifact.manifest.input
    batch = file_for(artifact, format, precision=precision).batch
    return artifact.manifest.input if batch is None else artifact.manifest.input.model_copy(update={"batch": batch})


def path_for(
    artifact: Artifact, format: str, *, cache: Path | None = None, role: str = "model", precision: str = "auto"
) -> Path:
    """Path of the artifact's file in that format and precision, pulled if needed, its SHA-256 checked now."""
    file = file_for(artifact, format, role=role, precision=precision)
    return model_store.fetch(file, cache, owner=artifact.name, folder=artifact.folder)


def verify(artifact: Artifact, *, cache: Path | None = None, missing: bool = False) -> int:
    """Check the SHA-256 of every file that is here; returns how many are.

    Raises ArtifactError for one that is wrong, or missing, unless `missing` allows that.
    """
    checked = 0
    for file in artifact.manifest.file:
        place = model_store.here(file, cache, folder=artifact.folder)
        if place is None:
            if missing:
                continue
            raise ArtifactError(f"artifact {artifact.name!r}: {file.path} is not here; `posebus models pull` gets it")
        found = model_store.sha256_of(place)
        if found != file.sha256:
            raise ArtifactError(
                f"artifact {artifact.name!r}: {place} has the SHA-256 {found}, the manifest says {file.sha256}; "
                f"delete the file, then `posebus models pull {artifact.name}`"
            )
        checked += 1
    return checked


def is_here(artifact: Artifact, *, cache: Path | None = None, formats: Sequence[str] = ()) -> bool:
    """Whether every file, of these formats if given, is in the cache or the folder; their content is not looked at."""
    files = [file for file in artifact.manifest.file if not formats or file.format in formats]
    return all(model_store.here(file, cache, folder=artifact.folder) is not None for file in files)
