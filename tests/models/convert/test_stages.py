from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is absent: TFLite files cannot be run")

from models.convert.stages import run_tensors, stages, weighted
from models.convert.tflite_io import read
from tests.models.convert.tflite_pair import int8_network, layers, pictures
from tests.models.edgetpu.build import Net


def test_stage_after_stage_gives_what_the_whole_network_gives():
    content, of = int8_network(layers()), pictures(3)
    model = read(content)
    (output,) = model.subgraphs[0].outputs
    whole = [tensors[int(output)] for tensors in run_tensors(content, [output], of, 1)]
    states = [{} for _ in of]
    for stage in stages(model):
        for state, tensors in zip(states, stage.run(states, of, 1, stage.passed), strict=True):
            state.update(tensors)
            for index in stage.last_used:
                state.pop(index, None)
    quantisation = model.subgraphs[0].tensors[output].quantization
    for state, right in zip(states, whole, strict=True):
        assert list(state) == [output], "the rest was dropped when it was read for the last time"
        found = (state[output].astype(np.float32) - quantisation.zeroPoint[0]) * np.float32(quantisation.scale[0])
        np.testing.assert_allclose(found, right, rtol=1e-6)  # the same integers


def test_no_layer_of_a_stage_feeds_another_and_branches_of_equal_depth_share_one():
    net = Net()
    image = net.input([1, 16, 16, 8])
    left, right = net.conv(image, 8), net.conv(image, 8)
    deep = net.conv(net.unary("RELU", left), 8)
    net.outputs = [net.add(net.add(deep, right), image)]
    found = stages(read(net.bytes()))
    assert [list(stage.layers) for stage in found] == [[left, right], [deep]]
    assert set(found[0].inputs) == {image}
    assert right in found[0].passed
    assert left not in found[0].passed
    assert found[1].last_used.count(right) == 1
    assert found[1].passed == net.outputs


def test_what_comes_before_the_first_layer_is_a_stage_without_layers():
    net = Net()
    net.outputs = [net.conv(net.unary("RELU", net.input([1, 8, 8, 4])), 4)]
    found = stages(read(net.bytes()))
    assert [len(stage.layers) for stage in found] == [0, 1]
    assert len(list(weighted(read(net.bytes())))) == 1
