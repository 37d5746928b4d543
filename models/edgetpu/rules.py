"""What the Edge TPU runs: the published table of operators, one row each, and what is known beyond it.

Sources
* DOCS: coral.ai/docs/edgetpu/models-intro, "Model requirements" and table 1, "All operations supported by the Edge TPU",
  as of compiler 16.0, the last one. What it says is `documented`.
* What it does not say, but compilers showed in published logs and issues, is `documented=False` with its own source.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.edgetpu import limits
from models.edgetpu.status import LIMITATION, RANK, STRIDES

DOCS = "coral.ai/docs/edgetpu/models-intro"
ISSUES = "github.com/google-coral/edgetpu/issues"


@dataclass(frozen=True)
class Limit:
    """One limit of an operator.

    text: as documented, in short; check: None where the limit is given without a number; status: the compiler's words for it.
    """

    text: str
    check: limits.Check | None
    documented: bool = True
    source: str = DOCS
    status: str = LIMITATION


@dataclass(frozen=True)
class Rule:
    """One supported operator.

    roles: what each input is; d: data, 8 bit; w: weights, constant and 8 bit; b: bias, constant int32; a: an argument,
    constant; p: a parameter or state of a type of its own; a trailing * repeats. runtime: the Edge TPU runtime from which it
    is supported, 0: all.
    """

    op: str
    roles: str
    limits: tuple[Limit, ...] = ()
    runtime: int = 0
    documented: bool = True
    source: str = DOCS


_NO_ACTIVATION = Limit("no fused activation function", limits.no_fused_activation)
_SAME_DILATION = Limit("the same dilation in x and y", limits.same_dilation)
_NO_BATCH_REDUCTION = Limit("no reduction of the batch dimension", limits.no_batch_reduction)
_THREE_DIMENSIONS = Limit("input and output are 3-dimensional", limits.at_most_three_dimensions, status=RANK)
_SIZE_DEPENDENT = Limit("depending on the size not mapped, to avoid a loss of precision; no size is published", None)

RULES: dict[str, Rule] = {
    rule.op: rule
    for rule in (
        Rule("ADD", "dd"),
        Rule("AVERAGE_POOL_2D", "d", (_NO_ACTIVATION,)),
        Rule("CONCATENATION", "d*", (
            _NO_ACTIVATION,
            Limit("a constant input only beside one other, and all zero", limits.constant_is_zero_padding))),
        Rule("CONV_2D", "dwb", (_SAME_DILATION,)),
        Rule("DEPTHWISE_CONV_2D", "dwb", (_SAME_DILATION,)),
        Rule("EXPAND_DIMS", "da", runtime=13),
        Rule("FULLY_CONNECTED", "dwb", (
            Limit("weights in the default format", limits.default_weights_format),
            Limit("the output is one-dimensional", limits.one_dimensional_output))),
        Rule("L2_NORMALIZATION", "d"),
        Rule("LOGISTIC", "d"),
        # Unidirectional only: the bidirectional one is another operator, which has no row.
        Rule("UNIDIRECTIONAL_SEQUENCE_LSTM", "dp*", runtime=14),
        Rule("LSTM", "dp*", runtime=14),
        Rule("MAXIMUM", "dd"),
        Rule("MAX_POOL_2D", "d", (_NO_ACTIVATION,)),
        Rule("MEAN", "da", (
            _NO_BATCH_REDUCTION, Limit("a reduced z-dimension is a multiple of 4", limits.mean_depth))),
        Rule("MINIMUM", "dd"),
        Rule("MUL", "dd"),
        Rule("PACK", "d*", (Limit("no packing in the batch dimension", limits.no_batch_packing),), runtime=13),
        Rule("PAD", "da", (Limit("no padding of the batch dimension", limits.no_batch_padding),)),
        Rule("PRELU", "dw", (Limit("alpha is 1-dimensional", limits.one_dimensional_alpha),), runtime=13),
        Rule("QUANTIZE", "d", runtime=13),
        Rule("REDUCE_MAX", "da", (_NO_BATCH_REDUCTION,), runtime=14),
        Rule("REDUCE_MIN", "da", (_NO_BATCH_REDUCTION,), runtime=14),
        Rule("RELU", "d"),
        Rule("RELU6", "d"),
        Rule("RELU_N1_TO_1", "d"),
        Rule("RESHAPE", "da", (Limit("certain reshapes of large tensors are not mapped; no size is published", None),)),
        Rule("RESIZE_BILINEAR", "da", (_THREE_DIMENSIONS, _SIZE_DEPENDENT)),
        Rule("RESIZE_NEAREST_NEIGHBOR", "da", (_THREE_DIMENSIONS, _SIZE_DEPENDENT)),
        Rule("RSQRT", "d", runtime=14),
        Rule("SLICE", "daa"),
        Rule("SOFTMAX", "d", (Limit("a 1-dimensional input of at most 16,000 elements", limits.one_dimensional_softmax),)),
        Rule("SPACE_TO_DEPTH", "d"),
        Rule("SPLIT", "ad", (Limit("no splitting of the batch dimension", limits.no_batch_split),)),
        Rule("SQUEEZE", "d"),
        Rule("STRIDED_SLICE", "daaa", (
            Limit("all strides are 1", limits.unit_strides, status=STRIDES),
            Limit("ellipsis and new-axis mask are 0", limits.no_slice_masks))),
        Rule("SUB", "dd"),
        Rule("SUM", "da", (_NO_BATCH_REDUCTION,), runtime=13),
        Rule("SQUARED_DIFFERENCE", "dd", runtime=14),
        Rule("TANH", "d"),
        Rule("TRANSPOSE", "da", (
            Limit("some are not mapped 'due to some unspecified limitation'", None, False, f"{ISSUES}/433"),), runtime=14),
        Rule("TRANSPOSE_CONV", "awdb", (
            Limit("some are not mapped, by shape; no rule is published", None, False, f"{ISSUES}/686"),), runtime=13),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """An operator that is not in the table, with what to do instead."""

    op: str
    fix: str
    source: str = DOCS


_HOST = "cut it off the network and do it on the host"
REFUSED: dict[str, Refusal] = {
    item.op: item
    for item in (
        Refusal("LEAKY_RELU", "use RELU or PRELU", f"{ISSUES}/147"),
        Refusal("HARD_SWISH", "use RELU6"),
        Refusal("ELU", "use RELU"),
        Refusal("GELU", "use RELU"),
        Refusal("DEPTH_TO_SPACE", "use SLICE, RESHAPE and CONCATENATION, as `posebus models convert` does", f"{ISSUES}/386"),
        Refusal("ARG_MAX", _HOST),
        Refusal("TOPK_V2", _HOST),
        Refusal("GATHER", _HOST),
        Refusal("GATHER_ND", _HOST),
        Refusal("CAST", "give and take int8 or uint8 tensors"),
        Refusal("DEQUANTIZE", "take int8 or uint8 outputs"),
        Refusal("SPLIT_V", "use SPLIT or SLICE"),
        Refusal("UNPACK", "use SPLIT or SLICE"),
        Refusal("BATCH_MATMUL", "use FULLY_CONNECTED with constant weights"),
        Refusal("DIV", "multiply by the reciprocal"),
        Refusal("PADV2", "use PAD"),
        Refusal("MIRROR_PAD", "use PAD"),
        Refusal("TILE", "use CONCATENATION"),
        Refusal("CUSTOM", _HOST, f"{ISSUES}/515"),
    )
}

# The custom operators that the compiler resolves; with another one, it refuses the whole file.
KNOWN_CUSTOM = ("TFLite_Detection_PostProcess", "edgetpu-custom-op")
KNOWN_CUSTOM_SOURCE = "github.com/google-coral/project-posenet/issues/19"

OPEN_BATCH = (
    "the batch is open (-1 in the shape signature), for which the compiler refused files; convert with batch 1",
    "github.com/tensorflow/tensorflow/issues/73946",
)

# Operators that are in the table, but that users saw fall off or run far too slowly: placed, but not to be relied on.
DOUBTFUL: dict[str, tuple[str, tuple[str, ...]]] = {
    "TRANSPOSE_CONV": (
        "transposed convolutions often fall off, or break the compiler, where the table says they run",
        (f"{ISSUES}/64", f"{ISSUES}/509", f"{ISSUES}/684", f"{ISSUES}/686"),
    ),
    "TRANSPOSE": (
        "transpositions, above all of large tensors, often fall off where the table says they run",
        (f"{ISSUES}/433", "github.com/google-ai-edge/litert-torch/issues/179"),
    ),
}
