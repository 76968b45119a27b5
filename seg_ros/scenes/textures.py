"""Pictures on balls, boards and cloth, computed once from fixed seeds."""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np

BALL_FACE_PX = 128
BOARD_PX = (256, 128)
NUM_BOARDS = 20
NUM_CLOTHS = 4

_GOLDEN = (1 + 5**0.5) / 2


@cache
def noise_tile(seed: int, size_px: int, wavelength_px: float, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise that continues over its edges.

    Args:
        seed: Of the noise.
        size_px: Side of the tile.
        wavelength_px: Shortest structure.
        stretch: How much longer the structures are along rows.

    Returns:
        (size_px, size_px) float32, mean 0, standard deviation 1, clipped to +-3.
    """
    noise = np.random.default_rng(seed).standard_normal((size_px, size_px))
    fy = np.fft.fftfreq(size_px)[:, None] * wavelength_px
    fx = np.fft.rfftfreq(size_px)[None, :] * wavelength_px * stretch
    smooth = np.fft.irfft2(np.fft.rfft2(noise) * np.exp(-2 * (fx**2 + fy**2)), noise.shape)
    smooth = (smooth - smooth.mean()) / smooth.std()
    return np.clip(smooth, -3, 3).astype(np.float32)


@cache
def _padded_tile(seed: int, size_px: int, wavelength_px: float, stretch: float) -> np.ndarray:
    return np.pad(noise_tile(seed, size_px, wavelength_px, stretch), (0, 1), mode='wrap')


def sample_noise(
    seed: int,
    x: np.ndarray,
    y: np.ndarray,
    step: float,
    wavelength_px: float,
    stretch: float = 1.0,
) -> np.ndarray:
    """Endless smooth noise over a plane.

    Args:
        seed: Of the noise.
        x: (H, W) float32, metres.
        y: As ``x``.
        step: Metres per texel.
        wavelength_px: Shortest structure, texels.
        stretch: How much longer the structures are along x.

    Returns:
        (H, W) float32, mean 0, standard deviation 1.
    """
    size = 512
    columns, rows = x * np.float32(1 / step), y * np.float32(1 / step)
    # Folded here, as OpenCV's own wrapping border is many times slower.
    columns -= size * np.floor(columns * np.float32(1 / size))
    rows -= size * np.floor(rows * np.float32(1 / size))
    tile = _padded_tile(seed, size, wavelength_px, stretch)
    return np.asarray(
        cv2.remap(tile, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _cube_directions(size_px: int) -> np.ndarray:
    """Directions of the texels of a cube map in OpenGL's order: (6, size, size, 3), unit."""
    t = (np.arange(size_px) + 0.5) / size_px * 2 - 1
    s, t = np.meshgrid(t, t)
    one = np.ones_like(s)
    faces = [
        (one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one),
    ]  # fmt: skip
    cube = np.stack([np.stack(face, axis=-1) for face in faces])
    return np.asarray(cube / np.linalg.norm(cube, axis=-1, keepdims=True))


def _icosahedron() -> np.ndarray:
    corners = [
        np.roll([0.0, a, b * _GOLDEN], shift)
        for shift in range(3)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    return np.array(corners) / np.hypot(1, _GOLDEN)


def _patches(d: np.ndarray, radius: float) -> np.ndarray:
    """Patches about the 12 corners of an icosahedron, with straight edges: bool."""
    corners = _icosahedron()
    closeness = d @ corners.T
    nearest = closeness.argmax(axis=-1)
    edge = np.zeros(d.shape[:-1])
    for index, corner in enumerate(corners):
        here = nearest == index
        around = corners[(corners @ corner > 0.3) & (corners @ corner < 0.9)]
        sideways = around - (around @ corner)[:, None] * corner
        sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
        edge[here] = np.arccos(np.clip(d[here] @ corner, -1, 1))
        edge[here] *= (d[here] @ sideways.T).max(axis=1) / np.maximum(np.sin(edge[here]), 1e-6)
    return np.asarray(edge < radius)


def _stars(d: np.ndarray, radius: float) -> np.ndarray:
    """Five-pointed stars about the 12 corners of an icosahedron: bool."""
    corners = _icosahedron()
    nearest = (d @ corners.T).argmax(axis=-1)
    inside = np.zeros(d.shape[:-1], bool)
    for index, corner in enumerate(corners):
        here = nearest == index
        around = corners[(corners @ corner > 0.3) & (corners @ corner < 0.9)][0]
        first = around - (around @ corner) * corner
        first /= np.linalg.norm(first)
        second = np.cross(corner, first)
        angle = np.arctan2(d[here] @ second, d[here] @ first)
        wave = np.abs((angle * 5 / (2 * np.pi)) % 1 - 0.5) * 2  # 1 at the tips
        off = np.arccos(np.clip(d[here] @ corner, -1, 1))
        inside[here] = off < radius * (0.38 + 0.62 * wave**1.3)
    return inside


def _blotches(d: np.ndarray, seed: int, scale: float) -> np.ndarray:
    """Irregular smooth noise on the sphere, mean about 0."""
    rng = np.random.default_rng(seed)
    total = np.zeros(d.shape[:-1])
    for _ in range(24):
        wave = rng.normal(0, scale, 3)
        total += np.sin(d @ wave + rng.uniform(0, 2 * np.pi))
    return np.asarray(total / np.sqrt(12))


def _seams(d: np.ndarray) -> np.ndarray:
    closeness = np.sort(d @ _icosahedron().T, axis=-1)
    return np.asarray((closeness[..., -1] - closeness[..., -2]) < 0.02)


@lru_cache(maxsize=1)
def ball_textures() -> dict[str, np.ndarray]:
    """Patterns of balls: name -> (6, size, size, 3) uint8 cube map."""
    d = _cube_directions(BALL_FACE_PX)
    white = np.full((*d.shape[:-1], 3), 235.0)

    def on_white(mask: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
        return np.where(mask[..., None], np.array(color, float), white)

    classic = on_white(_patches(d, 0.36), (18, 18, 20))
    classic[_seams(d)] = (120, 120, 120)
    rings = np.sin(9 * d[..., 2]) > 0.35
    waves = np.sin(5 * d[..., 0] + 3 * np.sin(4 * d[..., 1])) > 0.55
    stars = np.abs(d).max(axis=-1) > 0.93
    swirl = np.sin(4 * np.arctan2(d[..., 1], d[..., 0]) + 5 * d[..., 2]) > 0.3
    panels = np.where(
        (d.prod(axis=-1) > 0)[..., None], np.array([235.0, 235, 235]), np.array([30.0, 40, 140])
    )
    coloured = on_white(waves, (200, 30, 40))
    coloured[swirl & waves] = (20, 60, 160)
    dark_seams = white.copy()
    dark_seams[_seams(d)] = (60, 60, 60)
    shards = (_blotches(d, 5, 5.0) > 0.75) & (_patches(d, 0.5) | (_blotches(d, 6, 9.0) > 0.6))
    telstar = on_white(shards, (25, 25, 28))
    grain = (_blotches(d, 7, 30.0) > 0.2) & shards
    telstar[grain] = (95, 95, 100)
    star_edges = on_white(_stars(d, 0.62), (20, 20, 24))
    star_edges[_seams(d)] = (190, 190, 190)
    stars_blue = on_white(_stars(d, 0.6), (30, 60, 150))
    stars_blue[_blotches(d, 9, 7.0) > 1.2] = (200, 60, 90)
    used = 200 + 30 * _blotches(d, 11, 8.0) + 15 * _blotches(d, 12, 25.0)
    patterns = {
        'ball_telstar': telstar,
        'ball_star_edges': star_edges,
        'ball_stars_blue': stars_blue,
        'ball_used': np.clip(np.repeat(used[..., None], 3, axis=-1), 60, 255),
        'ball_plain': np.full_like(white, 255.0),
        'ball_seams': dark_seams,
        'ball_classic': classic,
        'ball_large_patches': on_white(_patches(d, 0.46), (15, 15, 15)),
        'ball_small_patches': on_white(_patches(d, 0.25), (25, 25, 25)),
        'ball_blue_patches': on_white(_patches(d, 0.34), (20, 50, 150)),
        'ball_rings': on_white(rings, (200, 40, 30)),
        'ball_waves': coloured,
        'ball_stars': on_white(stars, (10, 10, 10)),
        'ball_swirl': on_white(swirl & ~_patches(d, 0.3), (40, 40, 40)),
        'ball_panels': panels,
    }
    return {name: np.ascontiguousarray(value.astype(np.uint8)) for name, value in patterns.items()}


@lru_cache(maxsize=1)
def cloth_textures() -> dict[str, np.ndarray]:
    """Folds, stripes and circuits: name -> (6, size, size, 3) uint8 cube map."""
    cloths = {}
    for index in range(NUM_CLOTHS):
        rng = np.random.default_rng(100 + index)
        faces = []
        for face in range(6):
            folds = noise_tile(100 + 8 * index + face, BALL_FACE_PX, (24, 8, 40, 6)[index])
            grey = 205 + folds * (18, 12, 25, 14)[index]
            picture = np.repeat(grey[..., None], 3, axis=2)
            if index == 1:
                picture[np.arange(BALL_FACE_PX) % 16 < 7] *= 0.35
            if index == 3:
                for _ in range(26):
                    x, y = rng.integers(0, BALL_FACE_PX, 2).tolist()
                    w, h = rng.integers(3, 22, 2).tolist()
                    shade = rng.uniform(20, 200, 3).tolist()
                    cv2.rectangle(picture, (x, y), (x + w, y + h), shade, -1)
            faces.append(np.clip(picture, 0, 255))
        cloths[f'cloth_{index}'] = np.ascontiguousarray(np.stack(faces).astype(np.uint8))
    return cloths


@lru_cache(maxsize=1)
def board_textures() -> dict[str, np.ndarray]:
    """Posters, doors, shelves and screens: name -> (height, width, 3) uint8."""
    return {f'board_{index}': _board(index) for index in range(NUM_BOARDS)}


def _board(index: int) -> np.ndarray:
    rng = np.random.default_rng(500 + index)
    width, height = BOARD_PX
    ground = rng.uniform(120, 255, 3) if rng.random() < 0.6 else rng.uniform(10, 160, 3)
    if rng.random() < 0.35:
        ground[:] = ground.mean()
    picture = np.tile(ground, (height, width, 1)).astype(np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        x, y = int(rng.integers(-20, width)), int(rng.integers(-20, height))
        w, h = int(rng.integers(10, width // 2)), int(rng.integers(8, height // 2))
        shade = rng.uniform(0, 255, 3).tolist()
        if rng.random() < 0.6:
            cv2.rectangle(picture, (x, y), (x + w, y + h), shade, -1)
        else:
            cv2.ellipse(picture, ((x, y), (w, h), float(rng.uniform(0, 180))), shade, -1)
    for _ in range(int(rng.integers(0, 5))):
        text = ''.join(rng.choice(list('ABEFGHIKLMNORSTUVXYZ0123456789'), int(rng.integers(3, 9))))
        where = (int(rng.integers(0, width // 2)), int(rng.integers(20, height)))
        size, shade = float(rng.uniform(0.5, 2.2)), rng.uniform(0, 255, 3).tolist()
        cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, shade, 3)
    grain = picture + 4 * noise_tile(3, 256, 8)[:height, :width, None]
    return np.ascontiguousarray(np.clip(grain, 0, 255).astype(np.uint8))
