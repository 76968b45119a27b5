"""Calibrations: what a consumer makes of them, and which one belongs to a frame."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from seg_ros.node.camera_infos import CameraInfos
from seg_ros.node.messages import to_camera_info

ROI = RegionOfInterest(x_offset=320, y_offset=240, width=640, height=480)


def header(seconds=7):
    stamped = Header(frame_id='camera_optical')
    stamped.stamp.sec = seconds
    return stamped


def sensor(seconds=7, **fields):
    """The calibration of a sensor of 1280x960 pixels."""
    info = CameraInfo(header=header(seconds), width=1280, height=960, **fields)
    info.k = [1000.0, 0.0, 640.0, 0.0, 1000.0, 480.0, 0.0, 0.0, 1.0]
    info.p = [1000.0, 0.0, 640.0, -70.0, 0.0, 1000.0, 480.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    return info


def as_consumers_see_it(info):
    """Focal lengths and centre of the image, by the definition of image_geometry.

    The region's offset is taken off the centre first, then everything is divided by the binning.
    """
    fx, fy, cx, cy = info.k[0], info.k[4], info.k[2], info.k[5]
    bins_x, bins_y = max(1, info.binning_x), max(1, info.binning_y)
    cx, cy = cx - info.roi.x_offset, cy - info.roi.y_offset
    assert info.p[0] == pytest.approx(info.k[0])
    assert info.p[2] == pytest.approx(info.k[2])
    return fx / bins_x, fy / bins_y, cx / bins_x, cy / bins_y


@pytest.mark.parametrize(
    ('fields', 'size', 'seen'),
    [
        ({}, (1280, 960), (1000, 1000, 640, 480)),
        ({'binning_x': 1, 'binning_y': 1}, (1280, 960), (1000, 1000, 640, 480)),
        ({'binning_x': 2, 'binning_y': 2}, (640, 480), (500, 500, 320, 240)),
        ({'roi': ROI}, (640, 480), (1000, 1000, 320, 240)),
        ({'binning_x': 2, 'binning_y': 2, 'roi': ROI}, (320, 240), (500, 500, 160, 120)),
        ({'binning_x': 3, 'binning_y': 3}, (426, 320), (1000 / 3, 1000 / 3, 640 / 3, 160)),
        ({'binning_x': 3, 'binning_y': 3}, (427, 320), (1000 / 3, 1000 / 3, 640 / 3, 160)),
    ],
    ids=['whole', 'binning 1', 'binning', 'region', 'both', 'rounded down', 'rounded up'],
)
def test_an_image_of_the_size_that_its_calibration_says_has_it_verbatim(fields, size, seen):
    info = sensor(**fields)
    answer = to_camera_info(info, *size, header(9))
    np.testing.assert_allclose(as_consumers_see_it(answer), seen)
    assert answer.header == header(9)
    answer.header = info.header
    assert answer == info


@pytest.mark.parametrize(
    ('fields', 'seen'),
    [
        # a pixel whose centre is at u goes to (u + 0.5) * scale - 0.5
        ({}, (250, 250, 159.625, 119.625)),
        ({'binning_x': 2, 'binning_y': 2}, (250, 250, 159.75, 119.75)),
        ({'roi': ROI}, (500, 500, 159.75, 119.75)),
    ],
    ids=['whole', 'binning', 'region'],
)
def test_an_image_that_was_scaled_on_its_way_has_its_own_calibration(fields, seen):
    answer = to_camera_info(sensor(**fields), 320, 240, header())
    np.testing.assert_allclose(as_consumers_see_it(answer), seen)
    assert (answer.width, answer.height) == (320, 240)
    assert (answer.binning_x, answer.binning_y) == (0, 0)
    assert answer.roi == RegionOfInterest()
    assert list(answer.d) == list(sensor().d)


def test_a_baseline_scales_with_the_columns():
    assert to_camera_info(sensor(), 320, 240, header()).p[3] == pytest.approx(-70 / 4)


def test_an_uncalibrated_camera_stays_so():
    answer = to_camera_info(CameraInfo(width=128, height=96), 64, 48, header())
    assert (answer.width, answer.height) == (64, 48)
    assert not any(answer.k)
    assert to_camera_info(CameraInfo(), 64, 48, header(3)) == CameraInfo(header=header(3))


@pytest.fixture
def sent():
    return []


@pytest.fixture
def warned():
    return []


@pytest.fixture
def infos(sent, warned):
    return CameraInfos(sent.append, lambda: warned.append(True))


def test_the_calibration_is_that_of_the_frame_not_the_newest(infos, sent):
    infos.take(sensor(1, distortion_model='old zoom'))
    infos.take(sensor(2, distortion_model='new zoom'))
    infos.publish_for(header(1), 1280, 960)
    assert [info.distortion_model for info in sent] == ['old zoom']


def test_one_that_comes_after_its_labels_is_published_then(infos, sent):
    infos.take(sensor(1))
    infos.publish_for(header(2), 640, 480)
    assert not sent
    infos.take(sensor(2))
    assert [(info.header, info.width) for info in sent] == [(header(2), 640)]
    infos.take(sensor(2))  # once is enough
    assert len(sent) == 1


def test_without_one_of_its_stamp_none_is_made_up_and_that_is_told(infos, sent, warned):
    infos.take(sensor(1))
    for seconds in range(100, 110):
        infos.publish_for(header(seconds), 640, 480)
    assert not sent
    assert warned


def test_a_camera_without_calibration_is_no_reason_for_a_word(infos, sent, warned):
    for seconds in range(100, 110):
        infos.publish_for(header(seconds), 640, 480)
    assert not sent
    assert not warned


def test_what_is_kept_is_bounded_and_holds_those_of_a_slow_engine(infos, sent):
    for seconds in range(1, 1001):
        infos.take(sensor(seconds))
    infos.publish_for(header(930), 1280, 960)
    infos.publish_for(header(1), 1280, 960)
    assert [info.header.stamp.sec for info in sent] == [930]
