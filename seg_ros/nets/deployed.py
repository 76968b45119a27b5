"""The net as the robot runs it: camera bytes in, logits out.

``DeployedNet`` is what is exported to ONNX and what the torch backend runs, so both start at the
same pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from seg_ros.model_card import WEIGHTS_FILE
from seg_ros.nets import build_net
from seg_ros.own_code import demand_trust

if TYPE_CHECKING:
    from pathlib import Path

    from seg_ros.model_card import ModelCard
    from seg_ros.nets.segmentation_net import SegmentationNet

WeightsDtype = Literal['float32', 'float16']


class DeployedNet(nn.Module):
    """Normalisation and net in one module.

    Args:
        net: What ``build_net`` gave.
        mean: Per RGB channel, of pixels scaled to 0..1.
        std: Per RGB channel, of pixels scaled to 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: SegmentationNet,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.net = net
        # In units of bytes, so that the graph has one subtraction and one division.
        self.register_buffer('mean', 255.0 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer('std', 255.0 * torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, image_nhwc: Tensor) -> Tensor:
        """Camera pixels to logits.

        Args:
            image_nhwc: (N, H, W, 3) uint8 RGB.

        Returns:
            (N, num_classes, ceil(H / s), ceil(W / s)) float32, s = ``net.logits_stride``.
        """
        return self.outputs(image_nhwc)['logits']

    def outputs(self, image_nhwc: Tensor) -> dict[str, Tensor]:
        """All maps of the net by name, ``logits`` first; see ``forward``."""
        image = (image_nhwc.permute(0, 3, 1, 2).float() - self.mean) / self.std
        maps: dict[str, Tensor] = self.net(image)
        return maps


def load_net(card: ModelCard) -> DeployedNet:
    """Build a model folder's net and load its ``weights.safetensors``.

    Weights that are stored as float16 are computed with in float32.

    Args:
        card: A card that ``load_model_card`` read and verified.

    Returns:
        The net in eval mode, on the CPU.

    Raises:
        FileNotFoundError: If the card lists no weights.
        ValueError: If the weights are not those of the card's net.
    """
    path, content = card.file(WEIGHTS_FILE), card.read(WEIGHTS_FILE)
    demand_trust(card.net, f'the card of {card.name}')
    net = build_net(card.net, card.num_classes, options=card.net_options)
    try:
        stored = load(content)
    except SafetensorError as error:
        raise ValueError(f'{path} is no readable .safetensors file: {error}') from error
    try:
        net.load_state_dict(stored)
    except RuntimeError as error:
        raise ValueError(f'{path} does not fit net {card.net!r}: {error}') from error
    return DeployedNet(net, card.input.mean, card.input.std).eval()


def save_weights(net: SegmentationNet, path: Path, dtype: WeightsDtype = 'float32') -> None:
    """Save a net's state as ``.safetensors``; with float16, kernels are rounded, vectors not."""
    state = {
        name: (tensor.half() if dtype == 'float16' and _is_kernel(tensor) else tensor)
        .detach()
        .cpu()
        .contiguous()
        .clone()
        for name, tensor in net.state_dict().items()
    }
    save_file(state, path)


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim > 1
