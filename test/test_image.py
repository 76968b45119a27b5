from __future__ import annotations

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from seg_ros.image import ENCODINGS, decode_compressed_image, decode_image, decode_labels

HEIGHT, WIDTH = 12, 16


def message(rows, encoding, *, width=WIDTH, padding=0, is_bigendian=0, **changes):
    """An image message of (H, bytes) rows, each followed by ``padding`` bytes of rubbish."""
    rubbish = np.full((len(rows), padding), 99, np.uint8)
    fields = {
        'height': len(rows),
        'width': width,
        'encoding': encoding,
        'is_bigendian': is_bigendian,
        'step': rows.shape[1] + padding,
        'data': np.hstack([rows, rubbish]).tobytes(),
    }
    return SimpleNamespace(**{**fields, **changes})


@pytest.fixture
def bgr():
    """A smooth colour picture, so that Bayer and chroma subsampling reproduce it closely."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.dstack([40 + 8 * x, 60 + 9 * y, 200 - 5 * x - 3 * y]).astype(np.uint8)


def as_bgr(image):
    return image.pixels if image.order == 'bgr' else image.pixels[..., ::-1]


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', '8UC3'])
def test_three_channels_of_8_bit_are_views(bgr, encoding, padding):
    pixels = bgr[..., ::-1] if encoding == 'rgb8' else bgr
    rows = pixels.reshape(HEIGHT, -1)
    data = np.hstack([rows, np.zeros((HEIGHT, padding), np.uint8)]).ravel()
    image = decode_image(message(rows, encoding, padding=padding, data=data))
    np.testing.assert_array_equal(as_bgr(image), bgr)
    assert np.shares_memory(image.pixels, data)


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('encoding', ['bgra8', 'rgba8', '8UC4'])
def test_alpha_is_left_out(bgr, encoding, padding):
    pixels = bgr[..., ::-1] if encoding == 'rgba8' else bgr
    rows = np.dstack([pixels, np.full((HEIGHT, WIDTH), 7, np.uint8)]).reshape(HEIGHT, -1)
    image = decode_image(message(rows, encoding, padding=padding))
    np.testing.assert_array_equal(as_bgr(image), bgr)


@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize('is_bigendian', [0, 1])
@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
def test_16_bit_grey_is_scaled_in_either_byte_order(encoding, is_bigendian, padding):
    grey = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    stored = grey.astype('>u2' if is_bigendian else '<u2').view(np.uint8)
    image = decode_image(message(stored, encoding, padding=padding, is_bigendian=is_bigendian))
    for channel in range(3):
        np.testing.assert_allclose(image.pixels[..., channel], grey / 257, atol=0.51)


def test_8_bit_grey_fills_all_channels():
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    image = decode_image(message(grey, 'mono8', padding=1))
    np.testing.assert_array_equal(image.pixels, np.dstack([grey] * 3))


@pytest.mark.parametrize('order', ['bgr', 'rgb'])
def test_16_bit_colour_is_scaled(bgr, order):
    pixels = bgr[..., ::-1] if order == 'rgb' else bgr
    rows = (pixels.astype('<u2') * 257).reshape(HEIGHT, -1).view(np.uint8)
    image = decode_image(message(rows, f'{order}16'))
    np.testing.assert_array_equal(as_bgr(image), bgr)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_give_the_colours_back(bgr, pattern, bits):
    channel = {'b': 0, 'g': 1, 'r': 2}
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for position, color in enumerate(pattern):
        rows, columns = slice(position // 2, None, 2), slice(position % 2, None, 2)
        mosaic[rows, columns] = bgr[rows, columns, channel[color]]
    stored = mosaic if bits == 8 else (mosaic.astype('<u2') * 257).view(np.uint8)
    image = decode_image(message(stored, f'bayer_{pattern}{bits}'))
    inner = np.s_[2:-2, 2:-2]  # linear interpolation is exact on a ramp, but for the border
    np.testing.assert_allclose(image.pixels[inner].astype(int), bgr[inner], atol=3)


@pytest.mark.parametrize('encoding', ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv'])
def test_chroma_subsampled_images_give_the_colours_back(bgr, encoding):
    # BT.601 video range, as OpenCV and ROS understand these encodings
    b, g, r = (bgr[..., i].astype(float) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    chroma = np.where(np.arange(WIDTH) % 2 == 0, u, np.roll(v, 1, axis=1))
    pair = (chroma, y) if encoding in ('yuv422', 'uyvy') else (y, chroma)
    rows = np.dstack(pair).round().clip(0, 255).astype(np.uint8).reshape(HEIGHT, -1)
    image = decode_image(message(rows, encoding))
    np.testing.assert_allclose(image.pixels.astype(int), bgr, atol=12)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'step': 47}, 'step 47 is too small: 16 pixels bgr8 take 48 bytes'),
        ({'step': 49}, 'data has 576 bytes, step 49 x height 12 asks for 588'),
        ({'data': b''}, 'data has 0 bytes'),
        ({'height': 0}, 'size 16x0 is empty'),
        ({'width': 0}, 'size 0x12 is empty'),
        ({'width': 20_000, 'height': 20_000, 'step': 60_000}, 'more than max_image_pixels'),
        ({'encoding': 'jpeg'}, "unknown encoding 'jpeg'; available: bgr8"),
        ({'encoding': 'rgba8'}, 'step 48 is too small: 16 pixels rgba8 take 64 bytes'),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(bgr, changes, reason):
    with pytest.raises(ValueError, match=reason):
        decode_image(message(bgr.reshape(HEIGHT, -1), **{'encoding': 'bgr8', **changes}))


def test_yuv_needs_pairs_of_pixels():
    with pytest.raises(ValueError, match='even width, got 3'):
        decode_image(message(np.zeros((4, 6), np.uint8), 'yuyv', width=3))


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_gives_three_channels_of_8_bit(encoding):
    # 8 bytes a pixel are enough for all; the rest of a row is padding
    image = decode_image(message(np.zeros((HEIGHT, WIDTH * 8), np.uint8), encoding))
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert image.pixels.dtype == np.uint8


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_files_are_decoded_whatever_the_format_says(bgr, extension):
    data = cv2.imencode(extension, bgr)[1].tobytes()
    image = decode_compressed_image(SimpleNamespace(format='who knows', data=data))
    np.testing.assert_allclose(
        image.pixels.astype(int), bgr, atol=0 if extension == '.png' else 24
    )


@pytest.mark.parametrize(
    ('encoding', 'extension'),
    [
        (name, extension)
        for name in ENCODINGS
        for extension in ('.png', '.jpg')
        if name.startswith('bayer') and (extension == '.png' or name.endswith('8'))
    ],
)
def test_a_bayer_mosaic_that_was_compressed_has_its_colours(encoding, extension):
    # Blocks that are larger than what a JPEG blurs.
    colors = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    bgr = np.kron(colors, np.ones((16, 16, 1), np.uint8))
    mosaic = bayer_mosaic(bgr, encoding)
    if encoding.endswith('16'):
        mosaic = mosaic.astype(np.uint16) * 257
    data = cv2.imencode(extension, mosaic, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    kind = {'.png': 'png', '.jpg': 'jpeg'}[extension]
    compressed = SimpleNamespace(format=f'{encoding}; {kind} compressed ', data=data)
    raw = message(mosaic.view(np.uint8).reshape(64, -1), encoding, width=64, height=64)
    got, expected = decode_compressed_image(compressed), decode_image(raw)
    assert got.order == expected.order
    np.testing.assert_allclose(
        got.pixels.astype(int), expected.pixels, atol=0 if extension == '.png' else 16
    )
    inner = got.pixels.reshape(4, 16, 4, 16, 3)[:, 4:12, :, 4:12].astype(int)
    assert np.abs(inner - colors[:, np.newaxis, :, np.newaxis]).max() < 16


def test_a_bayer_camera_whose_driver_sends_colours_is_left_alone(bgr):
    data = cv2.imencode('.png', bgr)[1].tobytes()
    compressed = SimpleNamespace(format='bayer_rggb8; png compressed bgr8', data=data)
    np.testing.assert_array_equal(decode_compressed_image(compressed).pixels, bgr)


def bayer_mosaic(bgr, encoding):
    """What a sensor with the pattern sees; the name lists its first 2x2 pixels."""
    mosaic = np.empty(bgr.shape[:2], np.uint8)
    for place, color in enumerate(encoding.removeprefix('bayer_')[:4]):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = bgr[row::2, column::2, 'bgr'.index(color)]
    return mosaic


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_every_truncation_is_refused(bgr, extension):
    data = cv2.imencode(extension, bgr)[1].tobytes()
    for length in range(0, len(data) - 4, 7):
        with pytest.raises(ValueError, match=r'truncated|neither|damaged'):
            decode_compressed_image(SimpleNamespace(format='', data=data[:length]))


def test_a_bomb_is_refused_by_its_header():
    png = bytearray(cv2.imencode('.png', np.zeros((8, 8), np.uint8))[1].tobytes())
    png[16:24] = (60_000).to_bytes(4, 'big') * 2
    with pytest.raises(ValueError, match='60000x60000 has more than max_image_pixels'):
        decode_compressed_image(SimpleNamespace(format='png', data=bytes(png)))
    jpeg = cv2.imencode('.jpg', np.zeros((64, 64), np.uint8))[1].tobytes()
    with pytest.raises(ValueError, match='64x64 has more than max_image_pixels = 100'):
        decode_compressed_image(SimpleNamespace(format='jpeg', data=jpeg), max_image_pixels=100)


def test_other_file_formats_are_refused(bgr):
    data = cv2.imencode('.bmp', bgr)[1].tobytes()
    with pytest.raises(ValueError, match='neither JPEG nor PNG'):
        decode_compressed_image(SimpleNamespace(format='bmp', data=data))


def test_exif_rotation_is_not_applied(bgr):
    jpeg = cv2.imencode('.jpg', bgr)[1].tobytes()
    tiff = (
        b'II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00'
        + b'\0' * 4
    )
    exif = b'Exif\x00\x00' + tiff
    rotated = jpeg[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (16, 12)
    image = decode_compressed_image(SimpleNamespace(format='jpeg', data=rotated))
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize('is_bigendian', [0, 1])
@pytest.mark.parametrize(
    ('encoding', 'dtype'), [('16SC1', 'i2'), ('mono16', 'u2'), ('mono8', 'u1')]
)
def test_labels_are_read_from_every_label_encoding(encoding, dtype, is_bigendian):
    ids = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 12
    stored = ids.astype(('>' if is_bigendian else '<') + dtype).view(np.uint8)
    decoded = decode_labels(message(stored, encoding, padding=2, is_bigendian=is_bigendian))
    np.testing.assert_array_equal(decoded, ids)
    assert decoded.dtype == np.uint8


def test_signed_labels_take_minus_one_for_void_and_refuse_other_ids():
    stored = np.full((HEIGHT, WIDTH), -1, '<i2')
    assert (decode_labels(message(stored.view(np.uint8), '16SC1')) == 255).all()
    stored[0, 0] = 300
    with pytest.raises(ValueError, match='label ids reach from 255 to 300'):
        decode_labels(message(stored.view(np.uint8), '16SC1'))
    with pytest.raises(ValueError, match="encoding 'rgb8'; allowed are mono8"):
        decode_labels(message(stored.view(np.uint8), 'rgb8'))


NO_COLOUR = ('8UC1', '8UC3', '8UC4', '16UC1')  # cv_bridge gives them no colour meaning


@pytest.mark.parametrize('encoding', [each for each in ENCODINGS if each not in NO_COLOUR])
def test_cv_bridge_agrees_on_every_encoding_that_it_knows(encoding):
    cv_bridge = pytest.importorskip(
        'cv_bridge', reason='cv_bridge comes with a ROS distribution only'
    )
    bridge = cv_bridge.CvBridge()
    try:
        dtype, channels = bridge.encoding_to_dtype_with_channels(encoding)
    except cv_bridge.CvBridgeError as error:
        pytest.skip(f'this cv_bridge does not have it: {error}')
    pixel_bytes = np.dtype(dtype).itemsize * channels
    rows = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH * pixel_bytes), np.uint8)
    expected = bridge.imgmsg_to_cv2(message(rows, encoding), 'bgr8')
    # It shears padded rows whose step is no multiple of the pixel, so it sees none of them.
    for padding in (0, 1, pixel_bytes, 5):
        decoded = as_bgr(decode_image(message(rows, encoding, padding=padding)))
        np.testing.assert_allclose(decoded.astype(int), expected, atol=1)


class BridgeThatCountsInPixels:
    """Reads rows as cv_bridge does: a step of whole pixels, whatever the message says."""

    def encoding_to_dtype_with_channels(self, encoding):
        if encoding != '32FC3':
            raise RuntimeError(f'Unrecognized image encoding [{encoding}]')
        return 'float32', 3

    def imgmsg_to_cv2(self, given, _):
        shape = given.height, int(given.step / 4 / 3), 3
        values = np.ndarray(shape, np.float32, buffer=given.data)[:, : given.width]
        return values.astype(np.uint8)


@pytest.fixture
def _bridge(monkeypatch):
    fake = SimpleNamespace(CvBridge=BridgeThatCountsInPixels, CvBridgeError=TypeError)
    monkeypatch.setitem(sys.modules, 'cv_bridge', fake)


@pytest.mark.usefixtures('_bridge')
@pytest.mark.parametrize('padding', [0, 4, 12, 20])
def test_what_cv_bridge_decodes_is_not_sheared_by_padding(bgr, padding):
    rows = bgr.astype(np.float32).reshape(HEIGHT, -1).view(np.uint8)
    decoded = decode_image(message(rows, '32FC3', padding=padding))
    np.testing.assert_array_equal(decoded.pixels, bgr)


@pytest.mark.usefixtures('_bridge')
def test_an_encoding_that_nobody_knows_is_refused_with_and_without_cv_bridge(bgr, monkeypatch):
    rows = bgr.reshape(HEIGHT, -1)
    with pytest.raises(ValueError, match=r"unknown encoding 'jpeg'; available: bgr8.*cv_bridge"):
        decode_image(message(rows, 'jpeg'))
    with pytest.raises(ValueError, match='step 5 is too small'):
        decode_image(message(rows, '32FC3', step=5))
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    with pytest.raises(ValueError, match="unknown encoding 'jpeg'; available: bgr8") as error:
        decode_image(message(rows, 'jpeg'))
    assert 'cv_bridge' not in str(error.value)
