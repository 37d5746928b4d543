"""Small ONNX networks, node by node."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A network in the making; `node` returns the name of its first output."""

    def __init__(self, shape: list[int | str], dtype: int = TensorProto.FLOAT, opset: int = 17) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.opset = opset
        self.domains: set[str] = set()
        self.input = "image"
        self._source = helper.make_tensor_value_info(self.input, dtype, shape)

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, name: str = "", domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        made = [f"{name or kind}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=name, domain=domain, **attributes))
        if domain:
            self.domains.add(domain)
        return made[0]

    def conv(self, source: str, depth: int, into: int, *, name: str = "conv", weights: str = "") -> str:
        weights = weights or self.constant(np.full((depth, into, 3, 3), 0.01))
        return self.node("Conv", source, weights, self.constant([0.0] * depth), name=name, pads=[1, 1, 1, 1])

    def pair(self, source: str, scale: Any = 0.05, zero: int = 0, dtype: Any = np.int8, name: str = "pair") -> str:
        """A Q/DQ pair on a tensor."""
        scales = self.constant(scale)
        zeros = self.constant(np.full(np.shape(scale), zero), dtype)
        quantised = self.node("QuantizeLinear", source, scales, zeros, name=f"{name}/q", axis=1)
        return self.node("DequantizeLinear", quantised, scales, zeros, name=f"{name}/dq", axis=1)

    def weights(self, depth: int, into: int, scale: Any, axis: int = 0) -> str:
        """Weights that are stored as int8, through their DQ."""
        stored = self.constant(np.ones((depth, into, 3, 3)), np.int8)
        scales = self.constant(scale)
        zeros = self.constant(np.zeros(np.shape(scale)), np.int8)
        return self.node("DequantizeLinear", stored, scales, zeros, name=f"weights{len(self.nodes)}/dq", axis=axis)

    def model(self) -> Any:
        read = {name for node in self.nodes for name in node.input}
        ends = [name for node in self.nodes for name in node.output if name not in read]
        results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in ends]
        graph = helper.make_graph(self.nodes, "net", [self._source], results, self.constants)
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(domain, 1) for domain in self.domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def write(self, path: Path) -> Path:
        inferred = self.model()
        with contextlib.suppress(onnx.shape_inference.InferenceError):  # some tests write what ONNX itself would refuse
            inferred = onnx.shape_inference.infer_shapes(inferred)
        for value in inferred.graph.output:
            if value.type.tensor_type.elem_type == TensorProto.UNDEFINED:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        onnx.save(inferred, str(path))
        return path
