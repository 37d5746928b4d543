"""Put the model files named on the command line into POSEBUS_CACHE, checked; a step of the image build."""

from __future__ import annotations

import sys

from common.artifact import find_artifact, pull

for name in sys.argv[1:]:
    sys.stdout.write(f"{name}: {pull(find_artifact(name))}\n")
