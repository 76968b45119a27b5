"""Start ``python -m seg_ros``."""

import sys
from pathlib import Path

# ``-m`` makes Python look into the current folder first, where a stranger's recording may lie.
if sys.path and sys.path[0] == str(Path.cwd()):
    sys.path.append(sys.path.pop(0))

from seg_ros.cli import main

sys.exit(main())
