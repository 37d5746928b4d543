from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

from typing import Any  # noqa: E402

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from models.convert.rewrite import rewrite  # noqa: E402
from models.convert.rewrite_deconv import SubPixelConv  # noqa: E402
from models.convert.source import ConversionError  # noqa: E402
from models.fastpose.network import VARIANTS, FastPose  # noqa: E402
from models.fastpose.resnet import Bottleneck, SqueezeExcitation  # noqa: E402
from models.fastpose.simplebaseline import TINY, Deconv, SimpleBaseline, SimpleBaselineConfig  # noqa: E402
from tests.models.fastpose.random_weights import assert_equal, with_random_weights  # noqa: E402

FOREIGN = (nn.ConvTranspose2d, nn.PixelShuffle, nn.PixelUnshuffle)


def assert_rewritten(network: Any, x: Any, target: Any = "edgetpu") -> tuple[Any, list[str]]:
    """Rewrite, check that it is equal, alone and in a batch, and that nothing foreign is left."""
    rewritten, changes = rewrite(network, target, x[:1])
    assert_equal(rewritten(x), network(x))
    if target in ("edgetpu", "tflite"):
        assert not [name for name, module in rewritten.named_modules() if isinstance(module, FOREIGN)]
    return rewritten, [str(change) for change in changes]


def macs(network: Any, x: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops() // 2


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


class Excited(nn.Module):
    """A residual sum and an excitation between the layers that make a shuffled tensor; `way` is what else happens to it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.se = SqueezeExcitation(8)
        self.attention = nn.Conv2d(8, 1, 1)
        self.up, self.out, self.beside = nn.PixelShuffle(2), nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(8, 3, 2, 2)

    def forward(self, x: Any) -> Any:
        start = self.first(x)
        y = torch.relu(self.norm(start))
        y = self.se(self.second(y)) + y
        y += start * 2
        if self.way == "depthwise":
            y = functional.max_pool2d(self.depthwise(y), 1)
        elif self.way == "attention":
            y = y * torch.sigmoid(self.attention(y))
        elif self.way == "grouped":
            y = self.grouped(y)
        elif self.way == "concatenated":
            y = torch.cat([y[:, 4:], y[:, :4]], 1)
        elif self.way == "mixed":
            y = y + torch.arange(8.0).reshape(1, 8, 1, 1)
        elif self.way == "chosen":
            y = y[:, [1, 0, 2, 3, 4, 5, 6, 7]]
        elif self.way == "normed":
            y = functional.layer_norm(y.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2)
        z = self.out(self.up(y)) + self.beside(y)
        return (z, y) if self.way == "returned" else z


@pytest.mark.parametrize("way", ["plain", "depthwise", "attention"])
def test_channels_are_permuted_through_sums_excitations_and_all_other_readers(way: str) -> None:
    network = with_random_weights(Excited(way))
    x = torch.randn(2, 3, 7, 9)
    rewritten, changes = assert_rewritten(network, x)
    assert "the channels of the layers before it are permuted for that" in str(changes)
    assert macs(rewritten, x) == macs(network, x)  # a 2 x 2 deconvolution of stride 2 has no border to pay for


@pytest.mark.parametrize("way", ["grouped", "concatenated", "mixed", "chosen", "normed"])
def test_where_the_order_of_channels_matters_a_convolution_permutes_them(way: str) -> None:
    network = with_random_weights(Excited(way))
    x = torch.randn(2, 3, 7, 9)
    rewritten, changes = assert_rewritten(network, x)
    assert "a 1 x 1 convolution 8 -> 8 permutes the channels for that" in str(changes)
    assert macs(rewritten, x) == macs(network, x) + 2 * 8 * 8 * 5 * 7


def test_a_tensor_that_is_returned_keeps_its_order() -> None:
    network = with_random_weights(Excited("returned"))
    x = torch.randn(2, 3, 7, 9)
    rewritten, _ = rewrite(network, "edgetpu", x)
    for found, expected in zip(rewritten(x), network(x), strict=True):
        assert_equal(found, expected)


def test_the_networks_own_input_keeps_its_order() -> None:
    network = with_random_weights(nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(2, 3, 1)))
    _, changes = assert_rewritten(network, torch.randn(2, 8, 3, 4))
    assert "a 1 x 1 convolution 8 -> 8" in changes[0]


def test_a_convolution_that_is_used_twice_is_not_permuted() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.up, self.out = nn.Conv2d(8, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 3, 1)

        def forward(self, x: Any) -> Any:
            return self.out(self.up(self.conv(self.conv(x))))

    _, changes = assert_rewritten(with_random_weights(Twice()), torch.randn(2, 8, 3, 4))
    assert "a 1 x 1 convolution 8 -> 8" in changes[0]


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


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d((2, 3), 1, (1, 0)), nn.MaxPool2d(5, 1, 2, dilation=2)])
@pytest.mark.parametrize("before", [nn.ReLU(), nn.Sequential(nn.ReLU6(), nn.MaxPool2d(2)), nn.Sigmoid()])
def test_pooling_pads_with_zeros_behind_what_is_never_negative(pool: nn.MaxPool2d, before: nn.Module) -> None:
    network = with_random_weights(nn.Sequential(nn.Conv2d(3, 4, 3), before, pool))
    rewritten, changes = assert_rewritten(network, torch.randn(2, 3, 19, 17))
    assert changes == ["2: max pooling that pads: zeros as padding, then pooling"]
    assert not [module for module in rewritten.modules() if isinstance(module, nn.MaxPool2d) and module.padding != 0]


class Pooling(nn.Module):
    """Functional pooling of a sum, and of what an importer padded by itself; a `factor` below -1 makes both negative."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.conv = factor, nn.Conv2d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.conv(x))
        y = functional.max_pool2d(x * self.factor + x, 3, 1, 1)
        padded = functional.pad(torch.cat([y, x], 1), [0, 1, 1, 0], value=-torch.inf)
        return functional.max_pool2d(padded, (2, 2), (1, 1), (0, 0), dilation=(1, 1))


def test_functional_pooling_pads_with_zeros_too() -> None:
    x = torch.randn(2, 3, 9, 8)
    _, changes = assert_rewritten(with_random_weights(Pooling(2)), x)
    assert changes == [
        "pad: padding of a max pooling: zeros", "max_pool2d: max pooling that pads: zeros as padding, then pooling",
    ]  # fmt: skip
    assert assert_rewritten(with_random_weights(Pooling(-3)), x)[1] == []


@pytest.mark.parametrize("before", [nn.Identity(), nn.LeakyReLU(), nn.BatchNorm2d(4)])
def test_pooling_of_what_may_be_negative_stays(before: nn.Module) -> None:
    network = with_random_weights(nn.Sequential(nn.Conv2d(3, 4, 3), before, nn.Identity(), nn.MaxPool2d(3, 2, 1)))
    _, changes = assert_rewritten(network, torch.randn(2, 3, 13, 11) - 5)
    assert not [change for change in changes if "pooling" in change]


def test_pooling_that_rounds_sizes_up_stays() -> None:
    network = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True))
    assert assert_rewritten(network, torch.randn(2, 3, 8, 7))[1] == []


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
