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


KINDS = {
    "meta": lambda value: value.to("meta"),
    "coo": lambda value: value.to_sparse(),
    "csr": lambda value: value.to_sparse_csr(),
    "complex": lambda value: value.to(torch.complex64),
    "int8": lambda value: value.to(torch.int8),
    "int64": lambda value: value.long(),
    "bool": lambda value: value > 0,
    "float8": lambda value: value.to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("meta", "a.weight lies on the device 'meta', so the file has no values of it"),
        ("coo", r"a.weight is sparse \(sparse_coo\)"),
        ("csr", r"a.weight is sparse \(sparse_csr\)"),
        ("complex", "a.weight holds complex64"),
        ("int8", "a.weight holds int8, which is no weight without its scale"),
        ("int64", "a.weight holds int64"),
        ("bool", "a.weight holds bool"),
        ("float8", "a.weight holds float8_e4m3fn"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_tensors_whose_numbers_are_no_weights_are_refused_by_name(kind: str, told: str, tmp_path: Path) -> None:
    path = saved(tmp_path, {"a.bias": torch.zeros(3), "a.weight": KINDS[kind](torch.eye(3))})
    with pytest.raises(ConversionError, match=rf"weights.pth: {told}.*; weights must be dense floats: save the float32"):
        load_state(path)


def test_integers_are_refused_before_a_network_is_made_of_them(small: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path, {**small, "conv_out.weight": torch.ones_like(small["conv_out.weight"], dtype=torch.int8)})
    with pytest.raises(ConversionError, match=r"conv_out\.weight holds int8"):
        load_fastpose(path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_widths_of_floats_and_whole_counters_are_read(kind: Any, tmp_path: Path) -> None:
    state = load_state(saved(tmp_path, {"a.weight": torch.ones(2, dtype=kind), "a.num_batches_tracked": torch.tensor(7)}))
    assert (state["a.weight"].dtype, int(state["a.num_batches_tracked"])) == (kind, 7)


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
    torch.save({"a": torch.zeros(1000)}, folder / "older.pth", _use_new_zipfile_serialization=False)
    older = (folder / "older.pth").read_bytes()
    contents = {
        "empty": b"",
        "text": b"<!doctype html><title>Sign in</title>",
        "word": b"hello",
        "cut": whole[: len(whole) // 2],
        "cut-at-end": whole[:-10],
        "cut-in-directory": whole[:-30],
        "older-cut-early": older[:30],
        "older-cut": older[: len(older) // 2],
        "pickle": pickle.dumps({"a": 1}, protocol=2),
    }
    for name, content in contents.items():
        (folder / f"{name}.pth").write_bytes(content)
    return {name: folder / f"{name}.pth" for name in contents}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("empty", "it is empty"),
        ("text", "it begins with b'<!doctype html>"),
        ("word", "it begins with b'hello'"),
        ("cut", "(it is cut short|PytorchStreamReader failed .*)"),
        ("cut-at-end", "(it is cut short|PytorchStreamReader failed .*)"),
        ("cut-in-directory", "(it is cut short|PytorchStreamReader failed .*)"),
        ("older-cut-early", "it begins with"),
        ("older-cut", "unexpected EOF"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused_with_what_they_seem_to_be(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=f"{name}.pth: is no PyTorch checkpoint, or a damaged one: {told}"):
        load_state(broken_files(tmp_path)[name])


def test_no_reason_ends_within_a_sentence(tmp_path: Path) -> None:
    """PyTorch's own text has three sentences and 330 characters; a cut at 200 of them told half of the second."""
    for path in broken_files(tmp_path).values():
        with pytest.raises(ConversionError) as raised:
            load_state(path)
        assert "This is an" not in str(raised.value)
        assert not str(raised.value).endswith(".")


def test_a_file_that_cannot_be_opened_is_told_as_the_system_tells_it(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"gone\.pth: .*No such file"):
        load_state(tmp_path / "gone.pth")


@pytest.mark.parametrize(("content", "told"), [([1, 2], "holds a list"), ({}, "holds a dict"), ({"lr": 0.1}, "no tensors: lr")])
def test_checkpoints_without_weights_are_refused(content: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=told):
        load_state(saved(tmp_path, content))
