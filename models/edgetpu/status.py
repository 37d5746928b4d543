"""What edgetpu_compiler writes into its log for each operator, word for word, as published logs show it."""

MAPPED = "Mapped to Edge TPU"
NOT_SUPPORTED = "Operation not supported"
DATA_TYPE = "Operation is working on an unsupported data type"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
STRIDES = "Only Strided-Slice with unitary strides supported"
LIMITATION = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
SUBGRAPH = "More than one subgraph is not supported"
VERSION = "Operation version not supported"

# These two are no operator's status: the compiler refuses the whole file.
UNKNOWN_VERSION = "Didn't find op for builtin opcode"
UNRESOLVED = "Encountered unresolved custom op"
REFUSING = (UNKNOWN_VERSION, UNRESOLVED)
