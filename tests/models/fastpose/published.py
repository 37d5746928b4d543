"""Names and shapes of published checkpoints, in their order, written down from AlphaPose's source and from nothing of ours.

Read in MVIG-SJTU/AlphaPose: fastpose.py, fastpose_duc.py, simplepose.py and layers/{SE_Resnet,SE_module,ShuffleResnet,Resnet,
DUC}.py of alphapose/models/; 256x192_res18_lr1e-3_1x.yaml, 256x192_res50_lr1e-3_1x{,-duc,-simple}.yaml and
256x192_res152_lr1e-3_1x-duc.yaml of configs/coco/resnet/; the last one also of configs/halpe_136/resnet/.
"""

from __future__ import annotations

Table = list[tuple[str, tuple[int, ...]]]
STAGES = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


def norm(name: str, channels: int) -> Table:
    per_channel = [(f"{name}.{key}", (channels,)) for key in ("weight", "bias", "running_mean", "running_var")]
    return [*per_channel, (f"{name}.num_batches_tracked", ())]


def conv(name: str, outputs: int, inputs: int, kernel: int) -> Table:
    return [(f"{name}.weight", (outputs, inputs, kernel, kernel))]


def excitation(name: str, channels: int) -> Table:
    square, vector = (channels, channels), (channels,)
    return [
        (f"{name}.fc.0.weight", square),
        (f"{name}.fc.0.bias", vector),
        (f"{name}.fc.2.weight", square),
        (f"{name}.fc.2.bias", vector),
    ]


def shortcut(name: str, outputs: int, inputs: int) -> Table:
    return conv(f"{name}.0", outputs, inputs, 1) + norm(f"{name}.1", outputs)


def backbone(kind: str, layers: int) -> Table:
    """kind: SE_Resnet, ShuffleResnet or Resnet, as AlphaPose's files are called."""
    table = conv("preact.conv1", 64, 3, 7) + norm("preact.bn1", 64)
    inputs = 64
    for stage, count in enumerate(STAGES[layers], 1):
        width = {1: 64, 2: 128, 3: 256, 4: 512}[stage]
        outputs = width if layers == 18 else 4 * width
        for block in range(count):
            name = f"preact.layer{stage}.{block}"
            resized = block == 0 and (stage > 1 or layers != 18)
            excites = excitation(f"{name}.se", outputs) if resized and kind != "Resnet" else []
            shortens = shortcut(f"{name}.downsample", outputs, inputs) if resized else []
            if layers == 18:  # BasicBlock: the shortcut comes before the excitation
                table += conv(f"{name}.conv1", width, inputs, 3) + norm(f"{name}.bn1", width)
                table += conv(f"{name}.conv2", width, width, 3) + norm(f"{name}.bn2", width)
                table += shortens + excites
            else:
                table += conv(f"{name}.conv1", width, inputs, 1) + norm(f"{name}.bn1", width)
                if kind == "ShuffleResnet" and block == 0 and stage > 1:
                    table += conv(f"{name}.conv2.1", width, 4 * width, 3)
                else:
                    table += conv(f"{name}.conv2", width, width, 3)
                table += norm(f"{name}.bn2", width)
                table += conv(f"{name}.conv3", outputs, width, 1) + norm(f"{name}.bn3", outputs)
                table += excites + shortens
            inputs = outputs
    return table


def output(inputs: int, keypoints: int) -> Table:
    return [*conv("conv_out", keypoints, inputs, 3), ("conv_out.bias", (keypoints,))]


def fastpose(layers: int, dim: int = 128, keypoints: int = 17) -> Table:
    """FastPose: suffle1 has no parameters."""
    first, second = ((256, 128), (128, 64)) if layers == 18 else ((1024, 512), (dim * 4, 256))
    table = backbone("SE_Resnet", layers)
    table += conv("duc1.conv", *first, 3) + norm("duc1.bn", first[0])
    table += conv("duc2.conv", *second, 3) + norm("duc2.bn", second[0])
    return table + output(32 if layers == 18 else dim, keypoints)


def fastpose_duc(kind: str, layers: int) -> Table:
    """FastPose_DUC with NUM_CONV 4, 2, 1: position 0 of each stage is the shuffle, 3, 6 and 9 are ReLUs."""
    table = backbone(kind, layers)
    table += [*conv("duc1.1", 512, 512, 3), *norm("duc1.2", 512), *conv("duc1.4", 512, 512, 3), *norm("duc1.5", 512)]
    table += [*conv("duc1.7", 512, 512, 3), *norm("duc1.8", 512), *conv("duc1.10", 1024, 512, 3), *norm("duc1.11", 1024)]
    table += [*conv("duc2.1", 256, 256, 3), *norm("duc2.2", 256), *conv("duc2.4", 512, 256, 3), *norm("duc2.5", 512)]
    table += [*conv("duc3.1", 256, 128, 3), *norm("duc3.2", 256)]
    return table + output(256, 17)


def simplepose(layers: int = 50) -> Table:
    """SimplePose; a transposed convolution's weight is (inputs, outputs, height, width)."""
    table = backbone("Resnet", layers)
    table += [("deconv_layers.0.weight", (2048, 256, 4, 4)), *norm("deconv_layers.1", 256)]
    table += [("deconv_layers.3.weight", (256, 256, 4, 4)), *norm("deconv_layers.4", 256)]
    table += [("deconv_layers.6.weight", (256, 256, 4, 4)), *norm("deconv_layers.7", 256)]
    return [*table, ("final_layer.weight", (17, 256, 1, 1)), ("final_layer.bias", (17,))]


TABLES: dict[str, Table] = {
    "fast_res50_256x192": fastpose(50),
    "fast_res18_256x192": fastpose(18),
    "fast_res101_256x192": fastpose(101),
    "fast_res152_256x192": fastpose(152),
    "fast_dim256_res152_256x192": fastpose(152, dim=256),
    "fast_421_res152_256x192": fastpose_duc("SE_Resnet", 152),
    "fast_421_res50-shuffle_256x192": fastpose_duc("ShuffleResnet", 50),
}
