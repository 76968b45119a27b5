"""Start an encoder from weights that were trained on ImageNet.

A file must be ``.safetensors`` with the encoder's key names: torchvision's where it has the net.
Nothing is unpickled here: ``imagenet`` goes through torchvision's own download, restricted to
plain tensors.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast
from urllib.error import URLError

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_weight

LOG = logging.getLogger(__name__)


def load_encoder_weights(net: nn.Module, source: str, *, allow_missing: bool = False) -> list[str]:
    """Load weights into ``net.encoder``.

    Tensors of the file that the encoder does not have (a classifier) are left out.

    Args:
        net: A net whose ``encoder`` names its ``torchvision_weights``.
        source: ``imagenet``, or the path of a ``.safetensors`` file.
        allow_missing: Accept a source that lacks some tensors; they keep their start values.

    Returns:
        Names of the encoder's tensors that the source lacks.

    Raises:
        ValueError: If the net has no such encoder, the file is no ``.safetensors``, a shape is
            wrong, or tensors are missing and ``allow_missing`` is false.
        FileNotFoundError: If the file does not exist or ``imagenet`` cannot be fetched.
    """
    encoder = getattr(net, 'encoder', None)
    weights_name = getattr(encoder, 'torchvision_weights', None)
    if not isinstance(encoder, nn.Module) or weights_name is None:
        raise ValueError(
            f'{type(net).__name__} has no encoder with ImageNet weights; use encoder_weights none'
        )
    if source == 'imagenet' and not weights_name:
        raise ValueError(
            f'torchvision has no weights of {type(encoder).__name__}; give the path of a '
            '.safetensors file (docs/training.md says how to make one)'
        )
    tensors = _fetch(weights_name) if source == 'imagenet' else _read(Path(source))
    wanted = encoder.state_dict()
    present = {key: tensors[key] for key in wanted if key in tensors}
    for key, tensor in present.items():
        if tensor.shape != wanted[key].shape:
            raise ValueError(
                f'{source}: {key} has shape {tuple(tensor.shape)}, '
                f'the encoder wants {tuple(wanted[key].shape)}'
            )
    # The batch counter is bookkeeping that many files leave out.
    missing = [
        key for key in wanted if key not in present and not key.endswith('num_batches_tracked')
    ]
    if len(missing) == len(wanted) or not present:
        raise ValueError(f'{source} has none of the encoder tensors, such as {next(iter(wanted))}')
    if missing and not allow_missing:
        raise ValueError(
            f'{source} lacks {len(missing)} of {len(wanted)} encoder tensors: '
            f'{", ".join(missing)}. Allow missing tensors to start them at random.'
        )
    encoder.load_state_dict(present, strict=False)
    if missing:
        LOG.warning('%s lacks, left at random: %s', source, ', '.join(missing))
    return missing


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != '.safetensors':
        raise ValueError(
            f'encoder weights {str(path)!r}: give imagenet, none or the path of a '
            '.safetensors file'
        )
    if not path.is_file():
        raise FileNotFoundError(f'encoder weights {path} do not exist')
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f'{path} is no readable .safetensors file: {error}') from error


def _fetch(weights_name: str) -> dict[str, Tensor]:
    weights = get_weight(weights_name)
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f'cannot fetch {weights_name} from {weights.url}: {error}. Without network, give the '
            'path of a .safetensors file with the same keys, or none.'
        ) from error
    return cast('dict[str, Tensor]', state)
