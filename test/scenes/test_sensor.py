import numpy as np

from seg_ros.scenes.labels import BACKGROUND, FIELD, LINE
from seg_ros.scenes.sensor import Sensor, expose, random_sensor


def picture():
    light = np.zeros((48, 64, 3), np.float32)
    light[:, 30:34] = 0.8
    labels = np.where(light[..., 0] > 0, LINE, FIELD).astype(np.uint8)
    return light, labels


def test_a_perfect_sensor_keeps_the_light():
    light, labels = picture()
    image, same = expose(light.copy(), labels, Sensor(), np.random.default_rng(0))
    assert np.abs(image / 255.0 - light).max() < 0.01
    assert np.array_equal(same, labels)


def test_a_rolling_shutter_moves_picture_and_labels_together():
    light, labels = picture()
    image, moved = expose(light, labels, Sensor(shear_px=12), np.random.default_rng(0))
    assert not np.array_equal(moved, labels)
    assert ((image[..., 0] > 100) == (moved == LINE)).mean() > 0.97


def test_letterbox_bars_are_black_background():
    light, labels = picture()
    image, barred = expose(light, labels, Sensor(letterbox=(0.5, 0)), np.random.default_rng(0))
    assert (barred[:12] == BACKGROUND).all()
    assert (image[-12:] == 0).all()
    assert (barred[24] != BACKGROUND).all()


def test_any_drawn_sensor_gives_a_picture():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        light, labels = picture()
        image, moved = expose(light, labels, random_sensor(rng, 0.1), rng)
        assert image.dtype == np.uint8
        assert image.shape == (48, 64, 3)
        assert set(np.unique(moved)) <= {BACKGROUND, FIELD, LINE}
