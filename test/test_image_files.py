from __future__ import annotations

import os
import time

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from seg_ros.image_files import (
    LIMIT_VARIABLE,
    load_grey,
    load_image,
    load_mask,
    load_mask_and_palette,
)
from seg_ros.image_headers import picture_size
from test.robustness.tally import resident_mb

SUFFIXES = ['.png', '.jpg', '.bmp', '.webp', '.ppm', '.pgm', '.tif']
LOSSLESS = ['.png', '.bmp', '.webp', '.ppm', '.tif']
LOADERS = [load_image, load_grey, load_mask, load_mask_and_palette]


@pytest.fixture
def rgb():
    """Every row and column differs from every other one."""
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def write(path, rgb, *options):
    pixels = rgb[..., 0] if path.suffix == '.pgm' else np.ascontiguousarray(rgb[..., ::-1])
    if path.suffix == '.webp':
        options = (cv2.IMWRITE_WEBP_QUALITY, 101)  # lossless
    assert cv2.imwrite(str(path), pixels, options)
    return path


@pytest.mark.parametrize('suffix', LOSSLESS)
def test_every_kind_of_file_gives_its_pixels(tmp_path, rgb, suffix):
    path = write(tmp_path / f'a{suffix}', rgb)
    np.testing.assert_array_equal(load_image(path), rgb)
    np.testing.assert_array_equal(load_mask(path), rgb)


@pytest.mark.parametrize('load', LOADERS)
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path, rgb, suffix, load):
    whole = write(tmp_path / f'whole{suffix}', rgb).read_bytes()
    cut = tmp_path / f'cut{suffix}'
    for share in (0.02, 0.3, 0.6, 0.9, 0.98):
        cut.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=rf'cut\{suffix} cannot be decoded'):
            load(cut)


@pytest.mark.parametrize('share', [0.2, 0.6, 0.95])
def test_a_tiff_whose_directory_comes_first_is_refused_when_it_is_cut_off(tmp_path, share):
    import io

    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(
        stream, 'TIFF', compression='tiff_lzw'
    )
    data = stream.getvalue()
    (tmp_path / 'cut.tif').write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r'cut\.tif cannot be decoded'):
        load_mask(tmp_path / 'cut.tif')


@pytest.mark.parametrize('palette', [False, True])
def test_a_mask_that_is_cut_off_is_refused_by_name(tmp_path, palette):
    ids = np.random.default_rng(0).integers(0, 3, (60, 80), np.uint8)
    mask = Image.fromarray(ids)
    if palette:
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask.save(tmp_path / 'mask.png')
    data = (tmp_path / 'mask.png').read_bytes()
    (tmp_path / 'mask.png').write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(ValueError, match=r'mask\.png cannot be decoded: it is truncated'):
        load_mask(tmp_path / 'mask.png')


def test_the_end_of_a_thumbnail_is_not_the_end_of_its_picture(tmp_path, rgb):
    path = write(tmp_path / 'a.jpg', np.tile(rgb, (8, 8, 1)))
    thumbnail = write(tmp_path / 'small.jpg', rgb).read_bytes()
    segment = b'\xff\xe1' + (len(thumbnail) + 8).to_bytes(2, 'big') + b'Exif\0\0' + thumbnail
    data = path.read_bytes()
    data = data[:2] + segment + data[2:]
    path.write_bytes(data)
    assert load_image(path).shape == (256, 384, 3)
    path.write_bytes(data[: len(segment) + 1500])
    with pytest.raises(ValueError, match='truncated: no end of the JPEG'):
        load_image(path)


@pytest.mark.parametrize('padding', [bytes(1 << 16), b'\xff' * 5000, 'a second picture'])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_what_follows_a_picture_is_not_looked_at(tmp_path, rgb, suffix, padding):
    path = write(tmp_path / f'a{suffix}', rgb)
    before = load_image(path)
    data = path.read_bytes()
    path.write_bytes(data + (data if isinstance(padding, str) else padding))
    np.testing.assert_array_equal(load_image(path), before)


@pytest.mark.parametrize('mode', ['baseline', 'progressive', 'restarts'])
def test_every_kind_of_jpeg_is_read(tmp_path, rgb, mode):
    options = {
        'baseline': (),
        'progressive': (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        'restarts': (cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    }[mode]
    path = write(tmp_path / 'a.jpg', np.full((32, 48, 3), (200, 30, 90), np.uint8), *options)
    assert np.abs(load_image(path).astype(int) - (200, 30, 90)).max() < 6


@pytest.mark.parametrize('load', LOADERS)
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(
    tmp_path, rgb, suffix, load, monkeypatch
):
    path = write(tmp_path / f'a{suffix}', rgb)
    monkeypatch.setenv(LIMIT_VARIABLE, '1535')
    with pytest.raises(ValueError, match=f'48x32 pixels are more than 1535.*{LIMIT_VARIABLE}'):
        load(path)
    monkeypatch.setenv(LIMIT_VARIABLE, '1536')
    load(path)


def test_a_small_file_of_many_pixels_takes_no_memory(tmp_path):
    path = tmp_path / 'bomb.png'
    Image.new('1', (30_000, 30_000)).save(path)
    assert path.stat().st_size < 1 << 18
    before = resident_mb()
    for load in LOADERS:
        with pytest.raises(ValueError, match='30000x30000 pixels are more than 67108864'):
            load(path)
    assert resident_mb() - before < 50


@pytest.mark.parametrize('limit', ['many', '-1', '0', '1e9', '²'])
def test_a_limit_that_is_no_number_is_named(tmp_path, rgb, limit, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, limit)
    with pytest.raises(ValueError, match=f'{LIMIT_VARIABLE} is .* give a number'):
        load_image(write(tmp_path / 'a.png', rgb))


@pytest.mark.parametrize('value', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
def test_an_exif_orientation_turns_images_and_masks_as_viewers_do(tmp_path, rgb, suffix, value):
    path = tmp_path / f'turned{suffix}'
    exif = Image.Exif()
    exif[274] = value
    options = {'lossless': True} if suffix == '.webp' else {}
    Image.fromarray(rgb).save(path, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    tolerance = 4 if suffix == '.jpg' else 0  # two decoders
    for loaded in (load_image(path), load_mask(path)):
        np.testing.assert_allclose(loaded.astype(int), expected, atol=tolerance)
    assert load_grey(path).shape == expected.shape[:2]


@pytest.mark.parametrize('load', LOADERS)
def test_names_that_are_no_utf8_are_read(tmp_path, rgb, load):
    path = tmp_path / os.fsdecode(b'caf\xe9\xff.png')
    path.write_bytes(write(tmp_path / 'a.png', rgb).read_bytes())
    assert load(path)[0].shape[-1] == rgb.shape[-1] or load is load_grey
    path.write_bytes(b'nothing')
    with pytest.raises(ValueError, match='none of PNG'):
        load(path)


@pytest.mark.parametrize('load', LOADERS)
def test_what_is_no_file_is_refused_at_once(tmp_path, load):
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'zero.png').symlink_to('/dev/zero')
    began = time.monotonic()
    for name in ('pipe.png', 'folder.png', 'zero.png'):
        with pytest.raises(ValueError, match=rf'{name} is no regular file'):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r'gone\.png does not exist'):
        load(tmp_path / 'gone.png')
    with pytest.raises(ValueError, match='cannot be read'):
        load(tmp_path / ('n' * 300))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize('other', [b'GIF89a' + bytes(64), b'\0\0\0\x0cjP  \r\n\x87\n', b''])
def test_formats_that_are_not_listed_are_refused(tmp_path, other):
    (tmp_path / 'a.png').write_bytes(other)
    with pytest.raises(ValueError, match=r'a\.png cannot be decoded: it is none of PNG, JPEG'):
        load_image(tmp_path / 'a.png')


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_masks_of_few_bits_give_their_ids(tmp_path, bits):
    ids = np.random.default_rng(bits).integers(0, 2**bits, (9, 13), np.uint8)
    grey = tmp_path / 'grey.png'
    options = (cv2.IMWRITE_PNG_BILEVEL, 1) if bits == 1 else ()
    if bits in (1, 8):
        assert cv2.imwrite(str(grey), ids * 255 if bits == 1 else ids, options)
        assert grey.read_bytes()[24] == bits
        np.testing.assert_array_equal(load_mask(grey), ids)
    colors = np.random.default_rng(0).permutation(256 * 3)[: 3 * 2**bits].astype(np.uint8)
    image = Image.fromarray(ids)
    image.putpalette(colors.tolist())
    image.save(tmp_path / 'palette.png', bits=bits)
    assert (tmp_path / 'palette.png').read_bytes()[24] == bits
    mask, palette = load_mask_and_palette(tmp_path / 'palette.png')
    np.testing.assert_array_equal(mask, ids)
    np.testing.assert_array_equal(palette, colors.reshape(-1, 3))
    np.testing.assert_array_equal(load_image(tmp_path / 'palette.png'), colors.reshape(-1, 3)[ids])


def test_a_palette_with_transparent_colours_gives_ids(tmp_path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    image = Image.fromarray(ids)
    image.putpalette([9, 9, 9, 8, 8, 8, 7, 7, 7])
    image.save(tmp_path / 'a.png', transparency=0)
    np.testing.assert_array_equal(load_mask(tmp_path / 'a.png'), ids)


def test_an_alpha_channel_is_left_out(tmp_path, rgb):
    rgba = np.dstack([rgb, rgb[..., 0]])
    Image.fromarray(rgba).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(load_mask(tmp_path / 'a.png'), rgb)


def test_ids_of_16_bits_stay(tmp_path):
    ids = np.uint16([[0, 300], [65_535, 7]])
    assert cv2.imwrite(str(tmp_path / 'a.png'), ids)
    np.testing.assert_array_equal(load_mask(tmp_path / 'a.png'), ids)


@pytest.mark.parametrize('interlaced', [False, True])
def test_a_png_that_had_to_be_inflated_to_judge_it_gives_the_same_pixels(tmp_path, interlaced):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (500, 700, 3), np.uint8)
    path = tmp_path / 'large.png'
    if interlaced:
        path.write_bytes(interlaced_png(pixels))
    else:
        write(path, pixels)
    assert path.stat().st_size > 1 << 18  # could hold a thousand times as much
    np.testing.assert_array_equal(load_image(path), pixels)
    data = bytearray(path.read_bytes())
    data[data.index(b'IDAT') + 50_000] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match='damaged'):
        load_image(path)


def interlaced_png(rgb):
    """Adam7 by hand: no library here writes it."""
    import zlib

    from seg_ros.image_container import png_chunk

    height, width = rgb.shape[:2]
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    raw = b''
    for row, column, rows, columns in (*passes, (1, 0, 2, 1)):
        part = rgb[row::rows, column::columns]
        raw += b''.join(b'\0' + line.tobytes() for line in part)
    header = width.to_bytes(4, 'big') + height.to_bytes(4, 'big') + b'\x08\x02\0\0\x01'
    chunks = ((b'IHDR', header), (b'IDAT', zlib.compress(raw)), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(png_chunk(*each) for each in chunks)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_damaged_headers_give_a_reason(tmp_path, rgb, suffix):
    data = bytearray(write(tmp_path / f'a{suffix}', rgb).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        for position in rng.integers(0, 60, 3):
            changed[position] = rng.integers(256)
        try:
            width, height = picture_size(bytes(changed))
        except ValueError:
            continue
        assert width >= 0
        assert height >= 0
