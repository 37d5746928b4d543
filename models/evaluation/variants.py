"""Each file of an artifact that can run here, and the name of its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.artifact import Artifact, find_artifact, zoo_folder
from common.manifest import FILENAME, ModelError, Task
from common.runtimes import AUTO, candidates, load, probe
from common.runtimes.base import Engine


@dataclass(frozen=True)
class Variant:
    """One file of an artifact on the first runtime that reads it here. artifact: with no other file, so none runs instead."""

    key: str  # of its row
    artifact: Artifact
    format: str
    precision: str
    runtime: str

    def load(self, task: Task, threads: int) -> Engine:
        """Its engine, warmed up; raises ModelError."""
        return load(self.artifact, task=task, runtime=self.runtime, threads=threads, precision=self.precision)


def variants(artifact: Artifact, *, key: str = "", precision: str | None = None) -> tuple[list[Variant], list[str]]:
    """All files that run here, the default first, and a line for each that does not.

    The default is the file that `auto` would take; its row has the plain name (`key`, else the artifact's). Further precisions
    are `name:int8`, a second format of the same precision `name:float32:tflite`. precision: only files of that one.
    """
    name = key or artifact.name
    kinds = [(file.format, file.precision) for file in artifact.manifest.file if file.role == "model"] or [("fake", "float32")]
    runtimes = {format: _runtime(format) for format, _ in kinds}
    order = list(dict.fromkeys(format for runtime, format in candidates(artifact) if probe(runtime) is None))
    runs = sorted((kind for kind in kinds if runtimes[kind[0]][0]), key=lambda kind: order.index(kind[0]))
    left_out = [f"{name}: {format} {each} left out: {runtimes[format][1]}" for format, each in kinds if not runtimes[format][0]]
    found: list[Variant] = []
    used: dict[str, str] = {}  # key -> precision
    for format, each in runs:
        row = name if not found else f"{name}:{each}"
        if found and (row in used or each == found[0].precision):
            row = f"{name}:{each}:{format}"
        used[row] = each
        found.append(Variant(row, _only(artifact, format, each), format, each, runtimes[format][0]))
    if precision is not None:
        has = ", ".join(dict.fromkeys(each for _, each in kinds))
        found = [variant for variant in found if variant.precision == precision]
        left_out += [] if found else [f"{name}: has no file of the precision {precision} that runs here, only {has}"]
    return found, left_out


def _only(artifact: Artifact, format: str, precision: str) -> Artifact:
    files = tuple(file for file in artifact.manifest.file if (file.format, file.precision) == (format, precision))
    return replace(artifact, manifest=artifact.manifest.model_copy(update={"file": files}))


def _runtime(format: str) -> tuple[str, str]:
    """The first runtime for that format that can be used here; where none can, nothing and why."""
    reasons = []
    for runtime, reads in AUTO:
        if reads == format:
            reason = probe(runtime)
            if reason is None:
                return runtime, ""
            reasons.append(f"{runtime}: {reason}")
    return "", "; ".join(reasons)


def chosen(
    names: Sequence[str] | None, defaults: Sequence[str], task: Task, precision: str | None = None
) -> tuple[list[Variant], list[str]]:
    """The variants of the named artifacts (names or folders), and a line for everything that is left out.

    names: None for the defaults, of which those that do not exist are left out. Raises ModelError for a name that is given and
    cannot be used, or where nothing is left.
    """
    found: list[Variant] = []
    left_out: list[str] = []
    for name in defaults if names is None else names:
        if names is None and not (zoo_folder() / name / FILENAME).is_file():
            left_out.append(f"{name}: left out: not in the zoo")
            continue
        artifact = find_artifact(name)
        if task not in artifact.tasks:
            raise ModelError(f"artifact {artifact.name!r} does not {task}; it is for: {', '.join(artifact.tasks)}")
        taken = any(variant.artifact.name == artifact.name for variant in found)
        own, lines = variants(artifact, key=f"{artifact.name}@{Path(name).as_posix()}" if taken else "", precision=precision)
        found += own
        left_out += lines
    if not found:
        raise ModelError("nothing to evaluate:\n" + "\n".join(left_out))
    return found, left_out
