"""Which Python packages a type's name may import: those of ROS, never one that lies around."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from test.evaluation.conftest import IMAGE_TOPIC, START_NS, TYPES, build_bag

pytest.importorskip('rclpy', reason='rclpy is not installed')

from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import Image

from seg_ros.bags import Bag
from seg_ros.node import message_types
from seg_ros.node.message_types import message_class

pytestmark = pytest.mark.ros


@pytest.fixture
def hostile_folder(tmp_path):
    """A folder with a bag, and beside it packages whose names a type or an import may say."""
    folder = tmp_path / 'drive'
    folder.mkdir()
    code = 'import pathlib; pathlib.Path("ran").touch()\nclass Thing: pass\n'
    for package in ('evil_msgs', 'vision_msgs', 'sensor_msgs', 'bondpy'):
        (folder / package / 'msg').mkdir(parents=True)
        for module in (folder / package, folder / package / 'msg'):
            (module / '__init__.py').write_text(code)
    recorded = build_bag(2).save(tmp_path / 'recorded')
    with Writer(folder / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind in (('/evil', 'evil_msgs/msg/Thing'), ('/os', 'os/msg/path')):
            connection = writer.add_connection(topic, kind, msgdef='uint8 a\n', rihs01='unknown')
            writer.write(connection, START_NS, b'\0\1\0\0\0')
            writer.connections[-1] = connection._replace(digest='')
        images = writer.add_connection(
            IMAGE_TOPIC, 'sensor_msgs/msg/CompressedImage', typestore=TYPES
        )
        with Bag(recorded) as bag:
            for message in bag.read_messages([IMAGE_TOPIC]):
                writer.write(images, message.time_ns, message.data)
    return folder


def test_a_bag_does_not_say_what_python_imports(hostile_folder):
    """The player is started where the bag lies, as people do."""
    command = [sys.executable, '-m', 'seg_ros', 'bag_player', 'bag', '--wait', '0']
    done = subprocess.run(
        command, cwd=hostile_folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '/evil is not played: message type evil_msgs/msg/Thing is not installed' in done.stderr
    assert '/os is not played: message type os/msg/path is not installed' in done.stderr
    assert '2 messages played' in done.stderr
    assert not (hostile_folder / 'ran').exists()


def test_packages_beside_a_bag_are_not_imported_by_other_commands(hostile_folder):
    for command in (['evaluate', '--help'], ['interface'], ['predict', '--help']):
        subprocess.run(
            [sys.executable, '-m', 'seg_ros', *command],
            cwd=hostile_folder,
            capture_output=True,
            check=True,
        )
    assert not (hostile_folder / 'ran').exists()


def test_both_ways_to_write_a_type_give_its_class():
    assert message_class('sensor_msgs/msg/Image') is message_class('sensor_msgs/Image') is Image


@pytest.mark.parametrize(
    'name',
    [
        'os/path',
        'json/msg/JSONDecoder',
        'seg_ros/msg/Thing',
        'sensor_msgs/msg/Nothing',
        'sensor_msgs/msg/annotations',
        'sensor_msgs/srv/SetCameraInfo',
        '../msg/Thing',
        'sensor_msgs.msg',
        '',
    ],
)
def test_anything_else_is_no_message_type(name):
    with pytest.raises(ValueError, match='message type'):
        message_class(name)


def test_a_sourced_workspace_is_searched_and_a_package_elsewhere_is_not(tmp_path, monkeypatch):
    """Registered under a prefix, and lying under it."""
    prefix = tmp_path / 'install'
    package = prefix / 'lib' / 'site-packages' / 'gait_msgs'
    (package / 'msg').mkdir(parents=True)
    (package / '__init__.py').touch()
    (package / 'msg' / '__init__.py').write_text('class Gait:\n    _TYPE_SUPPORT = None\n')
    marker = prefix / message_types._MARKER / 'gait_msgs'
    marker.parent.mkdir(parents=True)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{prefix}{os.pathsep}{tmp_path / "other"}')
    with pytest.raises(ValueError, match='no package gait_msgs with ament'):
        message_class('gait_msgs/msg/Gait')
    marker.touch()
    assert message_class('gait_msgs/msg/Gait').__name__ == 'Gait'
    sys.modules.pop('gait_msgs.msg')
    sys.modules.pop('gait_msgs')
    package.parent.rename(tmp_path / 'elsewhere')
    monkeypatch.syspath_prepend(tmp_path / 'elsewhere')
    with pytest.raises(ValueError, match='no package gait_msgs with ament'):
        message_class('gait_msgs/msg/Gait')
