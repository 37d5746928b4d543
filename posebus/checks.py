"""What `posebus doctor` looks at. Each check returns findings; none raises for what it finds."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import redis

from common.artifact import find_artifact, is_here, list_artifacts
from common.bus import BusError
from common.clock import StoreClock
from common.config import ConfigError, DetectorSettings, PoseSettings, StageSettings, load
from common.frames import StoreError, connect_store, shown, store_errors
from common.manifest import ModelError
from common.model_store import default_cache
from common.runtimes import RUNTIMES, candidates, devices, formats, probe
from common.runtimes import load as load_engine
from common.runtimes.edgetpu_devices import list_edge_tpus
from posebus.connection import make_bus
from posebus.errors import SetupError
from posebus.quiet import quiet_native

Level = Literal["ok", "warn", "fail", "skip"]
_CORE = ("posebus", "paho-mqtt", "msgspec", "msgpack", "numpy", "opencv-python-headless", "pydantic", "redis", "typer")
_RUNTIME_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "tflite": "ai-edge-litert", "edgetpu": "pycoral"}
_MIN_FREE_GB, _LOW_FREE_GB = 0.2, 1.0


@dataclass(frozen=True)
class Finding:
    """One line of the report. `fix` says what to do; empty when there is nothing to do."""

    what: str
    level: Level
    text: str
    fix: str = ""


def python() -> Iterator[Finding]:
    """The interpreter and the packages of the core."""
    version = ".".join(map(str, sys.version_info[:3]))
    level: Level = "ok" if sys.version_info >= (3, 10) else "fail"
    yield Finding("python", level, f"{version} ({sys.executable})", "" if level == "ok" else "use Python 3.10 or newer")
    found, missing = [], []
    for package in _CORE:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding("packages", "fail", f"missing: {', '.join(missing)}", "pip install posebus")


def runtimes(root: Path = Path("/")) -> Iterator[Finding]:
    """Which runtimes can run here, on what; whether a network that is here loads and runs in those of the CPU.

    One that cannot is a warning where its accelerator is there, sysfs says. root: of the file system, for tests.
    """
    there = {"tensorrt": bool(_nvidia(root)), "edgetpu": bool(list_edge_tpus(root))}
    works = False
    for runtime in (name for name in RUNTIMES if name != "fake"):
        try:
            reason = probe(runtime)
        except ImportError as error:
            reason = f"cannot be imported: {error}; install it again"
        if reason is None:
            finding = _on_device(runtime) if runtime in there else _load_in(runtime)
            works = works or finding.level != "fail"
            yield finding
        else:
            text, _, fix = reason.rpartition("; ")
            yield Finding(f"runtime {runtime}", "warn" if there.get(runtime) else "skip", text or fix, fix if text else "")
    if not works:
        yield Finding("runtimes", "fail", "no inference runtime works here", "pip install 'posebus[tflite]'")


def _version(runtime: str) -> str:
    try:
        return importlib.metadata.version(_RUNTIME_PACKAGES.get(runtime, runtime))
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _on_device(runtime: str) -> Finding:
    """Nothing is loaded: TensorRT would build for minutes, and an Edge TPU may be in use by a service."""
    try:
        found = ", ".join(devices(runtime))
    except ModelError as error:
        return Finding(f"runtime {runtime}", "warn", str(error), "see the finding on its device")
    return Finding(f"runtime {runtime}", "ok", f"{_version(runtime)}, can use {found}")


def _load_in(runtime: str) -> Finding:
    what, version = f"runtime {runtime}", _version(runtime)
    reads = formats(runtime)
    artifact = next((a for a in list_artifacts() if set(reads) & set(a.formats) and is_here(a, formats=reads)), None)
    started = time.monotonic()
    try:
        with quiet_native():
            version = f"{version}, can use {', '.join(devices(runtime))}"
            if artifact is None:
                return Finding(what, "ok", f"{version}; no network of its format is here to try")
            engine = load_engine(artifact, runtime=runtime)
    except ModelError as error:
        return Finding(what, "fail", f"{version} does not load {artifact}: {error}", "install the runtime again")
    device = engine.device
    engine.close()
    return Finding(what, "ok", f"{version}; runs {artifact} on {device}, loaded in {time.monotonic() - started:.1f} s")


def models(config: Path | None = None) -> Iterator[Finding]:
    """The networks of both stages: are their files here, and what would run them. config: of the site; else the defaults."""
    try:
        site = None if config is None else load(config)
    except ConfigError:
        return  # told by the finding on the configuration
    settings: dict[str, StageSettings] = {"detector": DetectorSettings(), "pose": PoseSettings()}
    if site is not None:
        settings = {"detector": site.detector, "pose": site.pose}
        if site.pose.approach == "bottom_up":
            del settings["detector"]
    for stage, asked in settings.items():
        yield _model(stage, asked)


def _model(stage: str, settings: StageSettings) -> Finding:
    what = f"model of {stage}"
    try:
        artifact = find_artifact(settings.model)
    except ModelError as error:
        return Finding(what, "fail", str(error), "correct `model` in the configuration")
    runtime: str = settings.runtime
    if runtime == "auto":
        usable = (name for name, _ in candidates(artifact) if probe(name) is None)
        runtime = next(usable, "auto")
        if runtime == "auto":
            text = f"{artifact} ({', '.join(artifact.formats)}) runs on no runtime here"
            return Finding(what, "fail", text, "install one that reads it: pip install 'posebus[tflite]', [onnx] or [openvino]")
    elif (reason := probe(runtime)) is not None:
        return Finding(what, "fail", f"{artifact} is to run on {runtime}: {reason}", "or set runtime: auto")
    if not is_here(artifact, formats=formats(runtime)):
        return Finding(what, "warn", f"{artifact} for {runtime} is not here yet", f"posebus models pull {settings.model}")
    return Finding(what, "ok", f"{artifact}, its files are here; {runtime} runs it")


def accelerators(root: Path = Path("/")) -> Iterator[Finding]:
    """NVIDIA and Coral devices that this machine shows, and what keeps them from being used. root: for tests."""
    nvidia = _nvidia(root)
    yield Finding("nvidia", "ok" if nvidia else "skip", nvidia or "no NVIDIA device")
    coral = list_edge_tpus(root)
    problems = [f"{tpu.name}: {tpu.problem}" for tpu in coral if tpu.problem is not None]
    text = ", ".join(f"{tpu.name} ({tpu.what})" for tpu in coral)
    if problems:
        yield Finding("coral", "warn", text, "; ".join(problems))
    else:
        yield Finding("coral", "ok" if coral else "skip", text or "no Edge TPU")


def _nvidia(root: Path) -> str:
    """What there is of NVIDIA; empty: nothing."""
    jetson = _read(root / "proc/device-tree/model").strip("\0")
    nodes = [str(path) for path in sorted((root / "dev").glob("nvhost-gpu*")) + sorted((root / "dev").glob("nvidia[0-9]*"))]
    if root == Path("/") and (gpu := _nvidia_smi()):
        nodes = [gpu]
    parts = ([jetson] if "jetson" in jetson.lower() else []) + ([", ".join(nodes)] if nodes else [])
    return ": ".join(parts)


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout.strip().replace("\n", "; ")
    except (OSError, subprocess.SubprocessError):
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def bus(url: str | None, site: str) -> Iterator[Finding]:
    """Is the broker reachable, and if it refuses, why."""
    if url is None:
        yield Finding("bus", "skip", "no bus given", "give --bus or set POSEBUS_BUS")
        return
    try:
        connection = make_bus(url, site=site, name="doctor")
    except (BusError, SetupError, ValueError) as error:
        yield Finding("bus", "fail", str(error), "correct --bus or POSEBUS_BUS")
        return
    started = time.monotonic()
    connection.start()
    try:
        if connection.wait_connected(6.0):
            yield Finding("bus", "ok", f"{connection.address} connected in {(time.monotonic() - started) * 1e3:.0f} ms")
        else:
            reason = connection.last_error or f"{connection.address} does not answer"
            yield Finding("bus", "fail", reason, "start the broker (`docker compose up` or `posebus up`), check --bus")
    finally:
        connection.stop()


def stores(frames_url: str | None, state_url: str | None) -> Iterator[Finding]:
    """Reachable, and with the settings that their role needs."""
    for role, url in (("frames", frames_url), ("state", state_url)):
        what = f"{role} store"
        if url is None:
            yield Finding(what, "skip", f"no {role} store given", f"give --{role}-url or set POSEBUS_{role.upper()}_URL")
            continue
        try:
            store = connect_store(url)
            with store_errors(store):
                store.ping()
        except StoreError as error:
            yield Finding(what, "fail", str(error), f"start it, or correct --{role}-url")
            continue
        yield Finding(what, "ok", f"{shown(url)} answers")
        yield from _settings(what, role, store)
        store.close()


def _settings(what: str, role: str, store: redis.Redis) -> Iterator[Finding]:
    try:
        found: Any = store.config_get("*")
    except redis.RedisError as error:
        yield Finding(what, "warn", f"its settings cannot be read ({error})", "check them on the server")
        return
    settings = {_text(key): _text(value) for key, value in found.items()}
    policy = settings.get("maxmemory-policy", "")
    if role == "state":
        if settings.get("appendonly") != "yes":
            yield Finding(what, "fail", "appendonly is off: a power cut loses alerts", "set `appendonly yes`")
        elif settings.get("appendfsync") != "always":
            text = f"appendfsync is {settings.get('appendfsync')}: a power cut can lose the last second"
            yield Finding(what, "warn", text, "set `appendfsync always`")
        if policy != "noeviction":
            yield Finding(what, "fail", f"maxmemory-policy {policy} may throw alerts away", "set it to noeviction")
    elif settings.get("maxmemory", "0") == "0":
        yield Finding(what, "warn", "maxmemory is not set: frames may fill the memory", "set maxmemory, e.g. 256mb")
    elif policy == "noeviction":
        text = "maxmemory-policy noeviction refuses new frames when full instead of dropping old ones"
        yield Finding(what, "warn", text, "set it to volatile-ttl")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def clock(store_url: str | None) -> Iterator[Finding]:
    """How exactly this machine can tell the store's time, and how far its own clock is off."""
    if store_url is None:
        yield Finding("clock", "skip", "no store given: its clock is the site's")
        return
    try:
        store = connect_store(store_url)
        source = StoreClock(store)
        with store_errors(store):
            bound_ms = source.sync() / 1e6
    except StoreError as error:
        yield Finding("clock", "fail", str(error), "see the finding on the store")
        return
    off_ms = (time.time_ns() - source.now_ns()) / 1e6
    text = f"store time known within {bound_ms:.2f} ms; this machine's clock is {off_ms:+.0f} ms off"
    if bound_ms > 50:
        yield Finding("clock", "warn", text, "the network to the store is slow: ages are that uncertain")
    elif abs(off_ms) > 2_000:
        yield Finding("clock", "warn", text, "posebus copes; set up NTP, so that logs can be compared")
    else:
        yield Finding("clock", "ok", text)


def disk() -> Iterator[Finding]:
    """Free space, and whether the cache can be written."""
    cache = default_cache()
    existing = next((path for path in (cache, *cache.parents) if path.exists()), Path("/"))
    for what, path in (("disk cache", existing), ("disk here", Path.cwd()), ("disk temporary", Path(tempfile.gettempdir()))):
        free_gb = shutil.disk_usage(path).free / 1e9
        level: Level = "fail" if free_gb < _MIN_FREE_GB else "warn" if free_gb < _LOW_FREE_GB else "ok"
        yield Finding(what, level, f"{free_gb:.1f} GB free in {path}", "" if level == "ok" else "free some space")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
        yield Finding("cache", "ok", f"{cache} is writable")
    except OSError as error:
        yield Finding("cache", "fail", f"{cache}: {error.strerror}", "set POSEBUS_CACHE to a folder that can be written")


def configuration(path: Path | None) -> Iterator[Finding]:
    """The configuration file, when one is given."""
    if path is None:
        yield Finding("configuration", "skip", "no file given", "give --config FILE")
        return
    try:
        config = load(path)
    except ConfigError as error:
        yield Finding("configuration", "fail", str(error), "mend these lines")
        return
    yield Finding("configuration", "ok", f"{path}: {len(config.cameras)} cameras")
    for camera in config.cameras:
        local = "://" not in camera.source and ":" not in camera.source
        if local and not os.path.exists(camera.source):
            yield Finding(f"camera {camera.name}", "fail", f"{camera.source} does not exist", "correct `source`")
