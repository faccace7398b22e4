"""``python -m pachon.drivers.pulumi REQUEST``: one operation in a process of its own."""

import sys
from pathlib import Path

from pachon.drivers.pulumi.child import main

main(Path(sys.argv[1]))
