"""`posebus demo`: real video through the whole real stack, and pictures, videos and numbers of what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.live import Live

from common.artifact import find_artifact, is_here, pull, zoo_folder
from common.config import CameraSettings, DetectorSettings, PosebusConfig, PoseSettings, default_models, split
from common.frames import FrameStore, connect_store
from common.messages import ConfigPart
from posebus import moments, scenes, summary
from posebus.apply import ConfigPublisher
from posebus.clips import DWELL_S, ROOM, Programme, built_in, of_source
from posebus.errors import SetupError
from posebus.recorder import Recorder, Recording
from posebus.running import RunningSite, interruptible
from posebus.supervisor import STOP_ORDER

SITE = "demo"
_READY_S = 60.0
_QUIET_S = 1.5  # so long nothing on the bus after the last frame: the queues have drained
_FAILED_S = 15.0


def demo(
    source: Annotated[str | None, typer.Argument(help="file, folder, rtsp:// address or device [built-in clips]")] = None,
    out: Annotated[Path, typer.Option("--out", help="where pictures, videos and numbers go")] = Path("out/demo"),
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, help="end after so many seconds")] = None,
    fps: Annotated[float, typer.Option("--fps", min=0.5, max=60, help="frames a second and camera")] = 8.0,
    detector: Annotated[str, typer.Option(help="artifact that finds people")] = default_models()["detector"],
    pose: Annotated[str, typer.Option(help="artifact that finds their keypoints")] = default_models()["pose"],
) -> None:
    """Play clips, or SOURCE, through broker, stores and all services; ends by itself."""
    console = Console(width=None if Console().is_terminal else 120)
    networks = DetectorSettings(model=_get_model(detector, console)), PoseSettings(model=_get_model(pose, console))
    programme = of_source(source, fps, seconds) if source else built_in(fps, seconds)
    programme = replace(programme, detector=networks[0], pose=networks[1])
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with interruptible():
        try:
            recording, result = _play(programme, out, console)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from None
        if recording.frames:
            written = write_results(programme, recording, result, out, console)
            console.print(summary.render(result))
            console.print(f"wrote {', '.join(str(path) for path in written)}")
    console.print(f"took {time.monotonic() - started:.0f} s")
    _verdict(programme, result, console)


def _get_model(name: str, console: Console) -> str:
    """The artifact, its files here and checked; returns its name, or its folder as services find it wherever they run."""
    artifact = find_artifact(name)
    if not is_here(artifact):
        console.print(f"getting the model {artifact}, once ...")
    pull(artifact)
    return name if artifact.folder.parent == zoo_folder() else str(artifact.folder)


def _play(programme: Programme, out: Path, console: Console) -> tuple[Recording, summary.Summary]:
    """Run the stack until the programme is over; everything is stopped when it returns or raises."""
    site = RunningSite(site=SITE, logs=(out / "logs").resolve(), scale={})
    recorder: Recorder | None = None
    began = time.monotonic()
    try:
        site.open()
        assert site.stack is not None
        recorder = Recorder(site.bus, FrameStore(connect_store(site.stack.frames_url), ttl_s=2.0))
        publisher = ConfigPublisher(site.bus)
        site.start()
        recorder.start()
        _get_ready(site, publisher, programme, console)
        console.print(f"ready after {time.monotonic() - began:.1f} s; playing {_names(programme)}")
        _watch(site, recorder, publisher, programme, console)
    finally:
        killed = site.stop()
    recording = recorder.stop()
    result = summary.summarise(recording, site.view.services(), programme.truth)
    result.notes = {"killed": killed, "restarts": site.supervisor.restarts, "pictures_missed": recording.pictures_missed}
    return recording, result


def _get_ready(site: RunningSite, publisher: ConfigPublisher, programme: Programme, console: Console) -> None:
    """Publish the settings without cameras and wait until every stage is ready, so that the first frame is not missed."""
    if not site.bus.wait_connected(10.0):
        raise SetupError(f"the embedded broker does not answer: {site.bus.last_error}")
    nobody = {name: ConfigPart(part=name, revision="none", data={"cameras": []}) for name in ("cameras", "sources")}
    publisher.publish({**_parts(site, programme, 1), **nobody}, settle_s=0.0)
    deadline = time.monotonic() + _READY_S
    while not site.view.is_ready(*STOP_ORDER):
        if time.monotonic() > deadline:
            states = ", ".join(f"{name} {s.state} {s.reason or ''}" for (name, _), s in site.view.services().items())
            raise SetupError(f"the services are not ready after {_READY_S:.0f} s ({states}); see the logs in {site.logs}")
        site.poll()
        _tell(site, console)
        time.sleep(0.1)


def _parts(site: RunningSite, programme: Programme, acts: int) -> dict[str, ConfigPart]:
    """The configuration with the first so many cameras."""
    cameras = programme.cameras[:acts]
    return split(site.adapt(PosebusConfig(site=SITE, cameras=cameras, detector=programme.detector, pose=programme.pose)))


def _watch(site: RunningSite, recorder: Recorder, publisher: ConfigPublisher, programme: Programme, console: Console) -> None:
    """Play one camera after the other, each added to the running site, until all have ended or the time is over.

    Side by side would take less time but more than two slow cores have.
    """
    began = time.monotonic()
    acts = 0
    display = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
    with display or nullcontext():
        while time.monotonic() - began < programme.limit_s:
            site.poll()
            if _is_over(site, recorder, programme.cameras[:acts], time.monotonic() - began):
                if acts == len(programme.cameras):
                    return
                acts += 1
                publisher.publish(_parts(site, programme, acts))
            if display is not None:
                counts = [f"{name}: {n} frames, {done} analysed" for name, (n, done) in recorder.counts().items()]
                display.update(site.view.render(f"posebus demo: {_names(programme)}", counts))
            else:
                _tell(site, console)
            time.sleep(0.1)


def _is_over(site: RunningSite, recorder: Recorder, cameras: Sequence[CameraSettings], elapsed_s: float) -> bool:
    """Have all these cameras ended, and everything that they sent come through?"""
    known = {
        name: health.state
        for (service, _), status in site.view.services().items()
        if service == "camera"
        for name, health in status.cameras.items()
    }
    states = {known.get(camera.name, "unknown") for camera in cameras}
    if states == {"failed"} and elapsed_s > _FAILED_S and not recorder.counts():
        return True
    return states <= {"ended"} and recorder.quiet_s() > _QUIET_S


def write_results(
    programme: Programme, recording: Recording, result: summary.Summary, out: Path, console: Console
) -> list[Path]:
    """Videos, contact sheet, alerts.jsonl and summary.json; returns their paths."""
    clips = [
        scenes.Scene(recording, camera, note=programme.notes.get(camera.name, ""))
        for camera in programme.cameras
        if camera.name in recording.frames
    ]
    console.print("writing videos ...")
    written = scenes.write_videos(clips, out)
    pictures = []
    for clip in clips:
        is_story = programme.built_in and clip.camera.name == ROOM
        pictures.append(moments.story(clip) if is_story else moments.samples(clip, 3 if programme.built_in else 6))
    if any(pictures):
        sheet = out / "contact_sheet.png"
        cv2.imwrite(str(sheet), scenes.contact_sheet(pictures, title=f"posebus demo: {_names(programme)}"))
        written.append(sheet)
    scenes.write_alerts(recording.alerts, out / "alerts.jsonl")
    numbers = {**result.as_dict(), "problems": problems_of(programme, result)}
    (out / "summary.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return [*written, out / "alerts.jsonl", out / "summary.json"]


def problems_of(programme: Programme, result: summary.Summary) -> list[str]:
    """What kept the demo from showing what it promises."""
    problems = summary.work_problems(result, [camera.name for camera in programme.cameras])
    if programme.built_in:
        problems += summary.promise_problems(result, ROOM, dwell_s=DWELL_S)
    return problems


def _verdict(programme: Programme, result: summary.Summary, console: Console) -> None:
    problems = problems_of(programme, result)
    for problem in problems:
        typer.echo(f"not as promised: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    if programme.built_in:
        console.print("[green]as promised:[/] exactly one fall and one intrusion were raised, each in time, and nothing else")


def _names(programme: Programme) -> str:
    return ", ".join(
        f"{camera.name} ({note})" if (note := programme.notes.get(camera.name)) else camera.source
        for camera in programme.cameras
    )


def _tell(site: RunningSite, console: Console) -> None:
    lines: list[str] = site.view.take_lines()
    echo: Callable[[str], None] = typer.echo
    if not console.is_terminal:
        for line in lines:
            echo(line)
