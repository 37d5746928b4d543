from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from models.convert.quiet import quiet  # noqa: E402
from models.convert.ranges import gather, quantise  # noqa: E402
from models.convert.source import ConversionError  # noqa: E402
from models.convert.to_tflite import float_graph  # noqa: E402
from tests.models.convert.networks import source  # noqa: E402


def test_extremes_are_gathered_over_all_pictures_and_in_the_mean():
    seen = {"min": np.array([-1.0]), "max": np.array([1.0])}
    for low, high in ((-3.0, 2.0), (-2.0, 9.0)):
        seen = gather(seen, {"min": np.array([low]), "max": np.array([high])})
    assert (seen["min"], seen["max"]) == (-3.0, 9.0)
    assert (seen["mean_min"], seen["mean_max"]) == (pytest.approx(-2.0), pytest.approx(4.0))


class Spiky(torch.nn.Module):
    """An activation that a bright corner drives a hundred times higher than all else; no output depends on that corner."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, 1, 1)
        self.second = torch.nn.Conv2d(4, 17, 8, 4, 2)
        torch.manual_seed(0)
        torch.nn.init.normal_(self.first.weight, 0, 0.2)
        torch.nn.init.normal_(self.second.weight, 0, 0.1)

    def forward(self, x):
        corner = torch.zeros(1, 1, 128, 96)
        corner[..., :2, :2] = 1
        spiky = self.first(x) * (1 + 100 * corner)
        return self.second(torch.relu(spiky))[..., 1:, 1:]


def pictures(count: int) -> list[np.ndarray]:
    """Coloured squares; the corner is grey, and white in one of eight."""
    rng = np.random.default_rng(0)
    made = [np.kron(rng.integers(0, 255, (8, 6, 3)), np.ones((16, 16, 1))).astype(np.uint8) for _ in range(count)]
    for i, picture in enumerate(made):
        picture[:4, :4] = 255 if i % 8 == 0 else 116
    return made


def test_outliers_do_not_set_the_ranges_when_the_outputs_are_better_without_them():
    graph, _ = float_graph(source(Spiky()))
    with quiet("quantising"):
        found = quantise(graph, pictures(16), 1)
    assert found.share < 1.0
    assert found.noise < 0.2
    assert "mean extremes" in str(found)


class PaddedPool(torch.nn.Module):
    """A max pool that pads with -inf and cannot be rewritten, as its inputs may be negative."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, 2, 1)
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        self.second = torch.nn.Conv2d(4, 17, 1)

    def forward(self, x):
        return self.second(self.pool(self.first(x)))


def test_a_tensor_that_reaches_infinity_is_named_before_it_ends_the_interpreter():
    graph, _ = float_graph(source(PaddedPool()))
    with pytest.raises(ConversionError, match=r"tensor '.+' reaches infinity or NaN .* max pool padded with -inf"):
        quantise(graph, pictures(4), 1)
