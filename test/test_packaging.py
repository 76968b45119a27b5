from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

import seg_ros
from seg_ros.commands.interface import tables, with_tables
from seg_ros.node.config import NodeConfig, camera_info_topic
from seg_ros.schema import from_mapping

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize('name', ['robocup.yaml', 'road.yaml'])
def test_configuration_files_hold_only_valid_settings(name):
    raw = yaml.safe_load((ROOT / 'config' / name).read_text(encoding='utf-8'))
    from_mapping(NodeConfig, raw['/**']['ros__parameters'])


def test_versions_agree():
    tree = ET.parse(ROOT / 'package.xml')  # noqa: S314 - our own file
    assert tree.findtext('version') == seg_ros.__version__
    assert f"version='{seg_ros.__version__}'" in (ROOT / 'setup.py').read_text(encoding='utf-8')


def test_readme_carries_the_tables_of_the_node():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert with_tables(readme, tables()) == readme, (
        'run: python -m seg_ros interface --write README.md'
    )


def test_a_document_without_the_blocks_is_refused():
    with pytest.raises(ValueError, match='no block between <!-- topics -->'):
        with_tables('<!-- topics --> and no end', tables())


def test_several_cameras_get_distinct_prefixes():
    names = NodeConfig(image_topics=('/front/image_raw', '/rear/image_raw')).camera_names()
    assert names == {'/front/image_raw': 'front/', '/rear/image_raw': 'rear/'}
    names = NodeConfig(image_topics=('/cam/image_raw', '/cam/image_rect')).camera_names()
    assert names == {'/cam/image_raw': 'cam_image_raw/', '/cam/image_rect': 'cam_image_rect/'}
    names = NodeConfig(image_topics=('/a/b/image_raw', '/a_b/image_rect')).camera_names()
    assert names == {'/a/b/image_raw': 'a_b_image_raw/', '/a_b/image_rect': 'a_b_image_rect/'}
    assert NodeConfig().camera_names() == {'image': ''}


@pytest.mark.parametrize(
    'topics',
    [
        ('/a/b/image_raw', '/a_b/image_raw'),
        ('image', '/image'),
        ('a/image', '/a/image/compressed'),
    ],
)
def test_cameras_that_would_share_their_topics_are_refused(topics):
    with pytest.raises(ValueError, match=r'would both publish under ~/.*; give one another name'):
        NodeConfig(image_topics=topics)


def test_calibration_is_looked_for_beside_the_image():
    assert camera_info_topic('image') == 'camera_info'
    assert camera_info_topic('/camera/image_raw') == '/camera/camera_info'
    assert camera_info_topic('/camera/image_raw/compressed') == '/camera/camera_info'
