"""Random changes of training images.

Geometry (scale, crop, flip) is done per image with ``torchvision.transforms.v2``, on whichever
device holds the image; colours, blur and noise are done for a batch at once. What is drawn depends
only on the seed of the sample, so it is the same in any process, in any order, after any resume.

Shapes: N batch, C channels, H W source rows and columns, h w rows and columns of the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from seg_ros.model_card import VOID_ID

# Brightness, contrast, saturation, hue, blur sigma, noise sigma, gamma, gains of red and blue.
NUM_PHOTOMETRIC = 9
_LUMA = (0.299, 0.587, 0.114)
_BLUR_RADIUS_PX = 4
MAX_SAMPLES = 4  # per pixel and axis, where a batch of images is reduced


@dataclass(frozen=True)
class Augmentation:
    """How much images are changed; see ``config.AugmentConfig`` for the meaning of each value."""

    scale_min: float
    scale_max: float
    flip: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    blur: float
    blur_sigma_px: float
    noise: float
    noise_sigma: float
    gamma: float = 0.0
    white_balance: float = 0.0

    def draw_geometry(
        self, generator: torch.Generator, image_hw: tuple[int, int], window_hw: tuple[int, int]
    ) -> Geometry:
        """Draw scale, crop and flip for one image.

        Args:
            generator: On the CPU; two calls with the same state draw the same.
            image_hw: Rows and columns of the image.
            window_hw: Rows and columns that the net is trained with.
        """
        along, down, right, mirrored = torch.rand(4, generator=generator).tolist()
        low, high = math.log(self.scale_min), math.log(self.scale_max)
        # Scale 1 fits the whole image into the window, as deployment does.
        fit = min(window_hw[0] / image_hw[0], window_hw[1] / image_hw[1])
        scale = fit * math.exp(low + along * (high - low))
        rows = min(image_hw[0], max(1, round(window_hw[0] / scale)))
        columns = min(image_hw[1], max(1, round(window_hw[1] / scale)))
        return Geometry(
            top=int(down * (image_hw[0] - rows + 1)),
            left=int(right * (image_hw[1] - columns + 1)),
            rows=rows,
            columns=columns,
            content_hw=(
                min(window_hw[0], max(1, round(rows * scale))),
                min(window_hw[1], max(1, round(columns * scale))),
            ),
            flip=mirrored < self.flip,
        )

    def draw_photometry(self, generator: torch.Generator) -> Tensor:
        """Draw (NUM_PHOTOMETRIC,) float32 for one image."""
        u = torch.rand(8, generator=generator).tolist()
        v = (2 * torch.rand(3, generator=generator) - 1).tolist()
        return torch.tensor(
            [
                1 + self.brightness * (2 * u[0] - 1),
                1 + self.contrast * (2 * u[1] - 1),
                1 + self.saturation * (2 * u[2] - 1),
                self.hue * (2 * u[3] - 1),
                self.blur_sigma_px * u[5] if u[4] < self.blur else 0.0,
                self.noise_sigma * u[7] if u[6] < self.noise else 0.0,
                math.exp(self.gamma * v[0]),
                math.exp(self.white_balance * v[1]),
                math.exp(self.white_balance * v[2]),
            ]
        )


@dataclass(frozen=True)
class Geometry:
    """Which part of an image goes where in the window.

    Attributes:
        top: First source row.
        left: First source column.
        rows: Source rows.
        columns: Source columns.
        content_hw: Rows and columns that the part covers in the window, from the top left; what is
            left at the right and at the bottom is padding, as in deployment.
        flip: Whether left and right are exchanged.
    """

    top: int
    left: int
    rows: int
    columns: int
    content_hw: tuple[int, int]
    flip: bool


def apply_geometry(
    image_chw: Tensor,
    labels_hw: Tensor,
    geometry: Geometry,
    window_hw: tuple[int, int],
    padding: tuple[int, int, int],
) -> tuple[Tensor, Tensor]:
    """Cut a part out of an image, scale it and put it into the window.

    Args:
        image_chw: (3, H, W) uint8.
        labels_hw: (H, W) uint8.
        geometry: What was drawn.
        window_hw: Rows and columns of the result.
        padding: RGB bytes of pixels beside the content; their labels are void.

    Returns:
        (3, h, w) uint8 and (h, w) uint8; labels are only ever resized with nearest.
    """
    g = geometry
    image = image_chw[:, g.top : g.top + g.rows, g.left : g.left + g.columns]
    labels = labels_hw[None, g.top : g.top + g.rows, g.left : g.left + g.columns]
    if (g.rows, g.columns) != g.content_hw:
        image = TF.resize(image, list(g.content_hw), InterpolationMode.BILINEAR, antialias=True)
        labels = TF.resize(labels, list(g.content_hw), InterpolationMode.NEAREST_EXACT)
    if g.flip:
        image, labels = image.flip(-1), labels.flip(-1)
    if g.content_hw == window_hw:
        return image.contiguous(), labels[0].contiguous()
    rows, columns = g.content_hw
    framed = image.new_empty((3, *window_hw))
    framed[...] = torch.tensor(padding, dtype=torch.uint8, device=image.device).view(3, 1, 1)
    framed[:, :rows, :columns] = image
    ids = labels.new_full(window_hw, VOID_ID)
    ids[:rows, :columns] = labels[0]
    return framed, ids


def apply_geometry_to_batch(
    image_nchw: Tensor,
    labels_nhw: Tensor,
    geometries: Sequence[Geometry],
    window_hw: tuple[int, int],
    padding: tuple[int, int, int],
) -> tuple[Tensor, Tensor]:
    """``apply_geometry`` for images of one size at once: a few kernels per batch on a GPU.

    Smoothing before a reduction is by averaging several samples per pixel, so that images differ
    slightly from those of ``apply_geometry``; labels are the same.

    Args:
        image_nchw: (N, 3, H, W) uint8.
        labels_nhw: (N, H, W) uint8.
        geometries: What was drawn for each image.
        window_hw: Rows and columns of the result.
        padding: RGB bytes of pixels beside the content; their labels are void.

    Returns:
        (N, 3, h, w) uint8 and (N, h, w) uint8.
    """
    device = image_nchw.device
    reduction = max(max(g.rows / g.content_hw[0], g.columns / g.content_hw[1]) for g in geometries)
    samples = min(MAX_SAMPLES, max(1, round(reduction)))
    fine = [_source_positions(geometries, window_hw, axis, samples) for axis in (0, 1)]
    height, width = image_nchw.shape[2:]
    grid = torch.empty(len(geometries), fine[0].shape[1], fine[1].shape[1], 2)
    grid[..., 0] = (2 * fine[1] / width - 1)[:, None, :]
    grid[..., 1] = (2 * fine[0] / height - 1)[:, :, None]
    image = F.grid_sample(
        image_nchw.float(),
        grid.to(device, non_blocking=True),
        mode='bilinear',
        padding_mode='border',
        align_corners=False,
    )
    if samples > 1:
        image = F.avg_pool2d(image, samples)
    image = image.round_().to(torch.uint8)
    rows, columns = (
        _source_positions(geometries, window_hw, axis, 1).floor().long().clamp_(0, limit - 1)
        for axis, limit in ((0, height), (1, width))
    )
    number = torch.arange(len(geometries), device=device)[:, None, None]
    rows, columns = rows.to(device)[:, :, None], columns.to(device)[:, None, :]
    labels = labels_nhw[number, rows, columns]
    content = torch.tensor([g.content_hw for g in geometries])
    beside = (torch.arange(window_hw[0])[None, :, None] >= content[:, 0, None, None]) | (
        torch.arange(window_hw[1])[None, None, :] >= content[:, 1, None, None]
    )
    beside = beside.to(device, non_blocking=True)
    color = torch.tensor(padding, dtype=torch.uint8, device=device).view(1, 3, 1, 1)
    return torch.where(beside[:, None], color, image), labels.masked_fill(beside, VOID_ID)


def _source_positions(
    geometries: Sequence[Geometry], window_hw: tuple[int, int], axis: int, samples: int
) -> Tensor:
    """(N, window * samples) positions in the source along an axis; a pixel spans [i, i + 1)."""
    at = (torch.arange(window_hw[axis] * samples) + 0.5) / samples
    positions = []
    for g in geometries:
        start, length = (g.top, g.rows) if axis == 0 else (g.left, g.columns)
        content = g.content_hw[axis]
        along = content - at if axis == 1 and g.flip else at
        positions.append(start + along.clamp(0, content) * (length / content))
    return torch.stack(positions)


def apply_photometry(image_nchw: Tensor, params: Tensor, seeds: Tensor) -> Tensor:
    """Change colours, blur and add noise.

    Gamma is the first, as a camera's exposure in other light. Gains, brightness, contrast,
    saturation and hue are one affine map of colours per image.

    Args:
        image_nchw: (N, 3, h, w) float32 in 0..1.
        params: (N, NUM_PHOTOMETRIC) float32 from ``draw_photometry``, on the CPU.
        seeds: (N,) int64 on the CPU, for the noise.

    Returns:
        (N, 3, h, w) float32 in 0..1.
    """
    gamma, gains = params[:, 6], params[:, 7:]
    if bool((gamma != 1).any()):
        image_nchw = image_nchw.pow(gamma.to(image_nchw).view(-1, 1, 1, 1))
    colors = torch.cat([params[:, :4], gains], dim=1)
    identity = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    if not torch.equal(colors, identity.expand_as(colors)):
        matrix, contrast = _color_matrices(params)
        matrix, contrast = matrix.to(image_nchw), contrast.to(image_nchw)
        luma = torch.tensor(_LUMA).to(image_nchw)
        # The grey level that contrast turns about is the mean of the image after the matrix.
        mean = torch.einsum('c,ncd,nd->n', luma, matrix, image_nchw.mean((2, 3)))
        offset = ((1 - contrast) * mean).view(-1, 1, 1, 1)
        scaled = matrix * contrast.view(-1, 1, 1)
        image_nchw = torch.einsum('ncd,ndhw->nchw', scaled, image_nchw).add_(offset).clamp_(0, 1)
    for i, sigma in enumerate(params[:, 4].tolist()):
        if sigma > 0:
            image_nchw[i] = _blur(image_nchw[i : i + 1], sigma)[0]
    for i, sigma in enumerate(params[:, 5].tolist()):
        if sigma > 0:
            generator = torch.Generator(image_nchw.device).manual_seed(int(seeds[i]))
            noise = torch.randn(image_nchw[i].shape, generator=generator, device=image_nchw.device)
            image_nchw[i] = image_nchw[i].add(noise, alpha=sigma).clamp_(0, 1)
    return image_nchw


def _color_matrices(params: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3, 3) of gains, brightness, saturation and hue, and (N,) contrast."""
    brightness, contrast, saturation, hue = (params[:, i] for i in range(4))
    to_yiq = torch.tensor([[*_LUMA], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    angle = hue * 2 * math.pi
    cos, sin = torch.cos(angle) * saturation, torch.sin(angle) * saturation
    turn = torch.zeros(len(params), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq * brightness.view(-1, 1, 1)
    red, blue = params[:, 7], params[:, 8]
    return matrix * torch.stack([red, torch.ones_like(red), blue], dim=1)[:, None], contrast


def _blur(image_1chw: Tensor, sigma: float) -> Tensor:
    reach = torch.arange(-_BLUR_RADIUS_PX, _BLUR_RADIUS_PX + 1).to(image_1chw)
    kernel = torch.exp(-(reach**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    r = _BLUR_RADIUS_PX
    image_1chw = F.pad(image_1chw, (r, r, r, r), mode='replicate')
    image_1chw = F.conv2d(image_1chw, kernel.unsqueeze(2), groups=3)
    return F.conv2d(image_1chw, kernel.unsqueeze(3), groups=3)
