from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from models.data.synthetic.__main__ import main

ABSENT = [name for name in ("torch", "anny") if importlib.util.find_spec(name) is None]


@pytest.mark.skipif(not ABSENT, reason="anny and PyTorch are here; what is said without them is tested where they are not")
def test_without_the_body_model_the_command_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "1", "--out", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert f"error: no {ABSENT[0]}" in said
    assert "pip install torch" in said
    assert "anny" in said
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--count", "1", "--seed", "-1"], ["--count", "1", "--processes", "0"]])
def test_numbers_that_make_no_sense_are_refused(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*wrong, "--out", str(tmp_path / "new")]) == 2
    assert "must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_without_photographs_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["--count", "1", "--out", str(tmp_path / "new"), "--backgrounds", str(tmp_path / "empty")]) == 2
    assert "has no pictures" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_an_unknown_motion_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--count", "1", "--out", str(tmp_path), "--motion", "fly"])
    assert "invalid choice: 'fly'" in capsys.readouterr().err
