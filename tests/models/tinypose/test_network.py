"""The network computes what its comments say, for each head, and as plain layers too."""

from __future__ import annotations

import copy

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from models.tinypose.network import (  # noqa: E402
    HEADS,
    TAPS,
    ConvNorm,
    TinyPose,
    TinyPoseConfig,
    Trunk,
    _StridedDepthwise,
    deploy,
    layers,
    parameters,
    settle,
)

SHAPES = {
    "offsets": [(2, 17, 24, 18), (2, 34, 24, 18)],
    "heatmaps": [(2, 17, 48, 36)],
    "simcc": [(2, 17, 288), (2, 17, 384)],
}


def a_network(head: str, **options: int) -> TinyPose:
    torch.manual_seed(0)
    network = TinyPose(TinyPoseConfig("x", 144, 192, head, 16, **options))  # type: ignore[arg-type]
    settle(network, network, torch.randn(4, 3, 192, 144))
    return network


@pytest.mark.parametrize("head", list(HEADS))
def test_each_head_gives_the_shapes_that_its_docstring_states(head: str) -> None:
    outputs = a_network(head)(torch.randn(2, 3, 192, 144))
    assert [tuple(output.shape) for output in outputs] == SHAPES[head]
    assert len(outputs) == len(HEADS[head].outputs)


@pytest.mark.parametrize("head", list(HEADS))
def test_plain_layers_compute_the_same(head: str) -> None:
    network = a_network(head).eval()
    picture = torch.randn(2, 3, 192, 144)
    plain = deploy(copy.deepcopy(network))
    assert not list(layers(plain))
    for mine, theirs in zip(network(picture), plain(picture), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_the_strided_depthwise_gradient_is_the_one_of_autograd() -> None:
    for rows, columns in ((8, 6), (9, 7)):  # even and odd sides
        x = torch.randn(2, 4, rows, columns, dtype=torch.double, requires_grad=True)
        weight = torch.randn(4, 1, 3, 3, dtype=torch.double, requires_grad=True)
        assert torch.autograd.gradcheck(_StridedDepthwise.apply, (x, weight))


def test_training_and_evaluation_compute_the_same() -> None:
    network = a_network("heatmaps")
    picture = torch.randn(2, 3, 192, 144)
    torch.testing.assert_close(network.train()(picture)[0], network.eval()(picture)[0], rtol=1e-4, atol=1e-4)


def test_the_trunk_gives_the_strides_and_channels_that_the_neck_expects() -> None:
    taps = Trunk()(torch.randn(1, 3, 192, 144))
    assert {stride: x.shape[1] for stride, x in taps.items()} == TAPS
    assert {stride: tuple(x.shape[2:]) for stride, x in taps.items()} == {4: (48, 36), 8: (24, 18), 16: (12, 9), 32: (6, 5)}


def test_frozen_blocks_get_no_gradient_and_the_others_do() -> None:
    network = TinyPose(TinyPoseConfig("x", 48, 64, "heatmaps", 8), frozen=5)
    sum(output.sum() for output in network(torch.randn(2, 3, 64, 48))).backward()
    with_gradient = {i for i, block in enumerate(network.trunk.layers) if any(p.grad is not None for p in block.parameters())}
    assert with_gradient == set(range(5, len(network.trunk.layers)))


def test_settled_layers_start_with_mean_0_and_the_spread_that_was_asked_for() -> None:
    network = a_network("heatmaps")
    picture = torch.randn(4, 3, 192, 144)
    settle(network, network, picture, spread={network.head.heat: 0.05})
    heat = network(picture)[0]
    assert heat.mean().abs() < 1e-4
    assert heat.std().item() == pytest.approx(0.05, rel=0.05)


def test_it_is_made_of_what_an_edge_tpu_runs_and_fits_its_memory() -> None:
    network = TinyPose(TinyPoseConfig("tinypose-m", 192, 256, neck=96))
    assert parameters(network) < 8e6  # bytes in int8
    inner = [layer for layer in layers(network) if layer is not network.head.heat]
    assert all(layer.weight.shape[0] % 8 == 0 for layer in inner)
    kinds = {type(module) for module in deploy(network).modules() if not list(module.children())}
    assert kinds <= {torch.nn.Conv2d, torch.nn.ReLU6}


def test_a_layer_with_a_batch_norms_numbers_computes_convolution_and_batch_norm() -> None:
    conv, norm = torch.nn.Conv2d(8, 16, 3, padding=1, bias=False), torch.nn.BatchNorm2d(16).eval()
    torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    torch.nn.init.normal_(norm.running_mean)
    mine = ConvNorm(8, 16, act=False)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    mine.weight.data, mine.scale.data = conv.weight.data, scale.data
    mine.bias.data = (norm.bias - norm.running_mean * scale).data
    x = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(mine(x), norm(conv(x)), rtol=1e-4, atol=1e-4)
