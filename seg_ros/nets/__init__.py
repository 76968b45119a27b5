"""Networks by name, one architecture per file.

A net is an ``nn.Module`` that takes ``num_classes`` (and keyword options with defaults) and maps a
normalised image (N, 3, H, W) to logits (N, num_classes, H / logits_stride, W / logits_stride), for
H and W that are multiples of its ``stride``. ``build_net`` wraps it in ``SegmentationNet``, which
takes any size. Listing the names needs no torch; building does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from seg_ros.own_code import class_by_name

if TYPE_CHECKING:
    from torch import nn

    from seg_ros.nets.segmentation_net import SegmentationNet

# name -> 'module:class'; imported when it is asked for.
NETS: dict[str, str] = {
    'edgesegnet': 'seg_ros.nets.edgesegnet:EdgeSegNet',
    'fast_scnn': 'seg_ros.nets.fast_scnn:FastSCNN',
    'linknet': 'seg_ros.nets.linknet:LinkNet',
    'mini_unet': 'seg_ros.nets.mini_unet:MiniUNet',
    'mobilenet_unet': 'seg_ros.nets.mobilenet_unet:MobileNetUNet',
    'nimbronet2': 'seg_ros.nets.nimbronet2:NimbRoNet2',
    'segnet': 'seg_ros.nets.segnet:SegNet',
    'segnet_basic': 'seg_ros.nets.segnet_basic:SegNetBasic',
    'slim_multibranch': 'seg_ros.nets.slim_multibranch:SlimMultibranch',
    'swiftnet': 'seg_ros.nets.swiftnet:SwiftNet',
}

MIN_CLASSES, MAX_CLASSES = 2, 255  # ids are uint8 and 255 is void


def net_builder(name: str) -> Callable[..., nn.Module]:
    """Import the class that a name stands for: a key of ``NETS``, or ``my_module:MyNet``.

    Raises:
        ValueError: If the name is unknown; the message lists what there is.
    """
    builder: Callable[..., nn.Module] = class_by_name('net', name, NETS)
    if name not in NETS:
        from torch import nn  # noqa: PLC0415 - the names need no torch

        if not (isinstance(builder, type) and issubclass(builder, nn.Module)):
            raise ValueError(f'net {name!r} is no torch.nn.Module')
    return builder


def net_options(name: str) -> dict[str, Any]:
    """Options of a net beside ``num_classes``, with their defaults."""
    parameters = inspect.signature(net_builder(name)).parameters.values()
    return {each.name: each.default for each in parameters if each.name != 'num_classes'}


def build_net(
    name: str,
    num_classes: int,
    *,
    encoder_weights: str = 'none',
    allow_missing: bool = False,
    options: Mapping[str, Any] | None = None,
) -> SegmentationNet:
    """Build a net of the registry for images of any size.

    Args:
        name: Key of ``NETS``, or ``my_module:MyNet``.
        num_classes: Number of logit channels, 2 to 255.
        encoder_weights: ``imagenet`` (fetched by torchvision), the path of a ``.safetensors`` file
            with the encoder's key names, or ``none``.
        allow_missing: Accept a file that lacks some of the encoder's tensors; they are listed in
            the log and keep their random start.
        options: Options of the net (``net_options`` lists them).

    Returns:
        The net in training mode; float32 on the CPU.

    Raises:
        ValueError: If the name, an option, the number of classes or the weights do not fit.
        FileNotFoundError: If the file of encoder weights does not exist, or ``imagenet`` cannot be
            fetched.
    """
    from seg_ros.nets.encoder_weights import load_encoder_weights  # noqa: PLC0415 (torch)
    from seg_ros.nets.segmentation_net import SegmentationNet  # noqa: PLC0415

    if not MIN_CLASSES <= num_classes <= MAX_CLASSES:
        raise ValueError(f'{num_classes} classes; allowed are {MIN_CLASSES} to {MAX_CLASSES}')
    builder, chosen, known = net_builder(name), dict(options or {}), net_options(name)
    if unknown := sorted(chosen.keys() - known.keys()):
        allowed = ', '.join(f'{key} = {value!r}' for key, value in known.items()) or 'none'
        raise ValueError(f'net {name!r} has no option {unknown}; its options: {allowed}')
    net = builder(num_classes, **chosen)
    if encoder_weights != 'none':
        load_encoder_weights(net, encoder_weights, allow_missing=allow_missing)
    return SegmentationNet(net)
