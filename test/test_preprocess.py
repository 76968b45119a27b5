from __future__ import annotations

import numpy as np
import pytest

from seg_ros.model_card import InputSpec
from seg_ros.preprocess import crop_logits, place, to_network

MEAN = (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ('camera_hw', 'content_hw'),
    [
        ((480, 640), (480, 640)),
        ((1080, 1920), (360, 640)),
        ((240, 320), (480, 640)),
        ((480, 360), (480, 360)),
        ((481, 641), (480, 640)),
        ((100, 1), (480, 4)),
    ],
)
def test_images_keep_their_aspect_ratio_up_to_whole_logits(camera_hw, content_hw):
    placement = place(camera_hw, InputSpec(height_px=480, width_px=640, logits_stride=4))
    assert placement.content_hw == content_hw


def test_a_fitting_rgb_image_passes_untouched():
    image = np.zeros((48, 64, 3), np.uint8)
    placement = place((48, 64), InputSpec(48, 64, 4))
    assert to_network(image, placement, 'rgb', MEAN) is image


@pytest.mark.parametrize('order', ['bgr', 'rgb'])
def test_padding_is_the_mean_and_channels_become_rgb(order):
    rgb = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    placement = place((32, 64), InputSpec(48, 64, 4))
    given = rgb if order == 'rgb' else rgb[..., ::-1].copy()
    result = to_network(given, placement, order, MEAN)
    np.testing.assert_array_equal(result[:32], rgb)
    np.testing.assert_array_equal(
        result[32:], np.broadcast_to(np.round(np.array(MEAN) * 255), (16, 64, 3))
    )


def test_logits_of_the_content_are_cut_out_exactly():
    placement = place((32, 64), InputSpec(48, 64, 4))
    logits = np.arange(2 * 12 * 16, dtype=np.float32).reshape(2, 12, 16)
    np.testing.assert_array_equal(crop_logits(logits, placement), logits[:, :8])
    with pytest.raises(ValueError, match=r'logits are \(2, 3, 16\); expected'):
        crop_logits(logits[:, :3], placement)


def test_other_arrays_are_refused():
    placement = place((32, 64), InputSpec(48, 64, 4))
    for wrong in (np.zeros((32, 60, 3), np.uint8), np.zeros((32, 64, 3), np.float32)):
        with pytest.raises(ValueError, match='image is'):
            to_network(wrong, placement, 'rgb', MEAN)


def test_lines_one_pixel_wide_survive_a_quarter_of_the_size():
    image = np.zeros((192, 256, 3), np.uint8)
    image[101] = 240  # between the samples of bilinear interpolation
    result = to_network(image, place((192, 256), InputSpec(48, 64, 4)), 'rgb', MEAN)
    np.testing.assert_array_equal(result[25], 60)
    assert not np.delete(result, 25, axis=0).any()


def test_an_odd_size_is_reduced_to_its_averages():
    image = np.full((401, 533, 3), 77, np.uint8)
    placement = place((401, 533), InputSpec(96, 128, 4))
    assert (to_network(image, placement, 'rgb', MEAN)[: placement.content_hw[0]] == 77).all()
