"""docs/models.md is true line by line: its commands are run, in its order, in one folder, on files like a reader's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs" / "models.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- test: (?P<mark>\w+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```", re.DOTALL)
FOUND = list(BLOCK.finditer(PAGE))


def commands(mark: str | None) -> list[str]:
    """The command lines of all `sh` blocks with that mark."""
    lines = [line for block in FOUND if block["kind"] == "sh" and block["mark"] == mark for line in block["body"].splitlines()]
    return [line for line in lines if line.strip()]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "posebus", f"docs/models.md: a command that this test does not know: {line}"
    command = [sys.executable, "-m", "posebus", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)


def run_all(lines: list[str], folder: Path) -> None:
    assert lines
    for line in lines:
        done = run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.stdout.strip(), line


def write_detector(folder: Path) -> None:
    """The folder of the page's manifest, with a network of YOLOX's form: cells of 8, 16 and 32 pixels, 85 numbers each."""
    from onnx import TensorProto, helper, numpy_helper, save

    (toml,) = [block["body"] for block in FOUND if block["kind"] == "toml"]
    folder.mkdir()
    (folder / "manifest.toml").write_text(toml, encoding="utf-8")
    random = np.random.default_rng(0)
    nodes, constants, parts = [], [], []
    for stride in (8, 16, 32):
        weight = random.normal(0, 0.001, (85, 3, stride, stride)).astype(np.float32)
        shape = np.array([1, 85, (416 // stride) ** 2])
        constants += [numpy_helper.from_array(weight, f"w{stride}"), numpy_helper.from_array(shape, f"s{stride}")]
        nodes.append(helper.make_node("Conv", ["images", f"w{stride}"], [f"c{stride}"], strides=[stride, stride]))
        nodes.append(helper.make_node("Reshape", [f"c{stride}", f"s{stride}"], [f"r{stride}"]))
        parts.append(f"r{stride}")
    nodes.append(helper.make_node("Concat", parts, ["cells"], axis=2))
    nodes.append(helper.make_node("Transpose", ["cells"], ["output"], perm=[0, 2, 1]))
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 416, 416])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3549, 85])],
        constants,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")


@pytest.mark.timeout(300)
def test_the_commands_about_built_in_networks_and_an_own_detector_work(tmp_path):
    write_detector(tmp_path / "my-detector")
    run_all(commands(None), tmp_path)


@pytest.mark.torch
@pytest.mark.timeout(900)
def test_the_commands_about_conversion_work(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
    import cv2

    from models.convert.samples import load_samples
    from models.fastpose.network import VARIANTS, FastPose

    torch.manual_seed(0)
    smallest = min(VARIANTS.values(), key=lambda config: config.layers)
    torch.save(FastPose(smallest).state_dict(), tmp_path / "my_fastpose.pth")
    (tmp_path / "pictures").mkdir()
    for i, sample in enumerate(load_samples("rendered", 64)):
        x0, y0, x1, y1 = np.clip(sample.boxes[0], 0, None).astype(int)
        cv2.imwrite(str(tmp_path / "pictures" / f"{i:03}.jpg"), sample.image[y0:y1, x0:x1])
    run_all(commands("torch"), tmp_path)
    for name in ("graph.svg", "graph.png", "placement.json"):
        assert (tmp_path / name).stat().st_size > 1000


def test_the_decoders_that_the_page_names_are_those_that_there_are():
    from services.detector.decode import DECODERS as BOXES
    from services.pose.decode import DECODERS as POSES

    section = PAGE[PAGE.index("`detect.decoder` is one of") : PAGE.index("Of these, the yolox")]
    boxes, poses = section.split("`pose.decoder` is one of")
    known = set(BOXES) | set(POSES)
    assert {name for name in re.findall(r"`(\w+)`", boxes) if name in known} == set(BOXES)
    assert {name for name in re.findall(r"`(\w+)`", poses) if name in known} == set(POSES)


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (REPO / "docs" / target).exists(), target
