"""Which versions of operators the last compiler can read.

edgetpu_compiler 16.0 is of July 2021, between TensorFlow 2.5 and 2.6, and holds their TensorFlow Lite: it refuses a whole file
with "Didn't find op for builtin opcode ... version ..." for one operator that is newer. The table is TensorFlow's own
(tensorflow/lite/tools/versioning/runtime_version.cc), the newest version of each operator up to TensorFlow 2.6; 0: the operator
is younger. Four refusals are published, and the table says the same of each; Google documents none of it.
"""

from __future__ import annotations

SOURCE = "github.com/tensorflow/tensorflow, tensorflow/lite/tools/versioning/runtime_version.cc"
# Operator -> the refused version and where it was reported, all of compiler 16.0.
REPORTED = {
    "CONV_2D": (6, "github.com/google-coral/edgetpu/issues/631"),
    "TRANSPOSE_CONV": (4, "github.com/google-coral/edgetpu/issues/845"),
    "QUANTIZE": (3, "github.com/google-coral/edgetpu/issues/879"),
    "EXP": (2, "github.com/google-coral/libedgetpu/issues/71"),
}

NEWEST: dict[str, int] = {
    "ABS": 4, "ADD": 4, "ADD_N": 1, "ARG_MAX": 2, "ARG_MIN": 2, "ATAN2": 0, "AVERAGE_POOL_2D": 3, "BATCH_MATMUL": 4,
    "BATCH_TO_SPACE_ND": 3, "BROADCAST_ARGS": 1, "BROADCAST_TO": 3, "BUCKETIZE": 0, "CAST": 1, "CEIL": 1,
    "CONCATENATION": 3, "CONV_2D": 5, "CONV_3D": 1, "CONV_3D_TRANSPOSE": 1, "COS": 1, "CUMSUM": 1, "DEPTHWISE_CONV_2D": 6,
    "DEPTH_TO_SPACE": 2, "DEQUANTIZE": 4, "DIV": 2, "DYNAMIC_UPDATE_SLICE": 0, "ELU": 1, "EQUAL": 3, "EXP": 1,
    "EXPAND_DIMS": 1, "FILL": 3, "FLOOR": 1, "FLOOR_DIV": 2, "FLOOR_MOD": 1, "FULLY_CONNECTED": 9, "GATHER": 5,
    "GATHER_ND": 3, "GELU": 0, "GREATER": 2, "GREATER_EQUAL": 2, "HARD_SWISH": 1, "L2_NORMALIZATION": 2, "L2_POOL_2D": 1,
    "LEAKY_RELU": 2, "LESS": 2, "LESS_EQUAL": 2, "LOCAL_RESPONSE_NORMALIZATION": 1, "LOG": 1, "LOGICAL_AND": 1,
    "LOGICAL_NOT": 1, "LOGICAL_OR": 1, "LOGISTIC": 3, "LOG_SOFTMAX": 2, "LSTM": 4, "MATRIX_DIAG": 1, "MAXIMUM": 4,
    "MAX_POOL_2D": 3, "MEAN": 3, "MINIMUM": 4, "MIRROR_PAD": 2, "MUL": 5, "MULTINOMIAL": 0, "NEG": 1,
    "NON_MAX_SUPPRESSION_V4": 1, "NON_MAX_SUPPRESSION_V5": 1, "NOT_EQUAL": 3, "ONE_HOT": 1, "PACK": 3, "PAD": 4, "PADV2": 4,
    "POW": 1, "PRELU": 1, "QUANTIZE": 2, "RANDOM_STANDARD_NORMAL": 0, "RANDOM_UNIFORM": 0, "RANGE": 1, "RANK": 1,
    "REDUCE_ALL": 1, "REDUCE_ANY": 1, "REDUCE_MAX": 3, "REDUCE_MIN": 3, "REDUCE_PROD": 2, "RELU": 3, "RELU6": 3,
    "RELU_0_TO_1": 0, "RELU_N1_TO_1": 1, "RESHAPE": 1, "RESIZE_BILINEAR": 4, "RESIZE_NEAREST_NEIGHBOR": 4,
    "REVERSE_SEQUENCE": 1, "REVERSE_V2": 3, "RNN": 3, "ROUND": 1, "RSQRT": 2, "SCATTER_ND": 1, "SEGMENT_SUM": 1,
    "SELECT": 2, "SELECT_V2": 1, "SHAPE": 1, "SIN": 1, "SLICE": 5, "SOFTMAX": 3, "SPACE_TO_BATCH_ND": 3,
    "SPACE_TO_DEPTH": 2, "SPARSE_TO_DENSE": 3, "SPLIT": 4, "SPLIT_V": 2, "SQRT": 1, "SQUARE": 1, "SQUARED_DIFFERENCE": 2,
    "SQUEEZE": 2, "STRIDED_SLICE": 6, "SUB": 5, "SUM": 2, "SVDF": 4, "TANH": 3, "TILE": 2, "TOPK_V2": 2, "TRANSPOSE": 5,
    "TRANSPOSE_CONV": 3, "UNIDIRECTIONAL_SEQUENCE_LSTM": 3, "UNIDIRECTIONAL_SEQUENCE_RNN": 3, "UNIQUE": 1, "UNPACK": 4,
    "UNSORTED_SEGMENT_MAX": 0, "UNSORTED_SEGMENT_MIN": 0, "UNSORTED_SEGMENT_PROD": 0, "UNSORTED_SEGMENT_SUM": 0, "WHERE": 1,
    "WHILE": 1, "ZEROS_LIKE": 1,
}  # fmt: skip

# The version that an operator has with int8 tensors in TensorFlow's own converter (of TensorFlow 1.14 in the same table, where
# int8 came in). Other converters leave 1, which then stood for uint8; no log of a compiler with such a file was found.
INT8_SINCE: dict[str, int] = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CONCATENATION": 2, "CONV_2D": 2, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4,
    "L2_NORMALIZATION": 2, "LOGISTIC": 2, "MAXIMUM": 2, "MAX_POOL_2D": 2, "MEAN": 2, "MINIMUM": 2, "MUL": 2, "PACK": 2,
    "PAD": 2, "REDUCE_MAX": 2, "REDUCE_MIN": 2, "RELU": 2, "RELU6": 2, "RESIZE_BILINEAR": 2, "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 2, "SOFTMAX": 2, "SPACE_TO_DEPTH": 2, "SPLIT": 2, "STRIDED_SLICE": 2, "SUB": 2, "TANH": 2, "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 2,
}  # fmt: skip


def too_new(kind: str, version: int) -> bool:
    """Whether the compiler would refuse the whole file for this version of an operator; unknown operators are not judged."""
    return kind in NEWEST and version > NEWEST[kind]
