"""What lens, sensor and codec make of light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from seg_ros.scenes.labels import BACKGROUND
from seg_ros.scenes.stage import MAX_SIDE_PX

_TONES = 1023  # steps of the tone curve between black and white


@dataclass(frozen=True)
class Sensor:
    """A camera's imperfections; the defaults leave the picture alone.

    Attributes:
        exposure: Factor on the light.
        white_balance: Factors on red, green and blue.
        gamma: Exponent of the tone curve.
        contrast: About middle grey.
        saturation: 0 is grey, 1 unchanged.
        haze: Light added everywhere, as from a dirty lens.
        bloom: Share of bright light that spreads.
        vignette: Loss of light in the corners.
        defocus_px: Standard deviation of the blur.
        motion_px: (columns, rows) of the movement during the exposure.
        shear_px: How far the last row lies off the first: a rolling shutter; moves labels too.
        shot_noise: Standard deviation at full brightness.
        read_noise: Standard deviation at black.
        bayer: Sample through a colour filter array and interpolate.
        sharpen: Strength of an unsharp mask.
        jpeg_quality: 0 for none, else 1 to 100.
        caption: Letters over the picture, '' for none; labels stay as they are.
        letterbox: Share of (rows, columns) blackened on both sides; labels become background.
    """

    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    haze: float = 0.0
    bloom: float = 0.0
    vignette: float = 0.0
    defocus_px: float = 0.0
    motion_px: tuple[float, float] = (0.0, 0.0)
    shear_px: float = 0.0
    shot_noise: float = 0.0
    read_noise: float = 0.0
    bayer: bool = False
    sharpen: float = 0.0
    caption: str = ''
    jpeg_quality: int = 0
    letterbox: tuple[float, float] = (0.0, 0.0)


def random_sensor(rng: np.random.Generator, scale: float) -> Sensor:
    """Draw a camera.

    Args:
        rng: Draws everything.
        scale: Image width / 640, which blur grows with.
    """
    warm = float(rng.normal(0, 0.09))
    tint = float(rng.normal(0, 0.04))
    moving = rng.random() < 0.3
    speed, heading = float(rng.gamma(1.3, 4.0)) * scale * moving, float(rng.uniform(0, np.pi))
    noise = float(rng.gamma(1.2, 0.012))
    letterbox = (0.0, 0.0)
    pick = rng.random()
    if pick < 0.04:
        share = float(rng.uniform(0.05, 0.3))
        letterbox = (share, 0.0) if rng.random() < 0.4 else (0.0, share)
    elif pick < 0.09:  # an upright picture
        letterbox = (0.0, float(rng.uniform(0.4, 0.62)))
    return Sensor(
        exposure=float(np.exp(rng.normal(-0.02, 0.24))),
        white_balance=(1 + warm, 1 + tint, 1 - warm),
        gamma=float(np.exp(rng.normal(-0.05, 0.18))),
        contrast=float(rng.uniform(0.8, 1.25)),
        saturation=float(rng.uniform(0.6, 1.4)),
        haze=float(max(0.0, rng.normal(0.0, 0.03))),
        bloom=float(rng.uniform(0, 0.5)) * (rng.random() < 0.4),
        vignette=float(rng.uniform(0, 0.5)) * (rng.random() < 0.6),
        defocus_px=float(rng.gamma(1.5, 0.4)) * scale,
        motion_px=(speed * float(np.cos(heading)), speed * float(np.sin(heading))),
        shear_px=float(rng.normal(0, 12)) * scale * (rng.random() < 0.15),
        shot_noise=noise,
        read_noise=0.5 * noise,
        bayer=bool(rng.random() < 0.3),
        sharpen=float(rng.uniform(0, 1.2)) * (rng.random() < 0.4),
        caption=_random_words(rng) if rng.random() < 0.05 else '',
        jpeg_quality=int(rng.integers(35, 97)) if rng.random() < 0.75 else 0,
        letterbox=letterbox,
    )


def expose(
    light: np.ndarray, labels: np.ndarray, sensor: Sensor, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Take the picture.

    Args:
        light: (H, W, 3) float32 RGB, 0 to 1 and somewhat above; overwritten.
        labels: (H, W) uint8.
        sensor: The camera.
        rng: Draws the noise.

    Returns:
        (H, W, 3) uint8 RGB, and labels of the same scene moved as the picture was.
    """
    light = _optics(light, sensor)
    if sensor.shear_px:
        light, labels = _roll_shutter(light, labels, sensor.shear_px)
    picture = _tone(light, sensor)
    picture = _read_out(picture, sensor, rng)
    if sensor.caption:
        _write(picture, sensor.caption)
    if sensor.jpeg_quality:
        quality = [cv2.IMWRITE_JPEG_QUALITY, sensor.jpeg_quality]
        coded = cv2.imencode('.jpg', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        picture = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
    if any(sensor.letterbox):
        labels = labels.copy()
        rows = round(sensor.letterbox[0] * picture.shape[0] / 2)
        columns = round(sensor.letterbox[1] * picture.shape[1] / 2)
        for plane, value in ((picture, 0), (labels, BACKGROUND)):
            plane[:rows] = plane[len(plane) - rows :] = value
            plane[:, :columns] = plane[:, plane.shape[1] - columns :] = value
    return picture, labels


def _random_words(rng: np.random.Generator) -> str:
    letters = list('abcdefghiklmnorstuvwABCDEFR 0123456789:')
    return ''.join(rng.choice(letters, int(rng.integers(4, 28))))


def _write(picture: np.ndarray, caption: str) -> None:
    """Subtitles and the clocks of recorders."""
    height, width = picture.shape[:2]
    pick = sum(map(ord, caption))
    size = height / (420, 520, 640)[pick % 3]
    (w, h), _ = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    where = ((width - w) // 2, (h + 6, height - h)[pick % 2])
    for color, thick in (((0, 0, 0), 3), ((255, 255, 255), 1 + pick % 2)):
        cv2.putText(
            picture, caption, where, cv2.FONT_HERSHEY_SIMPLEX, size, color, thick, cv2.LINE_AA
        )


def _optics(light: np.ndarray, sensor: Sensor) -> np.ndarray:
    height, width = light.shape[:2]
    if sensor.bloom > 0:
        small = cv2.resize(light, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
        glare = cv2.GaussianBlur(np.maximum(small - np.float32(0.75), 0), (0, 0), width / 100)
        light += np.float32(2 * sensor.bloom) * cv2.resize(glare, (width, height))
    if sensor.haze > 0:
        light += np.float32(sensor.haze)
    if sensor.defocus_px > 0.3:
        light = cv2.GaussianBlur(light, (0, 0), sensor.defocus_px)
    if max(map(abs, sensor.motion_px)) >= 1:
        light = cv2.filter2D(light, -1, _streak(*sensor.motion_px))
    if sensor.vignette > 0:
        u = np.linspace(-1, 1, width, dtype=np.float32) ** 2
        v = np.linspace(-1, 1, height, dtype=np.float32) ** 2
        light *= (1 - np.float32(sensor.vignette / 2) * (u[None, :] + v[:, None]))[..., None]
    return light


def _streak(columns: float, rows: float) -> np.ndarray:
    half = int(np.ceil(max(abs(columns), abs(rows)) / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    fine = 16  # sub-pixel coordinates of cv2.line
    start = (round((half - columns / 2) * fine), round((half - rows / 2) * fine))
    end = (round((half + columns / 2) * fine), round((half + rows / 2) * fine))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, 4)
    if kernel.sum() == 0:
        kernel[half, half] = 1
    return np.asarray(kernel / kernel.sum())


def _roll_shutter(
    light: np.ndarray, labels: np.ndarray, shear_px: float
) -> tuple[np.ndarray, np.ndarray]:
    height, width = labels.shape
    shift = np.array([[1, shear_px / height, -shear_px / 2], [0, 1, 0]], np.float32)
    inverse = cv2.WARP_INVERSE_MAP
    light = cv2.warpAffine(
        light, shift, (width, height), flags=cv2.INTER_LINEAR | inverse,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    labels = cv2.warpAffine(
        labels, shift, (width, height), flags=cv2.INTER_NEAREST | inverse,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return light, labels


def _tone(light: np.ndarray, sensor: Sensor) -> np.ndarray:
    """White balance, saturation, clipping, gamma and contrast; uint8."""
    grey = np.array([0.299, 0.587, 0.114])
    mixing = sensor.saturation * np.eye(3) + (1 - sensor.saturation) * grey
    mixing = mixing * np.array(sensor.white_balance) * (sensor.exposure * _TONES)
    values = np.linspace(0, 1, _TONES + 1) ** sensor.gamma
    values = np.clip((values - 0.5) * sensor.contrast + 0.5, 0, 1) * 255
    table = np.full(1 << 16, values[-1])
    table[: _TONES + 1] = values
    index = cv2.multiply(
        cv2.transform(light, mixing.astype(np.float32)), (1.0,) * 4, dtype=cv2.CV_16U
    )
    return np.take(np.round(table).astype(np.uint8), index)


@cache
def _noise_pool() -> np.ndarray:
    """Standard normal noise; pictures take a window of it, which costs nothing."""
    side = 2 * MAX_SIDE_PX
    return np.random.default_rng(0).standard_normal((side, side), np.float32)


def _read_out(pixels: np.ndarray, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    if sensor.shot_noise > 0 or sensor.read_noise > 0:
        height, width = pixels.shape[:2]
        level = np.arange(256) / 255
        spread = 255 * np.sqrt(sensor.read_noise**2 + sensor.shot_noise**2 * level)
        gain = cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), spread.astype(np.float32))
        pool = _noise_pool()
        planes = []
        for _ in range(3):
            row = int(rng.integers(pool.shape[0] - height))
            column = int(rng.integers(pool.shape[1] - width))
            planes.append(gain * pool[row : row + height, column : column + width])
        pixels = np.asarray(cv2.add(pixels, cv2.merge(planes), dtype=cv2.CV_8U))
    if sensor.sharpen > 0:
        soft = cv2.GaussianBlur(pixels, (0, 0), 1.2)
        pixels = np.asarray(
            cv2.addWeighted(pixels, 1 + sensor.sharpen, soft, -sensor.sharpen, 0.0)
        )
    if sensor.bayer:
        mosaic = np.empty(pixels.shape[:2], np.uint8)
        for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
            mosaic[row::2, column::2] = pixels[row::2, column::2, channel]
        pixels = np.asarray(cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB))
    return pixels
