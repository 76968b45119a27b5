"""Where the files that come with the package lie: installed share folder or checkout."""

from __future__ import annotations

import sysconfig
from pathlib import Path

SAMPLE_BAG = 'demo/robocup_scenes'
_PACKAGE = Path(__file__).resolve().parent


def share_roots() -> list[Path]:
    """Folders that may hold ``config/``, ``launch/`` and ``models/``, the nearest first.

    A checkout comes first when the package is run from one; pip and colcon install into
    ``<prefix>/share/seg_ros``, beside ``<prefix>/lib/pythonX.Y/site-packages/seg_ros``.
    """
    prefixes = (*_PACKAGE.parents, Path(sysconfig.get_path('data')))
    roots = [_PACKAGE.parent, *(prefix / 'share' / 'seg_ros' for prefix in prefixes)]
    return [root for root in dict.fromkeys(roots) if (root / 'package.xml').is_file()]


def share_file(name: str) -> Path:
    """Path of a file or folder that came with the package, such as ``config/fastdds.xml``.

    Raises:
        FileNotFoundError: If the installation lacks it.
    """
    roots = share_roots()
    for root in roots:
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f'{name} is not installed; looked in {", ".join(map(str, roots))}')
