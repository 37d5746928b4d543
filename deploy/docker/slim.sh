#!/bin/sh
# Remove from a folder of installed packages what no service uses, and compile the rest.
set -eu
cd "$1"
find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find . \( -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name '*.a' -o -name '*.lib' \) -delete
rm -rf cv2/data cv2/gapi numpy/f2py numpy/distutils
find . -type d -name __pycache__ -prune -exec rm -rf {} +
# Unchecked: the images are read-only, so no source ever changes under its bytecode.
python -m compileall -q --invalidation-mode unchecked-hash . || true
