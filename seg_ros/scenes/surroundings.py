"""What is far behind the pitch: a panorama of a hall, painted or from photographs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from seg_ros.image_files import load_image
from seg_ros.scenes.textures import noise_tile

WIDTH_PX, HEIGHT_PX = 1536, 384
TOP, BOTTOM = 1.6, -0.8  # tangents of the elevations of the first and the last row
PHOTO_DETAIL = 2
WHITE = 204
"""What light 1 is in the bytes of a panorama; lamps are brighter."""
MAX_PHOTOS = 10_000
_SUFFIXES = {'.jpg', '.jpeg', '.png', '.webp', '.bmp'}


def list_photos(folder: Path | str) -> tuple[Path, ...]:
    """Pictures that can serve as surroundings.

    Args:
        folder: Searched without its subfolders.

    Returns:
        Their paths, sorted.

    Raises:
        FileNotFoundError: If the folder is missing or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'backgrounds: {folder} is no folder')
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise FileNotFoundError(f'backgrounds: {folder} holds none of {sorted(_SUFFIXES)}')
    return tuple(found[:MAX_PHOTOS])


def photo_panorama(path: Path, rng: np.random.Generator) -> np.ndarray:
    """Wrap a photograph around the pitch, mirrored at its edges.

    Args:
        path: The picture.
        rng: Draws its place and size.

    Returns:
        (H, W, 3) uint8 RGB, 0 to ``WHITE``, ``PHOTO_DETAIL`` times finer than a painted one.

    Raises:
        ValueError: If it is too large or not readable as a picture.
    """
    picture = load_image(path)
    copies = 2 * int(rng.integers(2, 4))
    width, height = PHOTO_DETAIL * WIDTH_PX // copies, PHOTO_DETAIL * HEIGHT_PX
    one = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    one = cv2.convertScaleAbs(one, alpha=WHITE / 255)
    around = np.tile(np.hstack([one, one[:, ::-1]]), (1, copies // 2, 1))
    return np.roll(around, int(rng.integers(around.shape[1])), axis=1)


def painted_panorama(rng: np.random.Generator) -> np.ndarray:
    """Paint a hall: ceiling with lamps, walls with doors and posters, people, clutter.

    Args:
        rng: Draws everything.

    Returns:
        (HEIGHT_PX, WIDTH_PX, 3) uint8 RGB, ``WHITE`` and, for lamps, above.
    """
    base = float(rng.choice([0.05, 0.2, 0.45, 0.75], p=[0.25, 0.25, 0.25, 0.25]))
    tint = np.clip(rng.normal(1, 0.07, 3), 0.75, 1.25)
    slope = np.linspace(float(rng.uniform(0.5, 1.2)), 1.0, HEIGHT_PX)[:, None, None]
    room = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    room[:] = np.clip(WHITE * base * tint * slope, 0, 255).astype(np.uint8)
    far = _row(float(rng.uniform(0.25, 0.8)))  # where the far wall meets the ceiling
    wall = float(np.clip(base + rng.uniform(-0.1, 0.5), 0.05, 0.95))
    shade = wall * np.clip(rng.normal(1, 0.06, 3), 0.8, 1.2)
    room[far:] = np.array(_bytes(shade), np.uint8)
    _ceiling(room[:far], rng)
    _wall(room, far, rng, wall)
    if rng.random() < 0.6:
        _crowd(room, rng)
    room = cv2.GaussianBlur(room, (0, 0), float(rng.uniform(0.6, 1.6)))
    return np.asarray(cv2.multiply(room, _uneven(), scale=1 / 128))


@cache
def _uneven() -> np.ndarray:
    """Factors on a panorama times 128."""
    tile = np.tile(noise_tile(8, 512, 30), (1, 3))[:HEIGHT_PX, :WIDTH_PX]
    gain = np.clip(128 * (1 + 0.05 * tile), 0, 255).astype(np.uint8)
    return np.asarray(cv2.merge([gain, gain, gain]))


def look_up(panorama: np.ndarray, rays: np.ndarray, *, mirrored: bool = False) -> np.ndarray:
    """What rays that miss everything see.

    Args:
        panorama: As the two painters return it.
        rays: (H, W, 3) float32 directions in the world, of any length.
        mirrored: Reflect the rays at the ground first.

    Returns:
        (H, W, 3) float32 RGB.
    """
    east, north, up = cv2.split(rays)
    level, columns = cv2.cartToPolar(east, north)
    climb = np.clip(up / np.maximum(level, np.float32(1e-4), out=level), -4, 4)
    rows = np.float32(TOP) + climb if mirrored else np.float32(TOP) - climb
    rows *= np.float32(panorama.shape[0] / (TOP - BOTTOM))
    columns *= np.float32(panorama.shape[1] / (2 * np.pi))
    seen = cv2.remap(panorama, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.multiply(seen, (1 / WHITE,) * 4, dtype=cv2.CV_32F))


def _bytes(color: np.ndarray | list[float]) -> list[float]:
    return [min(max(WHITE * float(value), 0.0), 255.0) for value in color]


def _row(tangent: float) -> int:
    return int((TOP - tangent) / (TOP - BOTTOM) * HEIGHT_PX)


def _ceiling(area: np.ndarray, rng: np.random.Generator) -> None:
    height, width = area.shape[:2]
    shade = float(rng.uniform(0.02, 0.6))
    for x in np.arange(0, width, int(rng.integers(30, 140))).tolist():  # beams
        end = int(x + rng.normal(0, 60))
        cv2.line(area, (x, 0), (end, height), _bytes([shade] * 3), int(rng.integers(1, 7)))
    for y in np.geomspace(8, max(height, 9), int(rng.integers(2, 7))).astype(int).tolist():
        cv2.line(
            area,
            (0, height - y),
            (width, height - y),
            _bytes([shade] * 3),
            int(rng.integers(1, 5)),
        )
    glow = _bytes(np.clip(rng.normal(1.1, 0.08, 3), 0.8, 1.3))
    round_lamps = rng.random() < 0.5
    for _ in range(int(rng.integers(0, 90)) * (rng.random() < 0.5)):  # spots, far and round
        where = (int(rng.integers(width)), int(rng.integers(max(height, 1))))
        cv2.circle(area, where, int(rng.integers(1, 5)), glow, -1)
    for _ in range(int(rng.integers(0, 70))):
        x, y = int(rng.integers(width)), int(rng.integers(max(height, 1)))
        near = 1 - y / max(height, 1)
        size = (int(3 + 22 * near * rng.uniform(0.4, 1)), int(2 + 7 * near))
        if round_lamps:
            cv2.ellipse(area, ((x, y), (size[0], max(2, size[0] // 2)), 0.0), glow, -1)
        else:
            cv2.rectangle(area, (x, y), (x + size[0], y + size[1]), glow, -1)


def _wall(room: np.ndarray, far: int, rng: np.random.Generator, wall: float) -> None:
    floor = _row(-0.02)
    for _ in range(int(rng.integers(10, 70))):
        x, w = int(rng.integers(WIDTH_PX)), int(rng.integers(5, 110))
        y, h = int(rng.integers(far, max(floor, far + 1))), int(rng.integers(5, 90))
        shade = rng.uniform(0, 1, 3)
        shade += float(rng.uniform(0.3, 1.0)) * (shade.mean() - shade)  # mostly muted
        if rng.random() < 0.6:
            shade[:] = np.clip(wall + rng.normal(0, 0.25), 0, 1.1)
        if rng.random() < 0.15:  # a window
            shade[:] = rng.uniform(0.9, 1.2)
        cv2.rectangle(room, (x, y), (x + w, y + h), _bytes(shade), -1)
        if rng.random() < 0.3:
            edge = _bytes(rng.uniform(0, 0.5, 3))
            cv2.rectangle(room, (x, y), (x + w, y + h), edge, int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(0, 14))):  # pillars and frames
        x = int(rng.integers(WIDTH_PX))
        grey = _bytes([float(rng.uniform(0, 1))] * 3)
        top = int(rng.integers(0, max(floor - 20, 1)))
        cv2.rectangle(room, (x, top), (x + int(rng.integers(2, 26)), HEIGHT_PX), grey, -1)


def _crowd(room: np.ndarray, rng: np.random.Generator) -> None:
    """Standing and sitting people further away, in rows."""
    dark = rng.random() < 0.5
    base = float(rng.uniform(-0.12, 0.12))
    for _ in range(int(rng.integers(10, 120))):
        x, foot = int(rng.integers(WIDTH_PX)), _row(base - float(rng.uniform(0, 0.1)))
        tall = int(rng.integers(20, 56))
        wide = max(4, int(tall * 0.24))
        shade = rng.uniform(0, 0.3 if dark or rng.random() < 0.5 else 0.9, 3)
        shirt = _bytes(shade + 0.7 * (shade.mean() - shade))
        legs = _bytes([float(rng.uniform(0.02, 0.3))] * 3)
        skin = _bytes(np.array([0.75, 0.57, 0.48]) * rng.uniform(0.4, 1.05))
        hair = _bytes([float(rng.uniform(0.02, 0.3))] * 3)
        hip, neck = foot - tall // 2, foot - int(tall * 0.84)
        gap = max(1, wide // 8)
        cv2.rectangle(room, (x - wide // 2, hip), (x - gap, foot), legs, -1)
        cv2.rectangle(room, (x + gap, hip), (x + wide // 2, foot), legs, -1)
        cv2.ellipse(room, ((x, (hip + neck) // 2), (wide * 1.15, tall * 0.42), 0.0), shirt, -1)
        for side in (-1, 1):
            hand = (x + side * int(wide * rng.uniform(0.4, 1.1)), hip - int(rng.integers(9)))
            cv2.line(
                room, (x + side * wide // 2, neck + tall // 12), hand, shirt, max(1, wide // 4)
            )
        head = (x, neck - tall // 16)
        cv2.ellipse(room, (head, (tall * 0.11, tall * 0.15), 0.0), skin, -1)
        cv2.ellipse(room, ((x, head[1] - tall // 26), (tall * 0.12, tall * 0.1), 0.0), hair, -1)
