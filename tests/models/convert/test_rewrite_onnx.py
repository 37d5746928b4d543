from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is absent: run by .ci/run with the extra convert")
pytestmark = pytest.mark.torch

import io  # noqa: E402
import warnings  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from models.convert.fold import fold_input  # noqa: E402
from models.convert.rewrite import rewrite  # noqa: E402
from models.fastpose.network import VARIANTS, FastPose  # noqa: E402
from models.fastpose.simplebaseline import TINY, SimpleBaseline  # noqa: E402
from models.fastpose.source import MEAN, STD  # noqa: E402
from tests.models.fastpose.random_weights import with_random_weights  # noqa: E402

TOLERANCE = 1e-4  # of the largest output: ONNX Runtime fuses and sums in another order


def exported(network: Any, x: Any) -> Any:
    """As ONNX with an open batch, opset 17."""
    import onnx

    content = io.BytesIO()
    axes = {"image": {0: "batch"}, "heatmaps": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its future
        torch.onnx.export(
            network, (x,), content, dynamo=False, opset_version=17, input_names=["image"], output_names=["heatmaps"],
            dynamic_axes=axes,
        )  # fmt: skip
    return onnx.load_from_string(content.getvalue())


@pytest.mark.parametrize("name", ["simplebaseline", "fastpose"])
def test_rewritten_networks_export_with_any_batch(name: str) -> None:
    """ONNX runtimes and TensorRT run transposed convolutions and depth to space themselves: these stay, the norms go."""
    onnxruntime = pytest.importorskip("onnxruntime")
    plain = SimpleBaseline(TINY) if name == "simplebaseline" else FastPose(VARIANTS["fast_res18_256x192"])
    network = with_random_weights(plain)
    x = torch.randint(0, 256, (2, 3, 64, 32)).float()
    rewritten = fold_input(rewrite(network, "tensorrt", x[:1])[0], MEAN, STD, swap_red_blue=True)
    model = exported(rewritten, x)
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert ("ConvTranspose" if name == "simplebaseline" else "DepthToSpace") in kinds
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        pixels = torch.randint(0, 256, (batch, 3, 64, 32)).float()
        found = session.run(None, {"image": pixels.numpy()})[0]
        expected = network((pixels.flip(1) - torch.tensor(MEAN)[:, None, None]) / 255).numpy()
        assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()
