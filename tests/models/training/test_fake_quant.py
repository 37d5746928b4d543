"""A network that rounds as int8 does, and is itself again afterwards."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.tinydet.network import CONFIGS, TinyDet  # noqa: E402
from models.tinypose.network import TinyPose, TinyPoseConfig  # noqa: E402
from models.training.fake_quant import (  # noqa: E402
    FakeActivation,
    FakeWeights,
    fake_quantised,
    ranges,
    real,
)

NETWORKS = {
    "heatmaps": lambda: TinyPose(TinyPoseConfig("t", 48, 64, "heatmaps", neck=8)),
    "offsets": lambda: TinyPose(TinyPoseConfig("t", 48, 64, "offsets", neck=8)),
    "tinydet": lambda: TinyDet(CONFIGS["tinydet-s"]),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


def test_weights_have_255_levels_about_0_for_each_channel():
    weight = torch.randn(3, 4, 3, 3) * torch.tensor([1.0, 10.0, 0.1])[:, None, None, None]
    rounded = FakeWeights()(weight)
    for mine, before in zip(rounded, weight, strict=True):
        step = before.abs().max() / 127
        assert torch.allclose((mine / step).round() * step, mine, atol=1e-6)
        assert (mine - before).abs().max() <= step / 2 + 1e-6
    assert rounded.unique().numel() <= 3 * 255


def test_activations_keep_0_and_are_cut_where_the_range_ends():
    quantiser = FakeActivation()
    quantiser(torch.tensor([-1.0, 3.0]))
    quantiser.learns = False
    found = quantiser(torch.tensor([-5.0, 0.0, 0.5, 9.0]))
    assert found[1] == 0
    assert found[[0, 3]].tolist() == pytest.approx([-1.0, 3.0], abs=4 / 255)
    assert float(found[2]) == pytest.approx(0.5, abs=2 / 255)


def test_a_range_follows_what_it_sees_until_it_is_told_to_stay():
    quantiser = FakeActivation()
    quantiser(torch.tensor([0.0, 1.0]))
    quantiser(torch.tensor([0.0, 2.0]))
    assert float(quantiser.high) == pytest.approx(1.05)
    quantiser.learns = False
    quantiser(torch.tensor([0.0, 100.0]))
    assert float(quantiser.high) == pytest.approx(1.05)


def test_the_gradient_passes_rounding_inside_the_range_only():
    quantiser = FakeActivation()
    quantiser(torch.tensor([0.0, 1.0]))
    quantiser.learns = False
    x = torch.tensor([0.3, 0.7, 2.0], requires_grad=True)
    quantiser(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0]


def test_each_layer_and_each_sum_is_rounded_once_with_its_relu(network):
    rounding = fake_quantised(network)
    made = {str(node.target) for node in rounding.graph.nodes if node.op == "call_module"}
    layers = [name for name in made if not name.startswith("range_")]
    assert len(ranges(rounding)) > len(layers)  # those of sums and the input come on top
    for node in rounding.graph.nodes:
        if node.target in (torch.nn.functional.relu6, torch.nn.functional.relu):
            assert not str(node.args[0].target).startswith("range_"), "rounded between a layer and its fused ReLU"


def test_the_rounding_network_is_near_the_real_one_but_not_the_same(network):
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        right = network(x)
        found = fake_quantised(network)(x)
    for a, b in zip(right, found, strict=True):
        assert 0 < (a - b).std() < a.std()


def test_afterwards_the_network_is_itself_again_with_what_it_learned(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rounding = fake_quantised(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    sum(output.square().mean() for output in rounding(torch.randn(1, 3, 96, 96))).backward()
    optimiser.step()
    after = real(network).state_dict()
    assert after.keys() == before.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    weight = after["trunk.layers.1.layers.0.weight"]
    assert weight[0].unique().numel() == weight[0].numel(), "the weights stayed rounded"
