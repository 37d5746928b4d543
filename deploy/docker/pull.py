"""Put the files of the models named on the command line into POSEBUS_CACHE, checked; a step of the image build.

The first argument is the image's runtime: only files that it reads are put there.
"""

from __future__ import annotations

import sys

from common.artifact import find_artifact, pull
from common.runtimes import formats

for name in sys.argv[2:]:
    sys.stdout.write(f"{name}: {pull(find_artifact(name), formats=formats(sys.argv[1]))}\n")
