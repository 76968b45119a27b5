"""What a model, and with it its folder, may be called."""

from __future__ import annotations

import re

_ALLOWED = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}')


def check_model_name(name: str) -> None:
    """Refuse what cannot be the name of a model and of its folder.

    Raises:
        ValueError: Naming what is allowed.
    """
    if not _ALLOWED.fullmatch(name):
        raise ValueError(
            f'model name {name[:100]!r}: use up to 100 letters, digits, _, - and ., starting with '
            'a letter or digit (it names the model folder)'
        )
