"""`posebus models check`: where each operator of a network would run on an accelerator, before it is at hand."""

from __future__ import annotations

import json
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.manifest import ModelError

if TYPE_CHECKING:
    from models.edgetpu.compiler import Difference, Report
    from models.edgetpu.placement import OpPlacement, Placement
    from models.tensorrt.check import Check

SHOWN = 12  # rows of a table of operators, unless all are asked for


class Target(str, Enum):
    edgetpu = "edgetpu"
    tensorrt = "tensorrt"


class BusName(str, Enum):
    usb3 = "usb3"
    pcie = "pcie"
    usb2 = "usb2"


class HostName(str, Enum):
    a53 = "a53"
    x86 = "x86"


def check(
    model: Annotated[Path, typer.Argument(help="a .tflite file for edgetpu, an .onnx file for tensorrt")],
    target: Annotated[Target, typer.Option(help="the accelerator")],
    json_file: Annotated[str, typer.Option("--json", metavar="FILE|-", help="write all findings as JSON; - is stdout")] = "",
    svg: Annotated[Path | None, typer.Option(help="edgetpu: draw the network, coloured by placement, as SVG")] = None,
    png: Annotated[Path | None, typer.Option(help="edgetpu: the same as PNG")] = None,
    ops: Annotated[bool, typer.Option("--ops", help="show every operator, not only the first that fall off")] = False,
    all_runs: Annotated[bool, typer.Option("--all-runs", help="edgetpu: as with the compiler's -a")] = False,
    against: Annotated[Path | None, typer.Option(help="edgetpu: compare with this compiled file of the same network")] = None,
    bus: Annotated[BusName, typer.Option(help="edgetpu: how the device is attached")] = BusName.usb3,
    host: Annotated[HostName, typer.Option(help="edgetpu: the CPU beside it")] = HostName.a53,
    compiler: Annotated[bool, typer.Option(help="run edgetpu_compiler, or tensorrt-rtx, where it is installed")] = True,
    timeout: Annotated[float, typer.Option(help="seconds that the compiler or builder may take")] = 600.0,
) -> None:
    """Predict where a network runs: per operator, with reasons.

    Exit code 0: all of it runs on the accelerator, or, for tensorrt, no error was found; 1: not so; 2: the file or an option
    is wrong.
    """
    quiet = Console(quiet=json_file == "-")
    if target is Target.tensorrt:
        if svg or png or against:
            raise ModelError("--svg, --png and --against are for --target edgetpu")
        good, data = _tensorrt(model, quiet, timeout if compiler else 0.0)
    else:
        good, data = _edgetpu(model, quiet, ops, all_runs, against, bus, host, timeout if compiler else 0.0, svg, png)
    if json_file:
        text = json.dumps(data, indent=2)
        if json_file == "-":
            typer.echo(text)
        else:
            _write(Path(json_file), (text + "\n").encode())
    if not good:
        raise typer.Exit(1)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror or error}") from error


def _edgetpu(
    model: Path, console: Console, every_op: bool, all_runs: bool, against: Path | None, bus: BusName, host: HostName,
    timeout_s: float, svg: Path | None, png: Path | None,
) -> tuple[bool, dict[str, Any]]:  # fmt: skip
    from models.edgetpu.estimate import BUSES, HOSTS
    from models.edgetpu.placement import check_tflite
    from models.edgetpu.report import as_data, compiler_data

    placement = check_tflite(model, every_run=all_runs, bus=BUSES[bus.value], host=HOSTS[host.value])
    report, differences = _compared(placement, against, all_runs, timeout_s)
    _show_placement(console, placement, every_op)
    _show_compiler(console, report, differences, against)
    _draw(placement, svg, png)
    # Where the compiler ran, its word counts.
    good = placement.fully_placed if report is None else report.fully_placed
    return good, {**as_data(placement), **compiler_data(report, differences)}


def _compared(
    placement: Placement, against: Path | None, all_runs: bool, timeout_s: float
) -> tuple[Report | None, list[Difference]]:
    from models.edgetpu.compiler import compare_compiled, compare_counts, compile_model, find_compiler
    from models.edgetpu.reader import read_model

    differences = compare_compiled(placement, read_model(against)) if against else []
    executable = find_compiler() if timeout_s > 0 and not placement.compiled else None
    if executable is None:
        return None, differences
    report, compiled = compile_model(placement.path, executable, every_run=all_runs, timeout_s=timeout_s)
    if compiled is not None:
        differences += compare_compiled(placement, compiled)
    return report, differences or compare_counts(placement, report)


def _draw(placement: Placement, svg: Path | None, png: Path | None) -> None:
    if svg is None and png is None:
        return
    from models.edgetpu.drawing import draw

    drawing = draw(placement)
    if svg is not None:
        from models.edgetpu.svg import to_svg

        _write(svg, to_svg(drawing).encode())
    if png is not None:
        import cv2

        from models.edgetpu.png import to_picture

        good, content = cv2.imencode(".png", to_picture(drawing))
        if not good:
            raise ModelError(f"{png}: the picture of {drawing.width:.0f} x {drawing.height:.0f} cannot be encoded")
        _write(png, content.tobytes())


def _show_placement(console: Console, placement: Placement, every_op: bool) -> None:
    from models.edgetpu.report import mib

    table = Table(title=f"{placement.path.name} on the Edge TPU, predicted", title_justify="left")
    for column in ("operators", "count", "runs on", "status, as the compiler would say it"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for (kind, placed, status), count in Counter((op.kind, op.placed, op.status) for op in placement.ops).items():
        table.add_row(kind, str(count), "[green]Edge TPU[/]" if placed else "[red]CPU[/]", status)
    console.print(table)
    _show_ops(console, placement, every_op)
    colour = "green" if placement.fully_placed else "red"
    console.print(f"[{colour}]{placement.placed} of {placement.total} operators on the Edge TPU[/], {placement.runs} run(s) of "
                  f"{placement.possible_runs} possible; {placement.macs / 1e6:.0f} M multiply-accumulates")  # fmt: skip
    if placement.runtime:
        console.print(f"needs the Edge TPU runtime {placement.runtime} or newer")
    if placement.refused:
        console.print(f"[red]the compiler would refuse this file[/]: {escape(placement.refused)}")
    if placement.placed:  # else the chip holds nothing, and that all of it fits says nothing
        low, high = placement.streamed_bytes
        streamed = f"{mib(low)} to {mib(high)} are streamed at each inference" if high else "all fit on the chip"
        console.print(f"parameters {mib(placement.parameters_bytes)}, of 8 MiB shared with the program: {streamed}")
    time = placement.latency
    console.print(
        f"latency about {time.total_ms:.1f} ms ({time.low_ms:.1f} to {time.high_ms:.1f}; estimated, never measured: device "
        f"{time.device_ms:.2f}, streaming {time.streaming_ms:.2f}, transfer {time.transfer_ms:.2f}, start {time.start_ms:.2f}, "
        f"CPU {time.host_ms:.2f}; {time.bus}, {time.host})"
    )


def _show_ops(console: Console, placement: Placement, every_op: bool) -> None:
    for what, op in (("first to fall off", placement.first_off), ("the network is cut at", placement.cut)):
        if op is not None:
            console.print(f"{what}: {op.index} {op.kind} [bold]{escape(op.name)}[/]: {escape(op.reason)}")
    chosen = placement.ops if every_op else tuple(op for op in placement.off if not op.supported)
    if chosen:
        shown = chosen if every_op else chosen[:SHOWN]
        table = Table(title="operators" if every_op else "what the Edge TPU cannot run", title_justify="left")
        for column in ("#", "operator", "tensor", "shape", "reason", "fix"):
            table.add_column(column, overflow="fold")
        for op in shown:
            table.add_row(*_row(op))
        console.print(table)
        if len(shown) < len(chosen):
            console.print(f"... and {len(chosen) - len(shown)} more; --ops shows all, --json lists them")
    if placement.doubtful:
        _show_doubtful(console, placement)
    if any(op.kind == "TRANSPOSE_CONV" for op in placement.ops):
        console.print("`posebus models convert ... --target edgetpu` rewrites transposed convolutions")
    notes = Counter(warned.text for op in placement.ops if op.placed for warned in op.warnings if not warned.doubtful)
    for text, count in notes.most_common():
        console.print(f"[dim]note on {count} operator(s): {escape(text)}[/]")


def _row(op: OpPlacement) -> tuple[str, ...]:
    colour = "green" if op.placed else "red"
    shape = "x".join(map(str, op.shape)) + f" {op.dtype.lower()}"
    return str(op.index), f"[{colour}]{op.kind}[/]", escape(op.name), shape, escape(op.reason), escape(op.fix)


def _show_doubtful(console: Console, placement: Placement) -> None:
    console.print("[yellow]placed by the published rules, but not to be relied on[/]:")
    for op in placement.doubtful:
        for warned in op.warnings:
            if warned.doubtful:
                sources = ", ".join(warned.sources)
                console.print(f"  {op.index} {op.kind} [bold]{escape(op.name)}[/]: {escape(warned.text)} ({sources})")


def _show_compiler(console: Console, report: Report | None, differences: list[Difference], against: Path | None) -> None:
    if report is not None:
        failure = f"; [red]{escape(report.failure)}[/]" if report.failure else ""
        console.print(f"edgetpu_compiler {report.version}: {report.placed} of {report.total} operators mapped{failure}")
    if report is None and against is None:
        return
    if not differences:
        console.print("[green]the prediction is what the compiler did[/]" if not (report and report.failure) else "")
        return
    table = Table(title="prediction and compiler differ", title_justify="left")
    for column in ("operator", "predicted", "compiled"):
        table.add_column(column, overflow="fold")
    for item in differences:
        table.add_row(escape(item.kind), item.predicted, escape(item.compiled))
    console.print(table)


def _tensorrt(model: Path, console: Console, timeout_s: float) -> tuple[bool, dict[str, Any]]:
    from models.tensorrt.check import check_onnx
    from models.tensorrt.report import as_data

    found = check_onnx(model, parse=timeout_s > 0, timeout_s=timeout_s)
    _show_tensorrt(console, found)
    return found.good, as_data(found)


def _show_tensorrt(console: Console, found: Check) -> None:
    colours = {"error": "red", "warning": "yellow", "note": "dim"}
    precision = "quantised with Q/DQ pairs" if found.quantised else "no Q/DQ pairs"
    console.print(f"{found.path.name}: opset {found.opset}, {sum(found.operators.values())} operators, {precision}")
    if found.findings:
        table = Table(title="for TensorRT", title_justify="left")
        for column in ("", "what", "finding", "fix", "by"):
            table.add_column(column, overflow="fold")
        for item in found.findings:
            level = f"[{colours[item.level]}]{item.level}[/]"
            table.add_row(level, escape(item.subject), escape(item.text), escape(item.fix), item.by)
        console.print(table)
    said = found.parser
    if "skipped" in said:
        console.print(f"[yellow]parser and builder skipped[/]: {escape(said['skipped'])}")
    else:
        parsed = "reads the network" if said["supported"] else f"refuses {len(said['errors'])} operators"
        built = f"builds a plan of {said['plan_bytes'] / 2**20:.1f} MiB" if said["built"] else "builds no plan"
        console.print(f"TensorRT for RTX {said['version']}, without a GPU: {parsed}, {built}")
    verdict = "[green]no error found[/]" if found.good else "[red]TensorRT will refuse this network[/]"
    console.print(verdict)
