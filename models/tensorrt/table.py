"""What TensorRT's ONNX parser reads: operators, opsets, types, as published.

Sources: onnx/onnx-tensorrt, docs/operators.md, of the releases 8.5, 9.2 and 10.15; the opset of 8.6 from
NVIDIA/Deep-Learning-Accelerator-SW, operators/README.md. Jetson boards bring 8.5 with JetPack 5.1, 8.6 with 6.0 and 10.3 with
6.1. Where the tables of 8.5 and 10.15 differ, an operator is marked as new since 8.5.
"""

from __future__ import annotations

SOURCE = "github.com/onnx/onnx-tensorrt, docs/operators.md"

# TensorRT release -> the largest opset that it reads.
OPSETS = {"8.5": 17, "8.6": 17, "9.2": 19, "10.15": 24}
OLDEST_OPSET = 9
OLD, NEW = "8.5", "10.15"
UINT8_SINCE = "9.2"  # the first of these tables that names it; for inputs and outputs of the network only


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


IN_BOTH = _names("""
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant
ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand
EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
GridSample GRU HardSigmoid HardSwish Identity If ImageScaler InstanceNormalization IsNaN LeakyRelu Less LessOrEqual Log
LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg
NonMaxSuppression NonZero Not OneHot Or Pad ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal RandomNormalLike
RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round ScaledTanh Scan Scatter
ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
""")

ONLY_NEW = _names("""
Attention BlackmanWindow CastLike DeformConv Gelu GroupNormalization HammingWindow HannWindow Hardmax IsInf LayerNormalization
Mish RMSNormalization RotaryEmbedding STFT
""")

IN_NONE = _names("""
AffineGrid Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im Compress ConcatFromSequence
ConvInteger Det DFT DynamicQuantizeLinear ImageDecoder MatMulInteger MaxRoiPool MaxUnpool MelWeightMatrix Multinomial
NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement QLinearConv QLinearMatMul RegexFullMatch SequenceAt
SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SoftmaxCrossEntropyLoss
SplitToSequence StringNormalizer TfIdfVectorizer Unique
""")

# Plugins that ship with TensorRT itself, in libnvinfer_plugin; not with TensorRT for RTX (github.com/NVIDIA/TensorRT, plugin/).
OWN_PLUGINS = _names("""
BatchedNMS_TRT BatchedNMSDynamic_TRT DisentangledAttention_TRT EfficientNMS_TRT EfficientNMS_ONNX_TRT
EfficientNMS_Explicit_TF_TRT GridAnchor_TRT InstanceNormalization_TRT LReLU_TRT MultiscaleDeformableAttnPlugin_TRT NMS_TRT
PillarScatterPlugin Proposal PyramidROIAlign_TRT Region_TRT Reorg_TRT ResizeNearest_TRT ROIAlign_TRT VoxelGeneratorPlugin
""")
PLUGIN_DOMAINS = ("", "ai.onnx", "TRT", "trt.plugins")

# Integer quantisation is asked for with QuantizeLinear and DequantizeLinear only; these stand for other schemes.
OTHER_SCHEMES = {
    "QLinearConv": "quantise with Q/DQ pairs (QDQ format) instead of QLinear operators",
    "QLinearMatMul": "quantise with Q/DQ pairs (QDQ format) instead of QLinear operators",
    "ConvInteger": "quantise statically, with Q/DQ pairs",
    "MatMulInteger": "quantise statically, with Q/DQ pairs",
    "DynamicQuantizeLinear": "quantise statically, with Q/DQ pairs",
}

RESIZE_COORDINATES = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
RESIZE_MODES = ("nearest", "linear")
RESIZE_NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
