"""Reading and running edgetpu_compiler: log texts after published ones, and a stand-in that prints them.

The compiler itself was never run here: it is not available.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from common.manifest import ModelError
from models.edgetpu.compiler import Difference, compare_compiled, compare_counts, compile_model, find_compiler, parse_report
from models.edgetpu.graph import COMPILED_OP
from models.edgetpu.placement import check_tflite
from models.edgetpu.reader import read_model
from models.edgetpu.status import DATA_TYPE, MAPPED, STRIDES, SUBGRAPH
from tests.models.edgetpu.build import Net

MIB = 2**20
# After the published log of EfficientDet-Lite0, compiler 16.0.
PARTLY = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 1524 ms.

Input model: efficientdet.tflite
Input size: 4.24MiB
Output model: efficientdet_edgetpu.tflite
Output size: 5.57MiB
On-chip memory used for caching model parameters: 4.21MiB
On-chip memory remaining for caching model parameters: 3.29MiB
Off-chip memory used for streaming uncached model parameters: 41.75KiB
Number of Edge TPU subgraphs: 1
Total number of operations: 267
Operation log: efficientdet_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on
the CPU, which is slower.
Number of operations that will run on Edge TPU: 264
Number of operations that will run on CPU: 3

Operator                       Count      Status

ADD                            42         Mapped to Edge TPU
CUSTOM                         1          Operation is working on an unsupported data type
CONCATENATION                  1          Mapped to Edge TPU
CONCATENATION                  1          More than one subgraph is not supported
STRIDED_SLICE                  4          Only Strided-Slice with unitary strides supported
MAX_POOL_2D                    14         Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
# github.com/google-coral/edgetpu/issues/845
REFUSED = """Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'TRANSPOSE_CONV' version '4'. An older version of this builtin might be supported.

ERROR: Registration failed.

Invalid model: model.tflite
Model could not be parsed
"""
# github.com/google-coral/edgetpu/issues/512
TOO_LARGE = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.
ERROR: Restored original execution plan after delegate application failure.
Compilation failed: Compilation failed due to large activation tensors in model.
Compilation child process completed within timeout period.
Compilation failed!
"""


def test_a_log_is_read() -> None:
    report = parse_report(PARTLY)
    assert report.version == "16.0.384591198"
    assert report.counts == {
        ("ADD", MAPPED): 42, ("CUSTOM", DATA_TYPE): 1, ("CONCATENATION", MAPPED): 1, ("CONCATENATION", SUBGRAPH): 1,
        ("STRIDED_SLICE", STRIDES): 4, ("MAX_POOL_2D", MAPPED): 14,
    }  # fmt: skip
    assert (report.placed, report.total, report.runs, report.failure) == (57, 267, 1, "")
    assert not report.fully_placed
    assert parse_report("CONV_2D  3  Mapped to Edge TPU\nADD  1  Mapped to Edge TPU").fully_placed
    assert not parse_report("Edge TPU Compiler version 16.0").fully_placed
    assert report.on_chip_used_bytes == pytest.approx(4.21 * MIB, abs=1)
    assert report.on_chip_free_bytes == pytest.approx(3.29 * MIB, abs=1)
    assert report.streamed_bytes == round(41.75 * 1024)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (REFUSED, "builtin opcode 'TRANSPOSE_CONV' version '4'"),
        (TOO_LARGE, "large activation tensors"),
        ("Edge TPU Compiler version 15.0.340273435\n\nInternal compiler error. Aborting! \n", "Internal compiler error"),
    ],
)
def test_a_failure_is_told_with_its_reason(text: str, said: str) -> None:
    report = parse_report(text)
    assert said in report.failure
    assert report.counts == {}


def small() -> Net:
    net = Net()
    last = net.conv(net.input([1, 8, 8, 3]), 4, name="conv")
    last = net.unary("LEAKY_RELU", last, name="leaky")
    net.conv(last, 2, name="head")
    return net


def compiled(tmp_path: Path) -> Path:
    """What the compiler would make of `small`: the first convolution in the custom operator, the rest as it was."""
    net = Net()
    last = net.op("CUSTOM", [net.input([1, 8, 8, 3])], [1, 8, 8, 4], custom=COMPILED_OP, name="conv", custom_options=b"x" * 64)
    last = net.unary("LEAKY_RELU", last, name="leaky")
    net.conv(last, 2, name="head")
    return net.write(tmp_path / "made.tflite")


def test_a_table_that_is_only_in_the_log_file_is_read_there(tmp_path: Path) -> None:
    path = small().write(tmp_path / "net.tflite")
    text = "Edge TPU Compiler version 16.0\nModel compiled successfully in 3 ms.\nTotal number of operations: 3\n"
    table = "Edge TPU Compiler version 16.0\n\nCONV_2D  1  Mapped to Edge TPU\nLEAKY_RELU  1  Operation not supported\n"
    report, _ = compile_model(path, stand_in(tmp_path, text, compiled(tmp_path), log=table), timeout_s=30)
    assert report.counts == {("CONV_2D", MAPPED): 1, ("LEAKY_RELU", "Operation not supported"): 1}
    assert report.total == 3


STAND_IN = """#!{python}
import shutil, sys, time
arguments = sys.argv[1:]
open({record!r}, "w").write(" ".join(arguments))
folder, model = arguments[arguments.index("-o") + 1], arguments[-1]
time.sleep({sleep})
print({text!r})
name = folder + "/" + model.rsplit("/", 1)[-1].replace(".tflite", "_edgetpu.")
if {log!r}:
    open(name + "log", "w").write({log!r})
if {made!r}:
    shutil.copy({made!r}, name + "tflite")
sys.exit({code})
"""


def stand_in(folder: Path, text: str, made: Path | None = None, code: int = 0, sleep: float = 0, log: str = "") -> Path:
    """An executable that behaves as the compiler does: prints a log, writes a file, ends with a code."""
    path = folder / "edgetpu_compiler"
    record = str(folder / "called")
    values = {"python": sys.executable, "record": record, "text": text, "made": str(made or ""), "code": code, "sleep": sleep}
    path.write_text(STAND_IN.format(**values, log=log))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_compiler_is_run_and_its_file_compared(tmp_path: Path) -> None:
    text = "Edge TPU Compiler version 16.0.384591198\n\nModel compiled successfully in 3 ms.\nTotal number of operations: 3\n"
    executable = stand_in(tmp_path, text, compiled(tmp_path))
    placement = check_tflite(small().write(tmp_path / "net.tflite"))
    report, made = compile_model(placement.path, executable, every_run=True, timeout_s=30)
    assert made is not None
    assert compare_compiled(placement, made) == []
    assert report.failure == ""
    called = (tmp_path / "called").read_text().split()
    assert called[0] == "-s"
    assert "-a" in called
    assert called[-1] == str(placement.path)
    assert not Path(called[called.index("-o") + 1]).exists()  # its folder is gone


def test_a_difference_is_named(tmp_path: Path) -> None:
    placement = check_tflite(small().write(tmp_path / "net.tflite"))
    whole = Net()
    whole.op("CUSTOM", [whole.input([1, 8, 8, 3])], [1, 8, 8, 2], custom=COMPILED_OP, name="head", custom_options=b"x" * 64)
    found = compare_compiled(placement, read_model(whole.write(tmp_path / "made.tflite")))
    assert found == [
        Difference("LEAKY_RELU 'leaky'", "CPU", "Edge TPU"),
        Difference("CONV_2D 'head'", "CPU", "Edge TPU"),
    ]


def test_without_a_file_the_counts_are_compared(tmp_path: Path) -> None:
    placement = check_tflite(small().write(tmp_path / "net.tflite"))
    same = "CONV_2D  1  Mapped to Edge TPU\nCONV_2D  1  More than one subgraph is not supported\n"
    assert compare_counts(placement, parse_report(same)) == []
    other = "CONV_2D  2  Operation is otherwise supported, but not mapped due to some unspecified limitation\n"
    (difference,) = compare_counts(placement, parse_report(other))
    assert (difference.kind, difference.predicted) == ("CONV_2D", "1 placed")
    assert difference.compiled.startswith("0 placed; 2: Operation is otherwise supported")


def test_a_refusal_is_reported_not_raised(tmp_path: Path) -> None:
    path = small().write(tmp_path / "net.tflite")
    report, made = compile_model(path, stand_in(tmp_path, REFUSED, code=1), timeout_s=30)
    assert made is None
    assert "Registration failed" in report.failure


def test_a_silent_failure_tells_its_code(tmp_path: Path) -> None:
    path = small().write(tmp_path / "net.tflite")
    report, _ = compile_model(path, stand_in(tmp_path, "what now", code=139), timeout_s=30)
    assert report.failure == "exit code 139: what now"


def test_a_compiler_that_hangs_is_ended(tmp_path: Path) -> None:
    path = small().write(tmp_path / "net.tflite")
    with pytest.raises(ModelError, match=r"took longer than 0\.5 s"):
        compile_model(path, stand_in(tmp_path, "", sleep=600), timeout_s=0.5)


def test_a_compiler_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "edgetpu_compiler"
    broken.write_text("no program")
    with pytest.raises(ModelError, match="cannot be run"):
        compile_model(small().write(tmp_path / "net.tflite"), broken, timeout_s=5)


def test_it_is_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    executable = stand_in(tmp_path, "")
    assert find_compiler() == executable


def test_the_kits_compiled_pair_agrees_operator_by_operator(kit: Path) -> None:
    folder = kit / "models" / "coral"
    placement = check_tflite(folder / "movenet_single_pose_lightning_ptq.tflite")
    assert compare_compiled(placement, read_model(folder / "movenet_single_pose_lightning_ptq_edgetpu.tflite")) == []
