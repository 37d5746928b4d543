"""Measures how fast this machine's CPU runs int8 operators in LiteRT: `python -m tests.models.edgetpu.host`.

models/edgetpu/estimate.py holds the figure for what falls off the Edge TPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.models.edgetpu.build import Net

SIZE = [1, 48, 48, 64]
LENGTH = 20


def main() -> None:
    steps: dict[str, Callable[[Net, int], int]] = {
        "ADD": lambda net, last: net.add(last, net.inputs[0]),
        "MUL": lambda net, last: net.op("MUL", [last, net.inputs[0]], SIZE, version=2),
        "QUANTIZE": lambda net, last: net.unary("QUANTIZE", last),
        "DEQUANTIZE, QUANTIZE": lambda net, last: net.unary("QUANTIZE", net.unary("DEQUANTIZE", last, "FLOAT32", version=2)),
        "LOGISTIC": lambda net, last: net.unary("QUANTIZE", _logistic(net, last)),
    }
    for name, step in steps.items():
        net = Net()
        last = net.input(SIZE)
        for _ in range(LENGTH):
            last = step(net, last)
        elements = len(net.ops) * 48 * 48 * 64
        print(f"{name}: {elements / _seconds(net) / 1e6:.0f} M elements/s")


def _logistic(net: Net, last: int) -> int:
    made = net.unary("LOGISTIC", last, version=2)
    net.tensors[made].quantization.scale, net.tensors[made].quantization.zeroPoint = [1 / 256], [-128]
    return made


def _seconds(net: Net) -> float:
    # The plain kernels, as in the runtimes that are used beside the Edge TPU's delegate.
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=net.bytes(), num_threads=2, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        interpreter.invoke()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
