"""Parameters as people set them: README's commands, dump and load, files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from seg_ros.node.config import NodeConfig
from seg_ros.schema import settings_of
from test.conftest import write_primary_model
from test.node.conftest import node_process, wait_for
from test.node.ros_tool import dump, run_ros2

pytestmark = pytest.mark.ros

README = (Path(__file__).parents[2] / 'README.md').read_text(encoding='utf-8')
COMMANDS = [
    command
    for command in re.findall(r'`(ros2 (?:param|lifecycle|service) [^`]+)`', README)
    if len(command.split()) > 3
]
ARGUMENTS = re.findall(r'segmentation_node --ros-args ([^`\n]+)', README)
ARGUMENTS += re.findall(r'`(-p [^`]+)`', README)


@pytest.fixture(scope='module')
def shipped():
    """The node with the model that README's examples speak of."""
    with node_process('/', backend='onnxruntime', num_threads=1) as process:
        yield process


def test_readme_has_examples():
    assert any(command.startswith('ros2 param set') for command in COMMANDS)
    assert any('class_remap' in command for command in COMMANDS)
    assert len(COMMANDS) >= 5
    assert any('class_remap' in arguments for arguments in ARGUMENTS)


def test_every_command_of_readme_works(robot, shipped, tmp_path):
    wait_for(lambda: robot.state('/segmentation') == 'active', what='an active node')
    for command in sorted(COMMANDS, key=lambda command: 'lifecycle' in command):
        run_ros2(robot, command, tmp_path)
        if command.startswith('ros2 param set'):
            _, _, _, node, name, text = shlex.split(command)
            value = dump(robot, node)[name]
            assert value == (yaml.safe_load(text) if isinstance(value, list) else text)
        if name_of_model(command):
            wait_for(
                lambda c=command: (
                    dump(robot, '/segmentation')['in_use.model_name'] == name_of_model(c)
                ),
                what='the other model',
            )
    text = re.search(r'`ros2 lifecycle set /segmentation deactivate`, ([^)]+)\)', README)[1]
    for transition in re.findall(r'`(\w+)`', text):
        run_ros2(robot, f'ros2 lifecycle set /segmentation {transition}', tmp_path)
    assert robot.state('/segmentation') == 'active'


def name_of_model(command):
    found = re.fullmatch(r'ros2 param set \S+ model (\w+)', command)
    return found and found[1]


@pytest.mark.parametrize('arguments', ARGUMENTS)
def test_every_argument_of_readme_works(robot, arguments):
    words = shlex.split(arguments)
    with node_process('/own', *words, backend='onnxruntime', num_threads=1):
        wait_for(lambda: robot.state('/own/segmentation') == 'active', what='an active node')
        values = dump(robot, '/own/segmentation')
    for word in words:
        name, given, text = word.partition(':=')
        if given:
            assert values[name] == yaml.safe_load(text)


# Every live parameter with a value that is not its default.
def changed(models, mask):
    return {
        'model': str(models / 'second'),
        'max_rate': 25.0,
        'max_age_s': 1.5,
        'class_remap': ['lime: crimson', 'navy: 7'],
        'min_confidence': 0.25,
        'min_area_px': ['all: 3', 'navy: 9'],
        'roi': [1, 2, 30, 40],
        'self_mask': str(mask),
        'masks': ['navy'],
        'geometry': ['drivable_edge'],
        'overlay_alpha': 1e-05,
        'warn_processing_time_ms': 150.0,
        'error_consecutive_delay_ms': 900.0,
        'warn_latency_ms': 100.0,
        'error_latency_ms': 200.0,
        'error_stalled_s': 4.0,
    }


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    from test.node.test_live_changes import OTHER_CLASSES

    folder = tmp_path_factory.mktemp('tools')
    write_primary_model(folder / 'first')
    write_primary_model(folder / 'second', classes=OTHER_CLASSES)
    return folder


def settled(robot, node, model):
    """All parameters, once a model runs."""
    wait_for(lambda: dump(robot, node)['in_use.model_name'] == model, what=f'{model} running')
    return dump(robot, node)


def test_what_was_dumped_is_taken_back_by_the_node_and_by_its_twin(robot, models, tmp_path):
    mask = tmp_path / 'body.png'
    cv2.imwrite(str(mask), np.zeros((48, 64), np.uint8))
    values = changed(models, mask) | {'class_remap': ['lime: road', 'navy: 7']}
    assert values.keys() == {s.name for s in settings_of(NodeConfig) if s.live}
    a, b = '/a/segmentation', '/b/segmentation'
    options = {'model': models / 'first', 'backend': 'onnxruntime'}
    with node_process('/a', **options), node_process('/b', **options):
        first = settled(robot, a, 'first')
        settled(robot, b, 'first')
        run_ros2(robot, f'ros2 param dump {a} > first.yaml', tmp_path)
        assert robot.set_parameters(a, **values) == (True, '')
        later = settled(robot, a, 'second')
        assert later | values == later
        assert all(later[name] != first[name] for name in values)
        run_ros2(robot, f'ros2 param dump {a} > later.yaml', tmp_path)
        # what is empty in the first file among them: back to the start, and forth again
        run_ros2(robot, f'ros2 param load {a} first.yaml', tmp_path)
        assert settled(robot, a, 'first') == first
        run_ros2(robot, f'ros2 param load {a} later.yaml', tmp_path)
        assert settled(robot, a, 'second') == later
        for_twin = (tmp_path / 'later.yaml').read_text(encoding='utf-8').replace(a, b)
        (tmp_path / 'twin.yaml').write_text(for_twin, encoding='utf-8')
        run_ros2(robot, f'ros2 param load {b} twin.yaml', tmp_path)
        twin = settled(robot, b, 'second')
        assert {name: twin[name] for name in values} == values
    for file, model, expected in (('first', 'first', first), ('later', 'second', later)):
        with node_process('/a', '--params-file', str(tmp_path / f'{file}.yaml')):
            assert settled(robot, a, model) == expected


def test_lists_without_items_are_lists_of_their_type(robot, models, tmp_path):
    (tmp_path / 'empty.yaml').write_text(
        '/**:\n  ros__parameters:\n    class_remap: []\n    masks: []\n    geometry: []\n'
    )
    node = '/own/segmentation'
    with node_process(
        '/own',
        *('--params-file', str(tmp_path / 'empty.yaml'), '-p', 'min_area_px:=[]'),
        model=models / 'first',
        backend='onnxruntime',
    ):
        found = settled(robot, node, 'first')
        for name in ('class_remap', 'masks', 'geometry', 'min_area_px'):
            assert found[name] == []
        for text in ('[all]', '[]', '[all]'):
            run_ros2(robot, f"ros2 param set {node} masks '{text}'", tmp_path)
            assert dump(robot, node)['masks'] == yaml.safe_load(text)
        run_ros2(robot, f'ros2 param set {node} min_confidence 1', tmp_path)
        assert dump(robot, node)['min_confidence'] == 1.0
