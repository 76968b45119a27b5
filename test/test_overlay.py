from __future__ import annotations

import numpy as np

from seg_ros.overlay import blend, colorize, contact_sheet, legend, palette
from test.conftest import PRIMARY_CLASSES, stripes


def test_labels_are_painted_in_the_colours_of_their_classes():
    image, labels = stripes()
    colors = palette(PRIMARY_CLASSES)
    np.testing.assert_array_equal(colorize(labels, colors), np.sign(image) * 255)


def test_void_keeps_the_picture_and_alpha_mixes():
    image, labels = stripes()
    labels[:10] = 255
    mixed = blend(image, labels, palette(PRIMARY_CLASSES), 0.25)
    np.testing.assert_array_equal(mixed[:10], image[:10])
    np.testing.assert_allclose(
        mixed[10:].astype(int), image[10:] * 0.75 + np.sign(image[10:]) * 255 * 0.25, atol=1
    )


def test_sheet_holds_every_picture_under_its_heading():
    image, _ = stripes()
    rows = [[image, None], [image[..., ::-1].copy(), image]]
    sheet = contact_sheet(rows, ('a', 'b'), PRIMARY_CLASSES, cell_width_px=64)
    assert sheet.shape == (22 + 48 + 48 + 3 * 22, 128, 3)
    np.testing.assert_array_equal(sheet[22:70, :64], image)
    assert (sheet[22:70, 64:] == 128).all()
    np.testing.assert_array_equal(sheet[70:118, 64:], image)


def test_legend_shows_each_colour():
    picture = legend(PRIMARY_CLASSES, 100)
    for row, entry in enumerate(PRIMARY_CLASSES):
        assert tuple(picture[row * 22 + 10, 14]) == entry.color
