#!/bin/sh
# Remove from a folder of installed packages what no service uses, and compile the rest.
set -eu
cd "$1"
find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find . \( -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name '*.hpp' -o -name '*.a' -o -name '*.lib' \) -delete
rm -rf cv2/data cv2/gapi numpy/f2py numpy/distutils
# Compilers for phone chips, the WebGPU delegate (we run on the CPU), tools that train, quantise or convert.
rm -rf ai_edge_litert/libLiteRtWebGpuAccelerator.* ai_edge_litert/tools ai_edge_litert/vendors
rm -rf onnxruntime/transformers onnxruntime/quantization onnxruntime/tools
rm -rf openvino/tools openvino/cmake openvino/include openvino/libs/libopenvino_tensorflow_frontend.* \
  openvino/libs/libopenvino_pytorch_frontend.* openvino/libs/libopenvino_paddle_frontend.* openvino/libs/libopenvino_jax_frontend.*
find . -type d -name __pycache__ -prune -exec rm -rf {} +
# Unchecked: the images are read-only, so no source ever changes under its bytecode.
python -m compileall -q --invalidation-mode unchecked-hash .
