from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from models.convert.source import ConversionError  # noqa: E402
from models.fastpose.checkpoint import load_fastpose, load_state  # noqa: E402
from tests.models.fastpose import published  # noqa: E402

# ResNet-50 and 18 only: a checkpoint of ResNet-152 has 300 MB. Their names are checked in test_network.
SMALL = ["fast_res50_256x192", "fast_res18_256x192", "fast_421_res50-shuffle_256x192"]


def tensors(table: published.Table, seed: int = 0) -> dict[str, Any]:
    """Random weights under published names."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in table:
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[name] = torch.randn(shape, generator=generator) * 0.05
    return state


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return tensors(published.TABLES["fast_res18_256x192"])


def saved(folder: Path, content: Any) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("variant", SMALL)
def test_a_checkpoint_under_the_published_names_loads_whole_and_its_variant_is_found(variant: str, tmp_path: Path) -> None:
    state = tensors(published.TABLES[variant])
    network, config = load_fastpose(saved(tmp_path, state))
    assert config.name == variant
    loaded = network.state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert not network.training


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_weights_may_lie_beside_the_optimiser(key: str, small: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path, {"epoch": 3, key: small, "optimizer": {"lr": 0.1}})
    assert load_fastpose(path)[1].name == "fast_res18_256x192"


def test_the_prefix_of_data_parallel_training_is_taken_off(small: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path, {f"module.{name}": value for name, value in small.items()})
    assert list(load_state(path)) == list(small)


def test_files_without_counters_of_batches_load(small: dict[str, Any], tmp_path: Path) -> None:
    older = {name: value for name, value in small.items() if not name.endswith("num_batches_tracked")}
    network, _ = load_fastpose(saved(tmp_path, older))
    assert torch.equal(network.conv_out.weight, small["conv_out.weight"])


def test_half_precision_is_widened(small: dict[str, Any], tmp_path: Path) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in small.items()}
    network, _ = load_fastpose(saved(tmp_path, half))
    assert network.conv_out.weight.dtype == torch.float32
    assert network.preact.bn1.running_var.dtype == torch.float32


@pytest.mark.parametrize("keypoints", [26, 136])
def test_halpe_keypoints_are_counted(keypoints: int, tmp_path: Path) -> None:
    state = tensors(published.fastpose(18, keypoints=keypoints))
    network, config = load_fastpose(saved(tmp_path, state))
    assert config.keypoints == keypoints
    assert network.conv_out.out_channels == keypoints


def test_a_wrong_checkpoint_is_refused_with_all_kinds_of_differences(small: dict[str, Any], tmp_path: Path) -> None:
    wrong = {name: value for name, value in small.items() if name != "duc1.bn.bias"}
    wrong["preact.conv1.weight"] = torch.zeros(64, 1, 7, 7)
    wrong["aux.weight"] = torch.zeros(1)
    with pytest.raises(ConversionError) as raised:
        load_fastpose(saved(tmp_path, wrong))
    told = str(raised.value)
    assert "does not fit fast_res18_256x192" in told
    assert "1 missing: duc1.bn.bias;" in told
    assert "1 unexpected: aux.weight;" in told
    assert told.endswith("1 of another shape: preact.conv1.weight (64, 1, 7, 7) instead of (64, 3, 7, 7)")


def test_many_differences_are_counted_and_only_some_are_named(small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"does not fit fast_res50_256x192: \d+ missing: .* and \d+ more; ") as raised:
        load_fastpose(saved(tmp_path, small), "fast_res50_256x192")
    assert len(str(raised.value)) < 1500


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"293 missing: preact\.conv1\.weight, .*; 1 unexpected: fc\.weight"):
        load_fastpose(saved(tmp_path, {"fc.weight": torch.zeros(2, 2)}))


def test_deformable_variants_are_named_and_refused(small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"deformable convolutions \(-dcn\).*fast_res50_256x192"):
        load_fastpose(saved(tmp_path, {**small, "preact.layer2.0.conv2_offset.weight": torch.zeros(18, 128, 3, 3)}))


def test_an_unknown_variant_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"no variant 'fast_res34'; choose one of fast_res50_256x192, "):
        load_fastpose(tmp_path / "any.pth", "fast_res34")


def test_values_that_are_not_finite_are_refused(small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"conv_out\.bias hold values that are not finite"):
        load_fastpose(saved(tmp_path, {**small, "conv_out.bias": torch.full((17,), float("nan"))}))


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_refused_and_not_run(small: dict[str, Any], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = saved(tmp_path, {"state_dict": small, "trap": Trap(mark)})
    with pytest.raises(ConversionError, match=r"and not just tensors, so to load it could run any code; .*state_dict"):
        load_state(path)
    assert not mark.exists()


def broken_files(folder: Path) -> dict[str, Path]:
    whole = saved(folder, {"a": torch.zeros(1000)}).read_bytes()
    contents = {
        "empty": b"",
        "text": b"<!doctype html><title>Sign in</title>",
        "cut": whole[: len(whole) // 2],
        "pickle": pickle.dumps({"a": 1}, protocol=2),
    }
    for name, content in contents.items():
        (folder / f"{name}.pth").write_bytes(content)
    return {name: folder / f"{name}.pth" for name in contents}


@pytest.mark.parametrize("name", ["empty", "text", "cut", "pickle"])
def test_files_that_are_no_checkpoint_are_refused(name: str, tmp_path: Path) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(ConversionError, match=f"{name}.pth: (is no PyTorch checkpoint|no tensors: a)"):
        load_state(path)


@pytest.mark.parametrize(("content", "told"), [([1, 2], "holds a list"), ({}, "holds a dict"), ({"lr": 0.1}, "no tensors: lr")])
def test_checkpoints_without_weights_are_refused(content: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=told):
        load_state(saved(tmp_path, content))
