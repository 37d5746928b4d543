"""The estimates of memory and latency, against the one table that Google publishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.edgetpu.estimate import BUSES, FACTOR, HOSTS, MIB, ROOM_BYTES, Load, estimate
from models.edgetpu.placement import check_tflite
from tests.models.edgetpu.build import Net

# coral.ai/docs/edgetpu/benchmarks, desktop CPU + USB Accelerator, ms. MACs (G) and parameters (M) as their papers give them:
# of these ImageNet networks at the input size that the table names.
PUBLISHED = {
    "MobileNet v1": (0.569, 4.2, 224, 2.4),
    "MobileNet v2": (0.300, 3.5, 224, 2.6),
    "SqueezeNet": (0.86, 1.25, 224, 2.1),
    "Inception v1": (1.5, 6.6, 224, 3.4),
    "EfficientNet-EdgeTpu-S": (2.35, 5.4, 224, 5.1),
    "EfficientNet-EdgeTpu-M": (3.7, 6.9, 240, 8.7),
    "EfficientNet-EdgeTpu-L": (9.65, 10.6, 300, 25.3),
    "DenseNet": (2.87, 8.0, 224, 20.0),
    "ResNet-50 V1": (7.3, 25.6, 299, 49.0),
    "ResNet-152 V2": (20.2, 60.4, 299, 128.0),
    "Inception v4": (12.3, 42.7, 299, 85.0),
    "Inception-ResNet V2": (13.2, 55.8, 299, 57.0),
    "VGG16": (15.5, 138.4, 224, 296.0),
    "VGG19": (19.6, 143.7, 224, 308.0),
}


def published_load(gmacs: float, mparams: float, size: int) -> Load:
    streamed = max(0, int(mparams * 1e6) - sum(ROOM_BYTES) // 2)
    return Load(conv_macs=int(gmacs * 1e9), streamed_bytes=streamed, transferred_bytes=size * size * 3 + 1000, starts=1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_latency_lies_in_the_bracket(name: str) -> None:
    gmacs, mparams, size, measured_ms = PUBLISHED[name]
    found = estimate(published_load(gmacs, mparams, size))
    assert found.low_ms <= measured_ms <= found.high_ms


def test_most_published_latencies_are_met_within_a_third() -> None:
    rows = [(estimate(published_load(*row[:3])).total_ms, row[3]) for row in PUBLISHED.values()]
    close = sum(abs(found - measured) <= measured / 3 for found, measured in rows)
    assert close >= 11, rows


def test_the_parts_of_an_estimate_add_up() -> None:
    load = Load(1_000_000_000, 60_000_000, 8_000_000, 48_000_000, 480_000, 2, 35_000_000, 2_000_000)
    found = estimate(load, BUSES["usb3"], HOSTS["x86"])
    assert found.device_ms == pytest.approx(1000 / 600 + 1 + 1)
    assert found.streaming_ms == pytest.approx(100)
    assert found.transfer_ms == pytest.approx(1)
    assert found.start_ms == pytest.approx(2)
    assert found.total_ms == pytest.approx(found.device_ms + 103 + found.host_ms)
    assert (found.low_ms, found.high_ms) == (found.total_ms / FACTOR, found.total_ms * FACTOR)


def test_a_slower_host_and_bus_cost_time() -> None:
    load = Load(host_macs=10**8, transferred_bytes=10**6, starts=1)
    fast, slow = estimate(load, BUSES["usb3"], HOSTS["x86"]), estimate(load, BUSES["pcie"], HOSTS["a53"])
    assert slow.host_ms == pytest.approx(fast.host_ms * 164 / 53)
    assert slow.transfer_ms > fast.transfer_ms


def test_parameters_beyond_the_room_on_the_chip_are_streamed(tmp_path: Path) -> None:
    """A fully connected layer of 3,000 x 3,000 holds 9 MB: compilers report 6.1 to 7.7 MiB of room."""
    net = Net()
    net.dense(net.input([1, 3000]), 3000)
    found = check_tflite(net.write(tmp_path / "wide.tflite"))
    assert found.parameters_bytes == 3000 * 3000 + 4 * 3000
    low, high = found.streamed_bytes
    assert low == found.parameters_bytes - int(7.7 * MIB) > 0
    assert high == found.parameters_bytes - int(6.1 * MIB)
    assert found.latency.streaming_ms > 1


def test_multiply_accumulates_are_counted_by_kind(tmp_path: Path) -> None:
    net = Net()
    last = net.conv(net.input([1, 8, 8, 3]), 16, 3, 2)
    last = net.depthwise(last)
    last = net.transposed(last, 4)
    net.dense(net.reshape(last, [1, 256]), 10)
    ops = check_tflite(net.write(tmp_path / "four.tflite")).ops
    assert [op.macs for op in ops] == [4 * 4 * 16 * 27, 4 * 4 * 16 * 9, 4 * 4 * 16 * 16 * 4, 0, 2560]


def test_tensors_that_cross_the_bus_are_counted(tmp_path: Path) -> None:
    """Input, output, and what an operator on the host reads; not what stays on the device."""
    net = Net()
    inner = net.conv(net.input([1, 8, 8, 3]), 4)
    net.conv(inner, 2)
    net.unary("LEAKY_RELU", inner)
    found = check_tflite(net.write(tmp_path / "fork.tflite"))
    assert found.transferred_bytes == 8 * 8 * 3 + 8 * 8 * 2 + 8 * 8 * 4
