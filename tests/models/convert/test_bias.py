from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is absent: TFLite files cannot be run")

from models.convert.bias import correct_biases, stepped
from models.convert.source import ConversionError
from models.convert.stages import bias_of, run_tensors, weighted
from models.convert.tflite_io import read
from tests.models.convert.tflite_pair import float_network, int8_network, layers, pictures

SHIFTS = (0.3, -0.4, 0.5)  # of each layer's biases; its outputs reach from about -3 to 3


def biases(content: bytes) -> list[np.ndarray]:
    """In units of the outputs."""
    model = read(content)
    found = [bias_of(model, layer) for layer in weighted(model)]
    return [each.values * each.scale for each in found if each is not None]


def answers(content: bytes, of: list[np.ndarray]) -> np.ndarray:
    """(pictures, H, W, C) floats."""
    outputs = read(content).subgraphs[0].outputs
    return np.concatenate([tensors[int(outputs[0])] for tensors in run_tensors(content, outputs, of, 1)])


def test_a_step_has_the_sign_of_what_is_missing_and_is_counted_in_the_scale_of_the_bias():
    values = np.array([100, 100, -7], np.int32)
    scale, moving = np.array([0.5, 0.1, 0.01]), np.ones(3)
    assert stepped(values, scale, np.array([2.0, -1.0, 0.0]), moving).tolist() == [104, 90, -7]


def test_a_step_is_longer_where_values_are_cut_off_but_not_endlessly():
    moved = stepped(np.zeros(3, np.int32), np.ones(1), np.full(3, 10.0), np.array([1.0, 0.5, 0.0]))
    assert moved.tolist() == [10, 20, 40]


@pytest.mark.parametrize(("missing", "ends_at"), [(1e30, 2**31 - 1), (-1e30, -(2**31)), (1.0, 2**31 - 1)])
def test_a_step_ends_where_int32_does(missing, ends_at):
    values = np.array([2**31 - 5], np.int32)
    assert stepped(values, np.array([1e-3]), np.array([missing]), np.ones(1)).tolist() == [ends_at]


def test_shifted_biases_are_repaired_each_layer_by_what_is_its_own():
    """A layer that was blamed for what the ones before it did would end elsewhere."""
    reference = float_network(layers())
    shifted = int8_network(layers(), shifts=SHIFTS)
    found = correct_biases(shifted, reference, pictures(32))
    assert found.layers == 3
    assert found.noise < found.noise_before / 5
    assert str(found) == "biases of 3 layers corrected on 24 pictures"
    for layer, wrong, right in zip(layers(), biases(shifted), biases(found.content), strict=True):
        assert np.abs(wrong - layer.bias).max() > 0.25
        assert np.abs(right - layer.bias).max() < 0.06


def test_the_mean_of_each_channel_is_that_of_the_float_network_on_other_pictures():
    reference = float_network(layers())
    found = correct_biases(int8_network(layers(), shifts=SHIFTS), reference, pictures(32))
    others = pictures(64)[32:]
    means = [answers(content, others).mean(axis=(0, 1, 2)) for content in (reference, found.content)]
    np.testing.assert_allclose(*means, atol=0.02)


def test_nothing_but_biases_changes():
    before = int8_network(layers(), shifts=SHIFTS)
    after = correct_biases(before, float_network(layers()), pictures(16)).content
    assert len(before) == len(after)
    differ = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
    assert 0 < len(differ) <= 4 * (8 + 8 + 4)


def test_a_sweep_that_does_not_help_on_pictures_it_did_not_learn_from_is_refused():
    """White pictures are beyond the ranges: cut off, their means are low, and biases that make up for that spoil all others."""
    learned = [np.full_like(picture, 255) for picture in pictures(16)]
    mixed = [picture if i % 4 == 0 else learned[i] for i, picture in enumerate(pictures(16))]
    network = int8_network(layers())
    found = correct_biases(network, float_network(layers()), mixed)
    assert (found.content, found.layers, found.pictures) == (network, 0, 0)
    assert found.noise == found.noise_before
    assert str(found) == "biases kept: correcting them did not bring the outputs nearer to the float network's"


def test_layers_that_share_a_buffer_get_one_each():
    shared = int8_network(layers(), shared=True)
    assert read(shared).subgraphs[0].tensors[2].buffer == read(shared).subgraphs[0].tensors[5].buffer
    found = correct_biases(shared, float_network(layers()), pictures(32))
    first, second, _ = weighted(model := read(found.content))
    assert not np.array_equal(bias_of(model, first).values, bias_of(model, second).values)
    assert np.abs(biases(found.content)[0] - layers()[0].bias).max() < 0.06
    assert found.noise < found.noise_before / 3


def test_layers_that_share_a_tensor_get_one_each():
    model = read(int8_network(layers()))
    first, second, _ = weighted(model)
    second.inputs = [*second.inputs[:2], first.inputs[2]]
    kept = bias_of(model, first).values
    bias_of(model, second).replace(np.arange(8, dtype=np.int32))
    assert bias_of(model, second).values.tolist() == list(range(8))
    assert bias_of(model, first).values.tolist() == kept.tolist()


def test_a_layer_without_a_bias_stays_as_it_is():
    reference = float_network(layers(), biases=False)
    found = correct_biases(int8_network(layers(), shifts=SHIFTS, biases=False), reference, pictures(32))
    assert found.layers == 2
    assert found.noise < found.noise_before / 2


def test_two_pictures_are_the_least_to_learn_and_to_judge():
    network = int8_network(layers(), shifts=SHIFTS)
    assert correct_biases(network, float_network(layers()), pictures(1)).content == network
    assert correct_biases(network, float_network(layers()), pictures(2)).layers == 3


def test_networks_that_do_not_correspond_are_refused():
    with pytest.raises(ConversionError, match="layer 3 with weights is CONV_2D 1x8x6x4 in the float one and none"):
        correct_biases(int8_network(layers()[:2]), float_network(layers()), pictures(8))


@pytest.mark.torch
def test_every_conversion_to_int8_corrects_biases_and_says_so():
    pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
    pytest.importorskip("litert_torch", reason="litert-torch is absent: run by .ci/run with the extra convert")
    from models.convert.quiet import quiet
    from models.convert.ranges import quantise
    from models.convert.to_tflite import float_graph, to_int8
    from tests.models.convert.networks import HEIGHT_PX, WIDTH_PX, Shuffled, source

    network = source(Shuffled())
    of = [np.tile(picture, (HEIGHT_PX // 16, WIDTH_PX // 12, 1)) for picture in pictures(16)]
    graph, _ = float_graph(network, pictures=of)
    content, line = to_int8(network, graph, of)
    assert line.endswith("layers corrected on 12 pictures")
    with quiet("quantising"):
        before = biases(quantise(graph, of, 1).content)
    changed = [not np.array_equal(a, b) for a, b in zip(before, biases(content), strict=True)]
    assert f"biases of {sum(changed)} layers" in line
    assert sum(changed) >= 3
