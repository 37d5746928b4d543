"""What a placed network needs: on-chip memory, and an estimate of its latency.

Memory. The Edge TPU has about 8 MB of SRAM for the executable and the parameters (coral.ai/docs/edgetpu/compiler); what does
not fit is streamed at each inference. Compiler logs report between 6.1 and 7.7 MiB as room for parameters.

Latency. No device was at hand. The constants below follow from one published table (coral.ai/docs/edgetpu/benchmarks), of
which tests/models/edgetpu/test_estimate.py holds the rows: time = start + inputs and outputs over the bus + streamed
parameters over the bus + multiply-accumulates at a share of the peak + operators on the host. The worst row is off
by a factor of 2.6 (DenseNet, rich in operators without weights), so a factor of 3 either way is given as the bracket.
"""

from __future__ import annotations

from dataclasses import dataclass

PEAK_MACS_PER_S = 2e12  # 4 TOPS, a multiply-accumulate being two operations
# Shares of the peak. Convolutions: Inception v1, EfficientNet-EdgeTpu S, M and L. Depthwise ones use one input channel an
# output, so most of a matrix unit idles: MobileNet v1 and v2.
CONVOLUTION_SHARE = 0.3
DEPTHWISE_SHARE = 0.03
# Elements of operators without weights; an assumption that no published figure supports.
ELEMENTS_PER_S = 8e9
START_MS = 1.0  # one invocation with small tensors: SqueezeNet, MobileNet
FACTOR = 3.0  # estimate / FACTOR .. estimate * FACTOR

MIB = 2**20
SRAM_BYTES = 8 * MIB
ROOM_BYTES = (int(6.1 * MIB), int(7.7 * MIB))


@dataclass(frozen=True)
class Bus:
    """How the device is attached.

    bytes_per_s: from the streamed parameters of VGG16 and ResNet-152 in the same table; of USB 2, which it has not, what is
    left of 480 Mbit/s in practice.
    """

    name: str
    bytes_per_s: float


@dataclass(frozen=True)
class Host:
    """The CPU that runs what falls off, all its cores.

    macs_per_s: 0.57 G MACs of MobileNet v1 in the table's time; elements_per_s: int8 ADD, the slowest of five operators
    without weights, measured with plain kernels on two shared x86 cores (`python -m tests.models.edgetpu.host`: 0.70 G/s),
    and scaled by the ratio of the table's CPU times for the Cortex-A53.
    """

    name: str
    macs_per_s: float
    elements_per_s: float


BUSES = {"usb3": Bus("USB 3", 480e6), "pcie": Bus("PCIe", 400e6), "usb2": Bus("USB 2", 40e6)}
HOSTS = {
    "a53": Host("4x Cortex-A53, as on the Coral Dev Board", 0.57e9 / 0.164, 0.70e9 * 53 / 164),
    "x86": Host("desktop x86", 0.57e9 / 0.053, 0.70e9),
}


@dataclass(frozen=True)
class Estimate:
    """Milliseconds of one inference; low_ms and high_ms: the bracket in which the truth should lie."""

    device_ms: float
    streaming_ms: float
    transfer_ms: float
    start_ms: float
    host_ms: float
    bus: str
    host: str

    @property
    def total_ms(self) -> float:
        return self.device_ms + self.streaming_ms + self.transfer_ms + self.start_ms + self.host_ms

    @property
    def low_ms(self) -> float:
        return self.total_ms / FACTOR

    @property
    def high_ms(self) -> float:
        return self.total_ms * FACTOR


@dataclass(frozen=True)
class Load:
    """What runs where. streamed_bytes: parameters that do not fit on the chip; transferred_bytes: what else crosses the bus."""

    conv_macs: int = 0
    depthwise_macs: int = 0
    elements: int = 0
    streamed_bytes: int = 0
    transferred_bytes: int = 0
    starts: int = 0
    host_macs: int = 0
    host_elements: int = 0


def estimate(load: Load, bus: Bus = BUSES["usb3"], host: Host = HOSTS["a53"]) -> Estimate:
    device_s = (
        load.conv_macs / (PEAK_MACS_PER_S * CONVOLUTION_SHARE)
        + load.depthwise_macs / (PEAK_MACS_PER_S * DEPTHWISE_SHARE)
        + load.elements / ELEMENTS_PER_S
    )
    return Estimate(
        device_ms=device_s * 1e3,
        streaming_ms=load.streamed_bytes / bus.bytes_per_s * 1e3,
        transfer_ms=load.transferred_bytes / bus.bytes_per_s * 1e3,
        start_ms=load.starts * START_MS,
        host_ms=(load.host_macs / host.macs_per_s + load.host_elements / host.elements_per_s) * 1e3,
        bus=bus.name,
        host=host.name,
    )
