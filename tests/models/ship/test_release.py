"""What ships, in which order, and what takes whose place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from common.artifact import read_artifact, verify  # noqa: E402
from common.manifest import ModelError  # noqa: E402
from models.ship import release  # noqa: E402
from models.ship.run import refuse_loss  # noqa: E402
from models.ship.weights import training_weights  # noqa: E402
from tests.models.ship.folders import artifact, detect_row, pose_row  # noqa: E402


def source(parameters: int):
    return SimpleNamespace(module=torch.nn.Linear(parameters, 1, bias=False))


def test_files_beyond_4_mb_get_their_weights_as_float16():
    assert release.formats_for(source(1_000_000)) == ("onnx", "tflite", "tflite-int8")
    assert release.formats_for(source(1_000_001)) == ("onnx-float16", "tflite-float16", "tflite-int8")


def test_int8_comes_first_and_training_weights_get_their_table(tmp_path):
    folder = artifact(tmp_path / "tinypose-t")
    text = (folder / "manifest.toml").read_text()
    head, int8, onnx = text.split("\n[[file]]\n")
    onnx, measured = onnx.split("\n[[measured]]\n")
    (folder / "manifest.toml").write_text("\n[[file]]\n".join([head, onnx, int8]) + f"\n[[measured]]\n{measured}")
    (folder / release.FILE).write_bytes(b"weights")
    release._order(folder)
    found = read_artifact(folder)
    assert [file.precision for file in found.manifest.file] == ["int8", "float16"]
    assert [row.metric for row in found.manifest.measured] == ["OKS to reference"]
    assert verify(found) == 2
    assert training_weights(found).read_bytes() == b"weights"


def test_an_artifact_takes_the_place_of_its_predecessor_and_nothing_of_that_stays(tmp_path):
    old, new = artifact(tmp_path / "zoo" / "tinypose-t"), artifact(tmp_path / "new", converted=False)
    (old / "left.over").write_bytes(b"")
    release.install(new, old)
    assert not (old / "left.over").exists()
    assert read_artifact(old).manifest.measured == ()
    assert [path.name for path in old.parent.iterdir()] == ["tinypose-t"]


def test_another_folder_is_never_replaced(tmp_path):
    new = artifact(tmp_path / "new")
    (tmp_path / "photos").mkdir()
    other = artifact(tmp_path / "other")
    (other / "manifest.toml").write_text((other / "manifest.toml").read_text().replace("tinypose-t", "tinypose-x"))
    for folder in (tmp_path / "photos", other):
        with pytest.raises(ModelError, match=r"is not an earlier tinypose-t; give another --out"):
            release.install(new, folder)
        assert folder.is_dir()


def test_int8_that_loses_too_much_is_refused_with_the_way_out():
    rows = {"t": pose_row("int8", oks=0.58), "t:float16": pose_row("float16", oks=0.6), "other": pose_row("float32", oks=0.9)}
    with pytest.raises(ModelError, match=r"t: int8 loses 0.0200 oks, 0.01 is allowed; run `python -m models.ship.qat`"):
        refuse_loss(rows, "t")
    refuse_loss(rows, "t", 0.03)
    refuse_loss(rows | {"t": pose_row("int8", oks=0.595)}, "t")
    with pytest.raises(ModelError, match=r"int8 loses 0\.1000 ap50"):
        refuse_loss({"d": detect_row("float32"), "d:int8": detect_row("int8", ap50=0.5)}, "d")


def test_an_operator_that_falls_off_the_edge_tpu_stops_the_release(tmp_path, monkeypatch):
    off = SimpleNamespace(kind="TRANSPOSE", name="t", reason="too large", fix="keep channels last")
    monkeypatch.setattr(release, "check_tflite", lambda path: SimpleNamespace(fully_placed=False, off=(off,)))
    file = read_artifact(artifact(tmp_path / "tinypose-t")).manifest.file[0]
    with pytest.raises(release.ConversionError, match="TRANSPOSE t would not run on an Edge TPU: too large; keep"):
        release._check_devices(tmp_path / "tinypose-t" / file.path, file)
