"""Latencies in a manifest, and the machine and commit that they are of."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from common.manifest import ArtifactError, Latency, read_manifest
from common.service import own_version

_HEADER = "[[latency]]"
Key = tuple[str, str, str, str, int, int]


def write_latencies(path: Path, latencies: Sequence[Latency]) -> None:
    """Put [[latency]] tables at the end of a manifest, in place of older ones of the same case; the rest stays as it is.

    The new text is checked before it takes the old one's place, in one rename. Raises ArtifactError.
    """
    manifest = read_manifest(path)
    text = path.read_bytes().decode("utf-8")  # line ends as they are
    if len(re.findall(rf"^\s*{re.escape(_HEADER)}", text, re.MULTILINE)) != len(manifest.latency):
        raise ArtifactError(f"{path}: a line of a text looks like the header {_HEADER}; indent or move it")
    replaced = {_key(latency) for latency in latencies}
    blocks = iter(manifest.latency)
    kept: list[str] = []
    for block in _blocks(text):
        above, own = _split_comments(block)
        replace = own.lstrip().startswith(_HEADER) and _key(next(blocks)) in replaced
        kept.append(above if replace else block)
    text = "".join(kept).rstrip("\n") + "\n" + "".join("\n" + _toml(latency) for latency in latencies)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, part)
        read_manifest(part)
        os.replace(part, path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def device_name(engine_device: str = "cpu") -> str:
    """The processor and how many cores we may use; for an accelerator its name too."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = f"{model}, {cores} cores"
    return name if engine_device in ("cpu", "auto") else f"{engine_device} of {name}"


def revision() -> str:
    """The commit that is checked out, with `+` when files differ from it; the version outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return own_version()


def _blocks(text: str) -> list[str]:
    """The text, cut before each line that begins a table; comments right above a table belong to it."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if re.match(r"\s*\[", line) and not _inside_array(blocks[-1]):
            above: list[str] = []
            while blocks[-1] and blocks[-1][-1].lstrip().startswith("#"):
                above.insert(0, blocks[-1].pop())
            blocks.append([*above, line])
        else:
            blocks[-1].append(line)
    return ["".join(block) for block in blocks]


def _split_comments(block: str) -> tuple[str, str]:
    """The comment lines that a block begins with, and the rest."""
    lines = block.splitlines(keepends=True)
    count = next((i for i, line in enumerate(lines) if not line.lstrip().startswith("#")), len(lines))
    return "".join(lines[:count]), "".join(lines[count:])


def _inside_array(lines: list[str]) -> bool:
    """Whether the last key's value is a list that goes on: its lines may begin with a bracket as well."""
    text = re.sub(r"#.*|\"[^\"]*\"", "", "".join(lines[1:] if lines and lines[0].lstrip().startswith("[") else lines))
    return text.count("[") > text.count("]")


def _key(latency: Latency) -> Key:
    return latency.task, latency.runtime, latency.precision, latency.device, latency.threads, latency.batch


def _toml(latency: Latency) -> str:
    values = latency.model_dump(exclude_none=True)
    lines = [f"{key} = {_literal(value)}" for key, value in values.items() if value != ""]
    return "\n".join([_HEADER, *lines]) + "\n"


def _literal(value: str | int | float) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
