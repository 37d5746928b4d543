"""Weights to go on from: float16 in NumPy's format, read without PyTorch, and never anything that could run."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from common.artifact import read_artifact
from common.manifest import ModelError
from common.model_store import sha256_of
from models.ship.weights import load_weights, save_weights, training_weights
from tests.models.ship.folders import artifact


class Tensor:
    def __init__(self, values):
        self.values = np.asarray(values)

    def numpy(self):
        return self.values


def test_weights_come_back_as_float32_with_the_configuration(tmp_path):
    state = {"a.weight": Tensor(np.float32([[1.5, -2.25]])), "steps": Tensor(np.int64(7))}
    save_weights(tmp_path / "w.npz", state, {"name": "run", "neck": 64})
    found, config = load_weights(tmp_path / "w.npz")
    assert found["a.weight"].dtype == np.float32
    assert found["a.weight"].tolist() == [[1.5, -2.25]]
    assert found["steps"] == 7
    assert config == {"name": "run", "neck": 64}


def test_float16_takes_half_the_room(tmp_path):
    save_weights(tmp_path / "w.npz", {"w": Tensor(np.zeros(10_000, np.float32))}, {})
    assert (tmp_path / "w.npz").stat().st_size < 21_000


def test_numbers_beyond_float16_are_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=r"head\.bias of the network reaches 1e\+06"):
        save_weights(tmp_path / "w.npz", {"head.bias": Tensor(np.float32([1e6]))}, {})
    assert not (tmp_path / "w.npz").exists()


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "b.npz", w=np.zeros(3))
    (tmp_path / "c.npz").write_bytes(pickle.dumps({"w": 1}))
    for name in ("a.npz", "b.npz", "c.npz", "d.npz"):
        with pytest.raises(ModelError, match=f"{name} holds no weights of a run"):
            load_weights(tmp_path / name)


def test_the_artifact_says_where_they_are_and_what_they_must_be(tmp_path):
    folder = artifact(tmp_path / "tinypose-t", converted=False)
    with pytest.raises(ModelError, match="has no weights to go on from"):
        training_weights(read_artifact(folder))
    save_weights(folder / "weights.npz", {"w": Tensor(np.zeros(3, np.float32))}, {})
    size, digest = (folder / "weights.npz").stat().st_size, sha256_of(folder / "weights.npz")
    with (folder / "manifest.toml").open("a") as file:
        file.write(
            f'\n[training]\npath = "weights.npz"\nbytes = {size}\nsha256 = "{digest}"\n\n[[training.source]]\nkind = "file"\n'
        )
    assert training_weights(read_artifact(folder)) == folder / "weights.npz"
    (folder / "weights.npz").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="wrong content"):
        training_weights(read_artifact(folder))
