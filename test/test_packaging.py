from __future__ import annotations

import ast
import subprocess
import sys
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


# Module -> its rosdep key; rosbags brings apsw, lz4 and zstd along.
ROSDEP_KEYS = {
    'cv2': 'python3-opencv',
    'numpy': 'python3-numpy',
    'onnxruntime': 'python3-onnxruntime-pip',
    'rosbags': 'python3-rosbags-pip',
    'tqdm': 'python3-tqdm',
    'yaml': 'python3-yaml',
}
OF_ROSBAGS = {'apsw', 'lz4', 'backports', 'compression'}
WITHOUT_KEY = {'openvino', 'bondpy'}  # better with them, and whole without
OFFLINE = (
    *(
        'nets/',
        'training/',
        'scenes/',
        'backends/torch_eager.py',
        'quantize.py',
        'model_export.py',
    ),
    *('torch_module.py', 'graph_import.py', 'foreign_graph.py', 'foreign_output.py'),
)


def test_package_xml_names_what_a_robot_needs():
    tree = ET.parse(ROOT / 'package.xml')  # noqa: S314 - our own file
    named = {entry.text for entry in tree.findall('exec_depend')}
    paths = [*(ROOT / 'seg_ros').rglob('*.py'), *(ROOT / 'launch').glob('*.py')]
    imported = set()
    for path in paths:
        if path.relative_to(ROOT).as_posix().removeprefix('seg_ros/').startswith(OFFLINE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            imported |= {name.partition('.')[0] for name in names}
    imported -= sys.stdlib_module_names | {'seg_ros', '_typeshed', '__future__'}
    imported -= OF_ROSBAGS | WITHOUT_KEY
    assert imported >= {'rclpy', 'launch_ros', *ROSDEP_KEYS}
    assert not {name for name in imported if ROSDEP_KEYS.get(name, name) not in named}


@pytest.mark.ros
def test_the_node_does_without_openvino_and_bags():
    blocked = 'openvino', 'rosbags', 'apsw', 'tqdm'
    code = (
        f'import sys; sys.modules.update(dict.fromkeys({blocked})); '
        'import seg_ros.node.segmentation_node, seg_ros.backends.onnxruntime'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
