"""The network fits the decoder, holds nothing that int8 accelerators cannot do, and starts from ImageNet."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")

from torch import nn  # noqa: E402

from models.tinydet.network import (  # noqa: E402
    CONFIGS,
    OUTPUTS,
    PRIOR_LOGIT,
    START_CELLS,
    STRIDES,
    Distances,
    TinyDet,
    TinyDetConfig,
    boxes_of,
    cells,
    flat,
    settle_new,
    shortened,
    start_from,
    start_from_imagenet,
)
from models.tinypose.network import Trunk, deploy, layers, parameters  # noqa: E402
from services.detector.decode import DECODERS  # noqa: E402

SMALL = TinyDetConfig("small", 96, 64, neck=16, tower=1, blocks=(1, 1, 1, 1, 1, 1))


@pytest.fixture(scope="module")
def small() -> TinyDet:
    torch.manual_seed(1)
    network = TinyDet(SMALL)
    settle_new(network, torch.randn(4, 3, 64, 96))
    return network.eval()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=lambda config: config.name)
def test_outputs_are_logits_and_distances_of_each_stride(config: TinyDetConfig) -> None:
    with torch.no_grad():
        outputs = TinyDet(config).eval()(torch.zeros(1, 3, config.height_px, config.width_px))
    assert len(outputs) == len(OUTPUTS)
    for i, stride in enumerate(STRIDES):
        grid = (config.height_px // stride, config.width_px // stride)
        assert outputs[2 * i].shape == (1, 1, *grid)
        assert outputs[2 * i + 1].shape == (1, 4, *grid)
        assert (outputs[2 * i + 1] >= 0).all()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=lambda config: config.name)
def test_inner_channels_are_multiples_of_8_and_weights_fit_an_edge_tpu(config: TinyDetConfig) -> None:
    network = TinyDet(config)
    last = {*network.head.logits.values(), *network.head.distances.values()}
    assert all(layer.weight.shape[0] % 8 == 0 for layer in layers(network) if layer not in last)
    assert parameters(network) < 8e6 / 2


def test_deployed_it_computes_the_same_with_plain_layers_only(small: TinyDet) -> None:
    x = torch.randn(1, 3, 64, 96)
    plain = TinyDet(SMALL)
    plain.load_state_dict(small.state_dict())
    deploy(plain)
    with torch.no_grad():
        for mine, theirs in zip(small(x), plain(x), strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-3)
    leaves = {type(m) for m in plain.modules() if not list(m.children())}
    assert leaves <= {nn.Conv2d, nn.ReLU6, nn.ReLU, nn.Sequential}


def test_distances_are_in_pixels_and_not_negative() -> None:
    layer = Distances(8, 16)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([2.0, -1.0, 0.5, 0.0]))
        assert layer(torch.zeros(1, 8, 1, 1)).flatten().tolist() == [32.0, 0.0, 8.0, 0.0]


def test_boxes_in_training_are_those_that_the_service_decodes(small: TinyDet) -> None:
    with torch.no_grad():
        outputs = small(torch.randn(1, 3, 64, 96))
    logits, distances = flat(outputs)
    points, strides = cells(SMALL)
    mine = boxes_of(points, distances)[0]
    named = {name: output.numpy() for name, output in zip(OUTPUTS, outputs, strict=True)}
    boxes, scores = DECODERS["rtmdet"](named, (96, 64))
    np.testing.assert_allclose(mine.numpy(), boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(logits[0].sigmoid().numpy(), scores, rtol=1e-5)
    assert len(points) == len(strides) == len(boxes)


def test_a_settled_network_says_one_percent_everywhere_and_boxes_of_six_cells(small: TinyDet) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        logits, distances = flat(small(torch.randn(4, 3, 64, 96)))
    assert logits.mean().item() == pytest.approx(PRIOR_LOGIT, abs=0.2)
    _, strides = cells(SMALL)
    assert (distances / strides[:, None]).mean().item() == pytest.approx(START_CELLS, abs=0.3)


def test_a_shortened_trunk_keeps_strides_and_taps() -> None:
    trunk = shortened(Trunk(), (1, 1, 2, 2, 2, 2))
    taps = trunk(torch.zeros(1, 3, 64, 64))
    assert {stride: tuple(tap.shape[1:]) for stride, tap in taps.items()} == {
        4: (24, 16, 16), 8: (32, 8, 8), 16: (96, 4, 4), 32: (160, 2, 2)
    }  # fmt: skip


@pytest.mark.parametrize("blocks", [(1, 2, 3, 4, 3), (1, 2, 3, 4, 3, 0), (1, 2, 3, 4, 3, 4)])
def test_more_blocks_than_there_are_or_none_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give 1 to"):
        shortened(Trunk(), blocks)


def test_a_small_network_starts_from_a_large_one_block_by_block() -> None:
    large = TinyDet(TinyDetConfig("large", 96, 64, neck=16, tower=2))
    network = TinyDet(SMALL)
    assert start_from(network, large) == len(network.state_dict())
    torch.testing.assert_close(network.trunk.layers[4].layers[0].weight, large.trunk.layers[7].layers[0].weight)
    torch.testing.assert_close(network.head.see[0].layers[0].weight, large.head.see[0].layers[0].weight)
    assert len(large.trunk.layers) == 17  # the donor stays as it was


def test_layers_of_other_shapes_start_anew() -> None:
    large = TinyDet(TinyDetConfig("large", 96, 64, neck=24))
    network = TinyDet(SMALL)
    before = network.up.blocks["16"].layers[1].weight.clone()
    assert start_from(network, large) < len(network.state_dict())
    torch.testing.assert_close(network.up.blocks["16"].layers[1].weight, before)


def test_frozen_blocks_get_no_gradient_and_the_others_do() -> None:
    network = TinyDet(SMALL, frozen=2).train()
    sum(output.sum() for output in network(torch.randn(1, 3, 64, 96))).backward()
    moved = [any(p.grad is not None for p in layer.parameters()) for layer in network.trunk.layers]
    assert moved == [False, False] + [True] * (len(moved) - 2)


def test_it_starts_from_imagenet_without_the_blocks_left_out() -> None:
    whole, short = TinyDet(CONFIGS["tinydet-m"]), TinyDet(SMALL)
    start_from_imagenet(whole)
    start_from_imagenet(short)
    # The first block of stride 16 is the 8th of the whole trunk and the 5th of the short one.
    torch.testing.assert_close(short.trunk.layers[4].layers[0].weight, whole.trunk.layers[7].layers[0].weight)
