"""`posebus models seal FOLDER`: write size and SHA-256 of an own artifact's files into its manifest."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from common.artifact import read_artifact
from common.manifest import FILENAME, ArtifactError, read_manifest
from common.model_store import sha256_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_OWN = re.compile(r"^\s*(bytes|sha256)\s*=.*\n?", re.MULTILINE)
_FILE = re.compile(r"^\s*\[\[\s*file\s*\]\][^\n]*\n", re.MULTILINE)
_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


def seal(folder: Annotated[Path, typer.Argument(help="folder with a manifest.toml and the files that it names")]) -> None:
    """Fill `bytes` and `sha256` of every [[file]] in an own manifest, then check the whole of it.

    Nothing else in the manifest changes, and nothing at all where something is wrong.
    """
    count = seal_manifest(folder)
    typer.echo(f"{read_artifact(folder)}: {count} {'file' if count == 1 else 'files'} sealed in {folder / FILENAME}")


def seal_manifest(folder: Path) -> int:
    """The number of files sealed. Raises ArtifactError naming the manifest or file, and the fix."""
    path = folder / FILENAME
    try:
        text = path.read_bytes().decode("utf-8")  # line ends as they are
        data: dict[str, Any] = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ArtifactError(f"{path}: not valid TOML: {error}") from error
    headers, names = list(_FILE.finditer(text)), _names(path, data)
    if names and len(headers) != len(names):
        raise ArtifactError(f"{path}: a line of a text looks like the header [[file]]; indent or move it")
    if not names:
        raise ArtifactError(f"{path}: has no [[file]] table to seal; add one with format, path and a source of the kind 'file'")
    for header, name in reversed(list(zip(headers, names, strict=True))):
        text = _sealed(text, header.end(), folder / name)
    part = path.with_name(f".{FILENAME}.part")
    try:
        part.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, part)
        os.replace(_checked(part, path), path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return len(names)


def _names(path: Path, data: dict[str, Any]) -> list[str]:
    files = data.get("file", [])
    if not isinstance(files, list) or not all(isinstance(file, dict) and isinstance(file.get("path"), str) for file in files):
        raise ArtifactError(f"{path}: every [[file]] needs the key 'path'")
    return [file["path"] for file in files]


def _sealed(text: str, start: int, file: Path) -> str:
    """The text with size and hash of the file at the head of the table whose content begins at `start`."""
    if not file.is_file():
        raise ArtifactError(f"{file} does not exist; put it beside {FILENAME}, or name the right one in [[file]] path")
    end = found.start() if (found := _TABLE.search(text, start)) else len(text)
    sealed = f'bytes = {file.stat().st_size}\nsha256 = "{sha256_of(file)}"\n'
    return text[:start] + sealed + _OWN.sub("", text[start:end]) + text[end:]


def _checked(part: Path, path: Path) -> Path:
    try:
        read_manifest(part)
    except ArtifactError as error:
        raise ArtifactError(str(error).replace(str(part), str(path))) from error
    return part
