"""``python -m pachon.drivers.pulumi REQUEST``: one operation in a process of its own."""

import gc
import sys
from pathlib import Path

from pachon.drivers.pulumi.child import main

GARBAGE_OBJECTS = 100_000
"""Objects made before garbage is looked for: the process lives for seconds, and looking was a tenth of its work."""

gc.set_threshold(GARBAGE_OBJECTS)
main(Path(sys.argv[1]))
