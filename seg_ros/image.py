"""Image messages, live or from a bag, to arrays.

The messages are duck-typed: rclpy's and rosbags' classes have the same fields. Nothing of a
message is believed before it was checked against the length of its data.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np

from seg_ros.image_container import checked, is_jpeg, read_header
from seg_ros.image_files import LIMIT_VARIABLE

ColorOrder = Literal['bgr', 'rgb']

MAX_IMAGE_PIXELS = 7680 * 4320  # 8K; a larger claim is taken for damage or ill will


class ImageMessage(Protocol):
    """Fields of sensor_msgs/Image that are read."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImageMessage(Protocol):
    """Fields of sensor_msgs/CompressedImage that are read."""

    format: str
    data: Any


@dataclass(frozen=True)
class CameraImage:
    """Pixels as they came, and what their channels mean.

    Attributes:
        pixels: (H, W, 3) uint8; a view of the message's data where the layout allows.
        order: ``bgr`` or ``rgb``.
    """

    pixels: np.ndarray
    order: ColorOrder


class _Encoding(NamedTuple):
    """How a pixel is stored and how it becomes three channels of 8 bit."""

    channels: int  # values per pixel
    bits: int  # per value
    conversion: int | None  # OpenCV's conversion code after reduction to 8 bit
    order: ColorOrder  # of the result


# Names from sensor_msgs/image_encodings.hpp. ROS names a Bayer pattern by its first two rows,
# OpenCV by pixels two and three of the second; Humble's OpenCV lacks the aliases in ROS' spelling.
_ENCODINGS: dict[str, _Encoding] = {
    'bgr8': _Encoding(3, 8, None, 'bgr'),
    'rgb8': _Encoding(3, 8, None, 'rgb'),
    '8UC3': _Encoding(3, 8, None, 'bgr'),
    'bgra8': _Encoding(4, 8, cv2.COLOR_BGRA2BGR, 'bgr'),
    'rgba8': _Encoding(4, 8, cv2.COLOR_BGRA2BGR, 'rgb'),
    '8UC4': _Encoding(4, 8, cv2.COLOR_BGRA2BGR, 'bgr'),
    'mono8': _Encoding(1, 8, cv2.COLOR_GRAY2BGR, 'bgr'),
    '8UC1': _Encoding(1, 8, cv2.COLOR_GRAY2BGR, 'bgr'),
    'mono16': _Encoding(1, 16, cv2.COLOR_GRAY2BGR, 'bgr'),
    '16UC1': _Encoding(1, 16, cv2.COLOR_GRAY2BGR, 'bgr'),
    'bgr16': _Encoding(3, 16, None, 'bgr'),
    'rgb16': _Encoding(3, 16, None, 'rgb'),
    'bayer_rggb8': _Encoding(1, 8, cv2.COLOR_BayerBG2BGR, 'bgr'),
    'bayer_bggr8': _Encoding(1, 8, cv2.COLOR_BayerRG2BGR, 'bgr'),
    'bayer_gbrg8': _Encoding(1, 8, cv2.COLOR_BayerGR2BGR, 'bgr'),
    'bayer_grbg8': _Encoding(1, 8, cv2.COLOR_BayerGB2BGR, 'bgr'),
    'bayer_rggb16': _Encoding(1, 16, cv2.COLOR_BayerBG2BGR, 'bgr'),
    'bayer_bggr16': _Encoding(1, 16, cv2.COLOR_BayerRG2BGR, 'bgr'),
    'bayer_gbrg16': _Encoding(1, 16, cv2.COLOR_BayerGR2BGR, 'bgr'),
    'bayer_grbg16': _Encoding(1, 16, cv2.COLOR_BayerGB2BGR, 'bgr'),
    'yuv422': _Encoding(2, 8, cv2.COLOR_YUV2BGR_UYVY, 'bgr'),
    'uyvy': _Encoding(2, 8, cv2.COLOR_YUV2BGR_UYVY, 'bgr'),
    'yuv422_yuy2': _Encoding(2, 8, cv2.COLOR_YUV2BGR_YUY2, 'bgr'),
    'yuyv': _Encoding(2, 8, cv2.COLOR_YUV2BGR_YUY2, 'bgr'),
}
ENCODINGS = tuple(_ENCODINGS)

_AS_COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_AS_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION

_LABEL_TYPES: dict[str, np.dtype[Any]] = {
    'mono8': np.dtype(np.uint8),
    '8UC1': np.dtype(np.uint8),
    'mono16': np.dtype(np.uint16),
    '16UC1': np.dtype(np.uint16),
    '16SC1': np.dtype(np.int16),
}


def decode_image(
    message: ImageMessage, *, max_image_pixels: int = MAX_IMAGE_PIXELS
) -> CameraImage:
    """Turn a sensor_msgs/Image into pixels.

    bgr8 and rgb8 are views of the message's data, padded rows included; other encodings are
    converted, 16-bit values scaled by 255/65535. Encodings that are not listed in ``ENCODINGS``
    go through cv_bridge where it is installed.

    Args:
        message: The message.
        max_image_pixels: Largest width times height that is accepted.

    Returns:
        The pixels and the order of their channels.

    Raises:
        ValueError: If size, step, encoding and data length do not fit together.
    """
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        return _decode_with_cv_bridge(message, max_image_pixels)
    rows = _checked_rows(message, encoding.channels, encoding.bits // 8, max_image_pixels)
    if encoding.bits == 16:
        rows = _native_order(rows, message.is_bigendian, np.dtype(np.uint16))
    values = rows.reshape(message.height, message.width, encoding.channels)
    return _to_camera_image(values, message.encoding, encoding)


def _to_camera_image(values_hwc: np.ndarray, name: str, encoding: _Encoding) -> CameraImage:
    """Turn stored values, (H, W, channels) uint8 or uint16, into three channels of 8 bit."""
    height, width = values_hwc.shape[:2]
    if values_hwc.dtype == np.uint16:
        values_hwc = cv2.convertScaleAbs(values_hwc, alpha=255 / 65535)
    if encoding.conversion is not None:
        if encoding.channels == 2 and width % 2:
            raise ValueError(f'{name} needs an even width, got {width}')
        if 'bayer' in name and (height < 4 or width < 4):
            raise ValueError(f'{name} needs at least 4x4 pixels, got {width}x{height}')
        values_hwc = cv2.cvtColor(values_hwc, encoding.conversion)
    return CameraImage(values_hwc.reshape(height, width, 3), encoding.order)


def decode_compressed_image(
    message: CompressedImageMessage, *, max_image_pixels: int = MAX_IMAGE_PIXELS
) -> CameraImage:
    """Decode a sensor_msgs/CompressedImage holding JPEG or PNG.

    What the data is, is read from the data: drivers disagree on ``format``. Of that only a Bayer
    pattern is believed, where the file is grey: image_transport compresses the mosaic as it is.
    The size in the file's header is checked before anything is decoded. An EXIF rotation is not
    applied: the mask has to lie on the sensor's pixels.

    Raises:
        ValueError: If the data is no JPEG or PNG, too large, truncated or damaged.
    """
    original = message.format.partition(';')[0].strip()
    if original in _ENCODINGS and original.startswith('bayer'):
        pixels = _decode_file(message, _AS_STORED, max_image_pixels)
        if pixels.ndim == 2:
            return _to_camera_image(pixels, original, _ENCODINGS[original])
    return CameraImage(_decode_file(message, _AS_COLOR, max_image_pixels), 'bgr')


def decode_labels(
    message: ImageMessage, *, max_image_pixels: int = MAX_IMAGE_PIXELS
) -> np.ndarray:
    """Turn a label image message (mono8, 8UC1, mono16, 16UC1, 16SC1) into class ids.

    Returns:
        (H, W) uint8; -1 of signed encodings becomes 255 = void.

    Raises:
        ValueError: As ``decode_image``, and for ids that do not fit 0..255.
    """
    dtype = _LABEL_TYPES.get(message.encoding)
    if dtype is None:
        raise ValueError(
            f'label image has encoding {_quoted(message.encoding)}; '
            f'allowed are {", ".join(_LABEL_TYPES)}'
        )
    rows = _checked_rows(message, 1, dtype.itemsize, max_image_pixels)
    if dtype.itemsize == 1:
        return np.ascontiguousarray(rows)
    ids = _native_order(rows, message.is_bigendian, dtype).astype(np.int32)
    ids[ids == -1] = 255
    if ids.size and (ids.min() < 0 or ids.max() > 255):
        raise ValueError(f'label ids reach from {ids.min()} to {ids.max()}; allowed are 0 to 255')
    return ids.astype(np.uint8)


def decode_compressed_labels(
    message: CompressedImageMessage, *, max_image_pixels: int = MAX_IMAGE_PIXELS
) -> np.ndarray:
    """Decode a sensor_msgs/CompressedImage of class ids: a PNG with one channel of 8 bit.

    Raises:
        ValueError: If it is no such PNG, too large, or damaged; JPEG alters ids and is refused.
    """
    if is_jpeg(bytes(message.data[:2])):
        raise ValueError('label image is a JPEG, which alters ids; record it as PNG')
    labels = _decode_file(message, _AS_STORED, max_image_pixels)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(
            f'compressed label image is {labels.shape} {labels.dtype}; '
            'expected one channel of 8 bit'
        )
    return np.asarray(labels, np.uint8)


def _decode_file(message: CompressedImageMessage, flags: int, max_image_pixels: int) -> np.ndarray:
    """Decode a JPEG or PNG after its size and structure were checked."""
    data = bytes(message.data)
    try:
        width, height, _ = read_header(data)
        _check_size(width, height, max_image_pixels)
        pixels = cv2.imdecode(np.frombuffer(checked(data), np.uint8), flags)
    except ValueError as error:
        raise ValueError(f'compressed image ({_quoted(message.format)}): {error}') from error
    except cv2.error as error:
        raise ValueError(f'compressed image cannot be decoded: {error.err}') from error
    if pixels is None or pixels.shape[:2] != (height, width):
        raise ValueError(f'compressed image ({_quoted(message.format)}) is damaged')
    return np.asarray(pixels)


def _quoted(text: str) -> str:
    """Quote a sender's text; a log is no place for a megabyte of it."""
    return repr(text[:40])


def _check_size(width: int, height: int, max_image_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f'image size {width}x{height} is empty')
    if width * height > max_image_pixels:
        raise ValueError(
            f'image size {width}x{height} has more than max_image_pixels = {max_image_pixels} '
            f'(for bags: {LIMIT_VARIABLE} in the environment)'
        )


def _checked_rows(
    message: ImageMessage, channels: int, value_bytes: int, max_image_pixels: int
) -> np.ndarray:
    """View the data as (H, W * channels * value_bytes) uint8, the padding of rows cut off."""
    height, width, step = message.height, message.width, message.step
    _check_size(width, height, max_image_pixels)
    row_bytes = width * channels * value_bytes
    if step < row_bytes:
        raise ValueError(
            f'step {step} is too small: {width} pixels {message.encoding} take {row_bytes} bytes'
        )
    data = np.frombuffer(message.data, np.uint8)
    if data.size != step * height:
        raise ValueError(
            f'data has {data.size} bytes, step {step} x height {height} asks for {step * height}'
        )
    return data.reshape(height, step)[:, :row_bytes]


def _native_order(rows: np.ndarray, is_bigendian: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Read rows of bytes as 16-bit values in the machine's byte order."""
    values = np.ascontiguousarray(rows).view(dtype)
    if bool(is_bigendian) != (sys.byteorder == 'big'):
        values = values.byteswap()
    return values


def _decode_with_cv_bridge(message: ImageMessage, max_image_pixels: int) -> CameraImage:
    unknown = f'unknown encoding {_quoted(message.encoding)}; available: {", ".join(ENCODINGS)}'
    try:
        from cv_bridge import CvBridge, CvBridgeError  # noqa: PLC0415 - only where installed
    except ImportError:
        raise ValueError(unknown) from None
    try:
        bridge = CvBridge()
        dtype, channels = bridge.encoding_to_dtype_with_channels(message.encoding)
        value_bytes = np.dtype(dtype).itemsize
        rows = _checked_rows(message, channels, value_bytes, max_image_pixels)
        # Padding that is no multiple of a pixel would shear the picture: it counts in pixels.
        plain = SimpleNamespace(
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            is_bigendian=message.is_bigendian,
            step=rows.shape[1],
            data=rows.tobytes(),
        )
        pixels = bridge.imgmsg_to_cv2(plain, 'bgr8')
    except (CvBridgeError, cv2.error, TypeError, RuntimeError) as error:
        raise ValueError(f'{unknown}; cv_bridge: {error}') from error
    return CameraImage(np.asarray(pixels, np.uint8), 'bgr')
