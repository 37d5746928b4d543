#!/bin/sh
# Lock the requirements for every supported Python at once. Needs uv. Writes no index address.
set -eu
cd "$(dirname "$0")/.."
# 1.3 of backports-strenum installs on Python 3.10 only, and ai-edge-litert asks for the package on every Python.
echo 'backports-strenum<1.3' > requirements/constraints.in
lock() { uv pip compile --universal --python-version 3.10 -q --no-header --no-annotate pyproject.toml "$@"; }
lock --extra dev -c requirements/constraints.in -o requirements/dev.txt
lock -c requirements/dev.txt -o requirements/core.txt
for extra in tflite onnx openvino demo; do lock --extra "$extra" -c requirements/dev.txt -o "requirements/$extra.txt"; done
# Conversion (PyTorch) has a lock and an environment of its own: litert-torch needs older versions than the services have. The
# CUDA packages that PyTorch's own build asks for are left to pip, as its CPU builds have none.
uv pip compile --universal --python-version 3.11 -q --no-header --no-annotate pyproject.toml \
  --extra dev --extra train --extra tensorrt-check -c requirements/convert.in -o requirements/convert.txt
grep -vE '^(nvidia-|cuda-|triton)' requirements/convert.txt > requirements/convert.tmp && mv requirements/convert.tmp requirements/convert.txt
