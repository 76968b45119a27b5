from __future__ import annotations

from pathlib import Path

from seg_ros.node.image_sources import (
    BEST_EFFORT,
    COMPRESSED_IMAGE,
    IMAGE,
    RELIABLE,
    Source,
    explain_absence,
    explain_loss,
    explain_silence,
)

CAMERA = Source('/cam', IMAGE, BEST_EFFORT)


def test_silence_of_a_best_effort_sender_names_it_and_the_profile_for_it():
    text = explain_silence('/image', [CAMERA], BEST_EFFORT)
    assert text.startswith('nothing arrives on /image from /cam (sensor_msgs/msg/Image, best_')
    assert '_DEFAULT_PROFILES_FILE' in text
    profile = Path(text.rsplit(' ', 1)[1])
    assert profile.parts[-2:] == ('config', 'fastdds.xml')
    assert profile.is_file()


def test_losses_are_told_with_the_same_cure():
    text = explain_loss('/image: 70 of 80 frames were lost', [CAMERA])
    assert text.startswith('/image: 70 of 80 frames were lost on their way from /cam (sensor_')
    assert 'config/fastdds.xml, or let it publish reliably' in text


def test_silence_for_want_of_reliability_names_the_parameter():
    text = explain_silence('/image', [CAMERA], RELIABLE)
    assert 'set the parameter input_reliability to auto or best_effort' in text
    assert 'fastdds.xml' not in text


def test_another_type_is_said():
    text = explain_absence('/image', IMAGE, [Source('/cam', COMPRESSED_IMAGE, RELIABLE)], {})
    assert '/image is published as another type than sensor_msgs/msg/Image: /cam' in text


def test_only_compressed_and_only_raw_are_said_with_the_parameter():
    text = explain_absence('/image', IMAGE, [], {'/image/compressed': COMPRESSED_IMAGE})
    assert 'only /image/compressed; set the parameter image_transport to compressed' in text
    text = explain_absence('/image/compressed', COMPRESSED_IMAGE, [], {'/image': IMAGE})
    assert 'only /image; set the parameter image_transport to raw' in text


def test_other_image_topics_are_offered_up_to_a_number():
    there = {f'/camera_{index}': IMAGE for index in range(9)} | {'/jpeg': COMPRESSED_IMAGE}
    text = explain_absence('/image', IMAGE, [], there)
    assert '/camera_0, /camera_1, /camera_2, /camera_3, /camera_4, ...' in text
    assert '/jpeg' not in text
    assert 'nor any other sensor_msgs/msg/Image' in explain_absence('/image', IMAGE, [], {})
