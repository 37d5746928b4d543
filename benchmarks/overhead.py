"""What surrounds inference: everything but the engine, for frames with 1, 3 and 6 people, against MoveNet in the same run.

    python -m benchmarks.overhead [--frames 60] [--width 640] [--model movenet-multipose]
"""

from __future__ import annotations

import sys

from benchmarks import _stack
from benchmarks._measure import median
from benchmarks._overhead_chain import ENGINES, PARTS, Chain
from benchmarks._picture import Colour, stacked_bars
from benchmarks._report import RESULTS, Report, options
from benchmarks._scene import find_scene

PEOPLE = (1, 3, 6)
WARM_UP = 5
CROP_PARSE = ("pose crop", "pose parse")
GROUPS: dict[str, tuple[Colour, tuple[str, ...]]] = {
    "engines": ((190, 190, 190), ENGINES),
    "JPEG encode": ((60, 76, 231), ("camera encode",)),
    "JPEG decode": ((34, 126, 230), ("detector decode", "pose decode")),
    "fit, crop, batch": ((113, 204, 46), ("detector fit", "pose crop")),
    "parse": ((15, 196, 241), ("detector parse", "pose parse")),
    "store": ((219, 152, 52), ("camera store", "detector store", "pose store")),
    "bus": ((182, 89, 155), ("camera bus", "detector bus", "pose bus")),
    "track, rules": ((94, 73, 52), ("analytics",)),
}


def main() -> int:
    parser = options("Everything but inference, per frame.")
    _stack.add_options(parser)
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="frames for each number of people; medians count")
    parser.add_argument("--width", type=int, default=640, metavar="PX", help="width of the picture")
    parser.add_argument("--model", default="movenet-multipose")
    arguments = parser.parse_args()
    report = Report("overhead", arguments, label=_stack.label(arguments))
    scene = find_scene(max(PEOPLE), width_px=arguments.width)
    frames = 3 if arguments.quick else arguments.frames
    report.data["settings"] = {"model": arguments.model, "picture": scene.name, "frames": frames,
                               "size_px": [scene.image.shape[1], scene.image.shape[0]]}  # fmt: skip
    with _stack.open_stack(arguments) as stack:
        chain = Chain(stack, model=arguments.model)
        try:
            taken: dict[int, list[dict[str, float]]] = {people: [] for people in PEOPLE}
            for turn in range(frames + (1 if arguments.quick else WARM_UP)):
                for people in PEOPLE:  # in turn: what disturbs the machine meanwhile disturbs all alike
                    parts = chain.frame(scene.image, scene.boxes[:people])
                    if turn >= WARM_UP or arguments.quick:
                        taken[people].append(parts)
        finally:
            chain.close()
    parts_ms = {people: {name: median([t[name] for t in runs]) for _, name, _ in PARTS} for people, runs in taken.items()}
    crop_parse_ms = {people: median([sum(t[name] for name in CROP_PARSE) for t in runs]) for people, runs in taken.items()}
    tell(report, parts_ms, crop_parse_ms)
    if arguments.save:
        draw(report, parts_ms)
    return report.finish()


def tell(report: Report, parts_ms: dict[int, dict[str, float]], crop_parse_ms: dict[int, float]) -> None:
    """Tables and targets."""
    rows = [(stage, what, *(f"{parts_ms[n][name]:.2f}" for n in PEOPLE)) for stage, name, what in PARTS]
    engine = {n: sum(parts_ms[n][name] for name in ENGINES) for n in PEOPLE}
    beside = {n: sum(parts_ms[n].values()) - engine[n] for n in PEOPLE}
    share = {n: beside[n] / engine[n] for n in PEOPLE}
    rows += [
        ("all", "engines", *(f"{engine[n]:.2f}" for n in PEOPLE)),
        ("all", "everything else", *(f"{beside[n]:.2f}" for n in PEOPLE)),
        ("all", "everything else / engines", *(f"{share[n]:.0%}" for n in PEOPLE)),
        ("pose", "crop + parse", *(f"{crop_parse_ms[n]:.2f}" for n in PEOPLE)),
    ]
    title = f"Milliseconds per frame (median), {report.data['settings']['model']}, {report.data['settings']['picture']}"
    report.table(title, ("stage", "part", *(crowd(n) for n in PEOPLE)), rows)
    report.data["rows"] = [
        {
            "people": n,
            "parts_ms": {name: round(value, 4) for name, value in parts_ms[n].items()},
            "engine_ms": round(engine[n], 3),
            "beside_engine_ms": round(beside[n], 3),
            "share": round(share[n], 4),
            "crop_parse_ms": round(crop_parse_ms[n], 4),
        }
        for n in PEOPLE
    ]
    for n in PEOPLE:
        report.target(f"{crowd(n)}: everything but inference, of the engines' time", share[n], "<=", 0.3)
    report.target("6 people: crop + parse", crop_parse_ms[6], "<=", 1.5, "ms")


def crowd(people: int) -> str:
    """`1 person`, `3 people`."""
    return f"{people} {'person' if people == 1 else 'people'}"


def draw(report: Report, parts_ms: dict[int, dict[str, float]]) -> None:
    """The picture beside the table."""
    bars = {
        crowd(n): {group: sum(parts_ms[n][name] for name in names) for group, (_, names) in GROUPS.items()}
        for n in PEOPLE
    }
    title = f"One frame through posebus, {report.data['settings']['model']}, {report.data['device']['cpu']}"
    stacked_bars(RESULTS / f"{report.name}.png", title, bars, {group: colour for group, (colour, _) in GROUPS.items()})


if __name__ == "__main__":
    sys.exit(main())
