#!/bin/sh
# Compiles built-in networks for the Edge TPU, where Google's edgetpu_compiler is installed (Debian and Ubuntu on x86-64:
# https://coral.ai/docs/edgetpu/compiler/), and leaves artifacts that an Edge TPU and any CPU can run:
#
#   deploy/coral/compile.sh artifacts tinydet-m tinypose-m     ->  artifacts/tinydet-m-edgetpu, artifacts/tinypose-m-edgetpu
#
# POSEBUS_ZOO: folder of the built-in networks [models/zoo]; PYTHON: with posebus installed [python3].
set -eu
if [ $# -lt 2 ]; then
  echo "usage: $0 FOLDER NAME...   e.g. $0 artifacts tinydet-m tinypose-m" >&2
  exit 2
fi
fail() {
  echo "$1" >&2
  exit 1
}
command -v edgetpu_compiler >/dev/null || fail "edgetpu_compiler is not installed: see https://coral.ai/docs/edgetpu/compiler/"
folder=$1
zoo=${POSEBUS_ZOO:-$(dirname "$0")/../../models/zoo}
shift
for name in "$@"; do
  source=$zoo/$name target=$folder/$name-edgetpu
  [ -f "$source/model_int8.tflite" ] || fail "$source has no model_int8.tflite; 'posebus models list' shows the networks"
  [ ! -e "$target" ] || fail "$target exists; delete it, or give another folder"
  mkdir -p "$folder"
  part=$folder/.$name-edgetpu.part
  rm -rf "$part"
  cp -R "$source" "$part"
  edgetpu_compiler -s -o "$part" "$part/model_int8.tflite"
  cat >>"$part/manifest.toml" <<'TOML'

[[file]]
format = "edgetpu"
precision = "int8"
path = "model_int8_edgetpu.tflite"
batch = false

[[file.source]]
kind = "file"
TOML
  "${PYTHON:-python3}" -m posebus models seal "$part"
  mv "$part" "$target"
done
