from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from typing import Any  # noqa: E402

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.convert.rewrite import rewrite  # noqa: E402
from models.convert.rewrite_deconv import SubPixelConv  # noqa: E402
from models.convert.source import ConversionError  # noqa: E402
from models.fastpose.network import VARIANTS, FastPose  # noqa: E402
from models.fastpose.resnet import Bottleneck  # noqa: E402
from models.fastpose.simplebaseline import TINY, Deconv, SimpleBaseline, SimpleBaselineConfig  # noqa: E402
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402
from tests.models.fastpose.rewritten import FOREIGN, assert_rewritten, macs  # noqa: E402


@pytest.mark.parametrize("target", ["edgetpu", "tflite", "onnx", "tensorrt"])
def test_simple_baseline_stays_equal_on_every_target(target: Any) -> None:
    network = with_random_weights(SimpleBaseline(TINY))
    rewritten, changes = assert_rewritten(network, torch.randn(2, 3, 64, 96), target)
    assert not [name for name, module in rewritten.named_modules() if isinstance(module, nn.BatchNorm2d)]
    deconvs = [change for change in changes if "transposed" in change]
    assert deconvs == ([] if target in ("onnx", "tensorrt") else [
        "deconv_layers.0: transposed convolution 64 -> 16, 4 x 4, stride 2 x 2: convolution, activation, depth to space, crop",
        "deconv_layers.3: transposed convolution 16 -> 16, 4 x 4, stride 2 x 2: convolution, activation, depth to space, crop",
        "deconv_layers.6: transposed convolution 16 -> 16, 4 x 4, stride 2 x 2: convolution, activation, depth to space, crop",
    ])  # fmt: skip
    assert len([change for change in changes if "batch norm" in change]) == 15


@pytest.mark.parametrize(("kernel", "bias"), [(2, True), (3, False), (3, True), (4, True)])
def test_simple_baseline_with_other_deconvolutions(kernel: int, bias: bool) -> None:
    config = SimpleBaselineConfig((1, 1, 1, 1), bottleneck=True, width=4, deconvs=(Deconv(8, kernel, bias), Deconv(6, kernel)))
    assert_rewritten(with_random_weights(SimpleBaseline(config)), torch.randn(2, 3, 64, 32))


def test_fastpose_18_stays_equal_at_no_cost() -> None:
    network = with_random_weights(FastPose(VARIANTS["fast_res18_256x192"]))
    x = torch.randn(2, 3, 64, 96)
    rewritten, changes = assert_rewritten(network, x)
    shuffles = [change for change in changes if "pixel shuffle" in change]
    assert [change.split(":")[0] for change in shuffles] == ["suffle1", "duc1.pixel_shuffle", "duc2.pixel_shuffle"]
    assert all(change.endswith("the channels of the layers before it are permuted for that") for change in shuffles)
    assert macs(rewritten, x) == macs(network, x)


def small_duc() -> Any:
    """FastPose's 421 head with the unshuffling backbone, on few channels."""
    torch.manual_seed(0)
    block = Bottleneck(8, 4, 2, "shuffle", resized=True)
    again = Bottleneck(16, 4, 1, "shuffle", resized=False)
    up = [nn.PixelShuffle(2), nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.PixelShuffle(2)]
    return with_random_weights(nn.Sequential(nn.Conv2d(3, 8, 3), block, again, *up, nn.Conv2d(2, 5, 1)))


def test_unshuffling_bottlenecks_and_the_421_head_stay_equal_at_no_cost() -> None:
    network, x = small_duc(), torch.randn(2, 3, 18, 14)
    rewritten, changes = assert_rewritten(network, x)
    assert "1.conv2.0: pixel unshuffle by 2: part of 1.conv2.1, now with stride 2" in changes
    assert not [change for change in changes if "1 x 1 convolution" in change]
    assert macs(rewritten, x) == macs(network, x)


def test_the_given_network_is_not_touched() -> None:
    network = small_duc().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rewrite(network, "edgetpu", torch.randn(1, 3, 18, 14))
    assert network.training
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_rewritten_network_is_not_rewritten_again() -> None:
    x = torch.randn(1, 3, 18, 14)
    once, _ = rewrite(small_duc(), "edgetpu", x)
    twice, changes = rewrite(once, "edgetpu", x)
    assert changes == ()
    assert_equal(twice(x), once(x))


def test_one_shuffle_module_may_be_used_at_two_places() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Conv2d(3, 16, 1), nn.Conv2d(4, 8, 1), nn.Conv2d(2, 3, 1)
            self.up = nn.PixelShuffle(2)

        def forward(self, x: Any) -> Any:
            x = self.up(self.one(x))
            return self.out(self.up(torch.relu(self.two(x))))

    _, changes = assert_rewritten(with_random_weights(Shared()), torch.randn(2, 3, 4, 5))
    assert [change.split(":")[0] for change in changes] == ["up", "up"]


def test_functional_shuffles_are_rewritten() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 18, 1), nn.Conv2d(8, 3, 3, 1, 1)

        def forward(self, x: Any) -> Any:
            x = functional.pixel_shuffle(self.one(x), 3)
            return self.two(functional.pixel_unshuffle(functional.relu(x), downscale_factor=2))

    rewritten, changes = assert_rewritten(with_random_weights(Functional()), torch.randn(2, 3, 4, 6))
    assert len(changes) == 2
    called = [node.target for node in rewritten.graph.nodes if node.op == "call_function"]
    assert called == [functional.relu]


class Imported(nn.Module):
    """As importers write networks: functions with weights that are constants, means instead of poolings."""

    def __init__(self) -> None:
        super().__init__()
        for name, shape in (("conv", (8, 3, 3, 3)), ("linear", (8, 8)), ("bias", (8,)), ("deconv", (2, 3, 4, 4))):
            self.register_buffer(name, torch.randn(shape, generator=torch.Generator().manual_seed(1)))

    def forward(self, x: Any) -> Any:
        x = functional.conv2d(x, self.conv, self.bias, padding=1, stride=(2, 1))
        factors = torch.reshape(torch.mean(x, [2, 3], keepdim=True), [-1, 8])
        factors = torch.sigmoid(functional.linear(factors, self.linear, self.bias))
        x = x * torch.unsqueeze(torch.unsqueeze(factors, 2), 3)
        return functional.conv_transpose2d(functional.pixel_shuffle(x, 2), self.deconv, None, 2, 1, groups=1)


def test_layers_that_are_functions_are_rewritten_as_well() -> None:
    x = torch.randn(2, 3, 8, 6)
    rewritten, changes = assert_rewritten(Imported().eval(), x)
    assert [change.split(":")[0] for change in changes] == ["pixel_shuffle", "conv_transpose2d_layer"]
    assert "the channels of the layers before it are permuted" in changes[0]
    assert all("conv" not in str(node.target) for node in rewritten.graph.nodes if node.op == "call_function")


def test_a_deconvolution_whose_weights_are_computed_is_refused_by_name() -> None:
    class Computed(nn.Module):
        def forward(self, x: Any) -> Any:
            return functional.conv_transpose2d(x, x.mean() * torch.ones(3, 2, 4, 4), stride=2)

    with pytest.raises(ConversionError, match="conv_transpose2d: a transposed convolution whose weights are computed"):
        rewrite(Computed(), "edgetpu", torch.randn(1, 3, 4, 4))


def test_an_unshuffle_that_several_read_becomes_a_strided_convolution() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.one, self.two = nn.PixelUnshuffle(2), nn.Conv2d(12, 3, 1), nn.Conv2d(12, 3, 1)

        def forward(self, x: Any) -> Any:
            x = self.down(x)
            return self.one(x) * self.two(x)

    _, changes = assert_rewritten(with_random_weights(Several()), torch.randn(2, 3, 4, 6))
    assert changes == ["down: pixel unshuffle by 2: a strided depthwise convolution"]


def test_an_activation_that_others_do_not_share_moves_into_the_deconvolution() -> None:
    network = with_random_weights(nn.Sequential(nn.ConvTranspose2d(3, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.Sigmoid()))
    rewritten, _ = assert_rewritten(network, torch.randn(2, 3, 4, 5))
    deconv = next(module for module in rewritten.modules() if isinstance(module, SubPixelConv))
    assert isinstance(deconv.activation, nn.ReLU6)


class Untraceable(nn.Module):
    """Asks for a value while it runs, so torch.fx cannot follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.up = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PixelShuffle(2)
        self.deconv, self.down = nn.ConvTranspose2d(2, 4, 4, 2, 1), nn.PixelUnshuffle(2)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.conv(x))
        return self.down(self.deconv(self.up(x))) if x.sum() != 0 else x


def test_networks_that_cannot_be_traced_are_rewritten_module_by_module() -> None:
    network = with_random_weights(Untraceable())
    rewritten, changes = rewrite(network, "edgetpu", torch.randn(1, 3, 6, 6))
    x = torch.randn(2, 3, 9, 6)
    assert_equal(rewritten(x), network(x))
    assert [change.path for change in changes] == ["up", "deconv", "down"]
    assert not [name for name, module in rewritten.named_modules() if isinstance(module, FOREIGN)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["conv", "norm", "relu", "deconv", "up", "down"]), min_size=1, max_size=6), st.integers(0, 99))
def test_any_chain_of_layers_stays_equal(kinds: list[str], seed: int) -> None:
    layers: list[nn.Module] = []
    channels, size = 4, 4
    for kind in kinds:
        if kind == "up" and channels % 4 == 0 and size < 32:
            layers.append(nn.PixelShuffle(2))
            channels, size = channels // 4, size * 2
        elif kind == "down" and size % 2 == 0 and channels < 32:
            layers.append(nn.PixelUnshuffle(2))
            channels, size = channels * 4, size // 2
        elif kind == "conv":
            layers.append(nn.Conv2d(channels, 8, 3, padding=1))
            channels = 8
        elif kind == "deconv" and size < 32:
            layers.append(nn.ConvTranspose2d(channels, 8, 4, 2, 1))
            channels, size = 8, size * 2
        else:
            layers.append(nn.BatchNorm2d(channels) if kind == "norm" else nn.ReLU())
    network = with_random_weights(nn.Sequential(*layers, nn.Identity()), seed)
    x = torch.randn(2, 4, 4, 4)
    rewritten, _ = rewrite(network, "edgetpu", x[:1])
    assert_equal(rewritten(x), network(x))


def test_an_unknown_target_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="target 'npu' is not known; choose one of edgetpu, tflite, onnx, tensorrt"):
        rewrite(nn.Identity(), "npu", torch.zeros(1))  # type: ignore[arg-type]


def test_shuffles_of_other_ranks_are_refused_by_name() -> None:
    network = nn.Sequential(nn.Identity(), nn.PixelShuffle(2))
    with pytest.raises(ConversionError, match=r"1: takes a tensor of shape \(8, 2, 2\); only \(B, C, H, W\) can be rewritten"):
        rewrite(network, "edgetpu", torch.zeros(8, 2, 2))
