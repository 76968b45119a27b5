"""Where the files that come with the package lie: installed share folder or checkout."""

from __future__ import annotations

import sysconfig
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def share_roots() -> list[Path]:
    """Folders that may hold ``config/``, ``launch/`` and ``models/``, the nearest first.

    A checkout comes first when the package is run from one; pip and colcon install into
    ``<prefix>/share/seg_ros``, four levels above ``lib/pythonX.Y/site-packages/seg_ros``.
    """
    prefixes = (_PACKAGE.parents[3], Path(sysconfig.get_path('data')))
    roots = [_PACKAGE.parent, *(prefix / 'share' / 'seg_ros' for prefix in prefixes)]
    return [root for root in dict.fromkeys(roots) if (root / 'package.xml').is_file()]


def config_file(name: str) -> Path:
    """Path of a file in ``config/``.

    Raises:
        FileNotFoundError: If the installation lacks it.
    """
    for root in share_roots():
        if (root / 'config' / name).is_file():
            return root / 'config' / name
    raise FileNotFoundError(f'config/{name} is not installed; looked in {share_roots()}')
