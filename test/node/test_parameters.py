"""What a parameter may be, whoever gives it: files, command lines, strangers."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import rclpy
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter

from seg_ros.node.config import NodeConfig
from seg_ros.node.parameter_sources import find_sources
from seg_ros.node.parameters import declare_parameters, to_parameters, typed
from seg_ros.schema import settings_of
from test.conftest import stripes
from test.node.conftest import image_message, node_process, wait_for
from test.node.ros_tool import dump

pytestmark = pytest.mark.ros

NODE = '/strange/segmentation'
MASK = f'{NODE}/label_mask'
SETTINGS = {setting.name: setting for setting in settings_of(NodeConfig)}


@pytest.fixture(scope='module')
def strange(primary_model):
    """A node that strangers set parameters of."""
    with node_process('/strange', model=primary_model, backend='onnxruntime') as process:
        yield process


def set_raw(robot, *messages):
    """Set by messages as they are: (successful, reason) of each."""
    request = SetParameters.Request(parameters=list(messages))
    answer = robot.call(SetParameters, f'{NODE}/set_parameters', request, attempts=4)
    return [(result.successful, result.reason) for result in answer.results]


def text(name, value):
    return message(name, ParameterType.PARAMETER_STRING, string_value=value)


def texts(name, *values):
    return message(name, ParameterType.PARAMETER_STRING_ARRAY, string_array_value=list(values))


def number(name, value):
    return message(name, ParameterType.PARAMETER_DOUBLE, double_value=value)


def message(name, kind, **value):
    return ParameterMessage(name=name, value=ParameterValue(type=kind, **value))


@pytest.mark.parametrize(
    ('hostile', 'reason'),
    [
        (text('model', '/proc/1/map_files/x'), ''),
        (text('model', '~nosuchuser/model'), ''),
        (text('model', 'x' * 300), ''),
        (text('model', 'x' * 100_000), 'allowed are 4096'),
        (text('model', 'a\x00b'), ''),
        (text('model', '/proc/self/mem'), ''),
        (text('self_mask', '~nosuchuser/a.png'), ''),
        (text('self_mask', 'x' * 300), ''),
        (text('self_mask', '/dev/zero'), ''),
        (texts('class_remap', 'red: !!bool'), ''),
        (texts('class_remap', 'red: !!int ""'), ''),
        (texts('class_remap', 'red: !!timestamp'), ''),
        (texts('min_area_px', 'red: !!timestamp 2001-13-13'), ''),
        (text('class_remap', '{a: &a [x, x], b: &b [*a, *a], c: [*b, *b]}'), 'expected'),
        (texts('class_remap', '&a [x, x]: [*a, *a]'), ''),
        (texts('class_remap', f'red: {"x" * 300}'), '64 at most'),
        (texts('class_remap', *['x'] * 100_000), 'allowed are 256'),
        (texts('masks', *['red'] * 1000), 'allowed are 256'),
        (texts('roi', '1'), 'roi: expected'),
        (message('roi', ParameterType.PARAMETER_BYTE_ARRAY, byte_array_value=[b'a']), 'roi'),
        (message('min_confidence', 99), '99'),
        (message('min_confidence', 255), '255'),
        (message('min_confidence', ParameterType.PARAMETER_NOT_SET), 'cannot be deleted'),
        (message('masks', ParameterType.PARAMETER_NOT_SET), 'cannot be deleted'),
        (message('use_sim_time', ParameterType.PARAMETER_NOT_SET), 'cannot be deleted'),
        (message('in_use.device', ParameterType.PARAMETER_NOT_SET), 'cannot be deleted'),
        (number('max_rate', float('nan')), 'not a number'),
        (number('max_rate', float('inf')), 'outside'),
        (number('max_rate', -1e-300), 'outside'),
        (message('use_sim_time', ParameterType.PARAMETER_STRING), 'type'),
        (message('', ParameterType.PARAMETER_STRING), 'unknown parameter'),
        (text('modle', 'x'), "unknown parameter 'modle'; did you mean 'model'?"),
        (text('x' * 100_000, 'x'), 'unknown parameter'),
        (text('in_use.device', 'cuda'), 'read-only'),
        (text('in_use.device\x00', 'cuda'), ''),
    ],
)  # fmt: skip
def test_whatever_is_set_is_refused_with_a_short_reason(robot, strange, hostile, reason):
    before = dump(robot, NODE)
    ((successful, why),) = set_raw(robot, hostile)
    assert not successful
    assert reason in why
    assert 0 < len(why) < 700
    assert dump(robot, NODE) == before


def test_what_comes_together_is_set_as_far_as_it_can_be(robot, strange):
    before = dump(robot, NODE)
    try:
        results = set_raw(
            robot, text('model', '~nosuchuser'), text('masks', 'x'), texts('masks', 'red')
        )
        assert [successful for successful, _ in results] == [False, False, True]
        assert dump(robot, NODE) == before | {'masks': ['red']}
        # what is read-only and as it is, and results of another time, are no offence in a file
        results = set_raw(
            robot,
            text('in_use.device', 'cuda'),
            message(
                'start_type_description_service', ParameterType.PARAMETER_BOOL, bool_value=True
            ),
            texts('masks', 'blue'),
        )
        assert results == [(True, '')] * 3
        assert dump(robot, NODE) == before | {'masks': ['blue']}
    finally:
        set_raw(robot, texts('masks', 'all'))


def test_too_many_at_once_are_refused_at_once(robot, strange):
    results = set_raw(robot, *(text(f'model_{number}', 'x') for number in range(20_000)))
    assert set(results) == {(False, '20000 parameters at once; allowed are 256')}
    assert len(results) == 20_000
    assert set_raw(robot) == []


def test_parameters_have_one_type_which_tools_are_told(robot, strange):
    names = ['class_remap', 'min_area_px', 'geometry', 'roi', 'min_confidence', 'model']
    request = DescribeParameters.Request(names=names)
    answer = robot.call(DescribeParameters, f'{NODE}/describe_parameters', request, attempts=4)
    kinds = [descriptor.type for descriptor in answer.descriptors]
    list_of_texts = ParameterType.PARAMETER_STRING_ARRAY
    assert kinds == [list_of_texts] * 3 + [
        ParameterType.PARAMETER_INTEGER_ARRAY,
        ParameterType.PARAMETER_DOUBLE,
        ParameterType.PARAMETER_STRING,
    ]


def test_a_self_mask_whose_file_is_gone_goes_on_and_blocks_nothing(robot, strange, tmp_path):
    body = np.zeros((48, 64), np.uint8)
    body[40:] = 255
    file = tmp_path / 'body.png'
    cv2.imwrite(str(file), body)
    robot.listen(MASK)
    camera = robot.camera('/strange/image')

    def bottom():
        answer = robot.ask(camera, image_message(stripes()[0], robot.header()), MASK)
        return set(np.frombuffer(answer.data, np.uint8).reshape(48, 64)[40:].ravel())

    assert robot.set_parameter(NODE, 'self_mask', str(file)) == (True, '')
    assert bottom() == {255}
    file.unlink()
    assert robot.set_parameter(NODE, 'min_area_px', ['all: 2']) == (True, '')
    assert bottom() == {255}
    successful, reason = robot.set_parameter(NODE, 'self_mask', str(tmp_path / 'other.png'))
    assert not successful
    assert 'no file' in reason
    assert robot.set_parameters(NODE, self_mask='', min_area_px=[]) == (True, '')
    assert bottom() == {0, 1, 2}


@pytest.mark.parametrize('value', [None, [], [False][:0], (), [0][:0]])
def test_no_type_of_an_empty_list_is_kept(value):
    parameter = typed(SETTINGS['masks'], Parameter('masks', value=value))
    assert parameter.type_ == Parameter.Type.STRING_ARRAY
    assert parameter.value == []


def test_values_become_those_of_their_setting():
    assert typed(SETTINGS['max_rate'], Parameter('max_rate', value=3)).value == 3.0
    assert typed(SETTINGS['max_rate'], Parameter('max_rate', value='1e-05')).value == 1e-05
    config = NodeConfig()
    (parameter,) = to_parameters(config, {'class_remap': (), 'nothing': 3})
    assert parameter.type_ == Parameter.Type.STRING_ARRAY
    for name, value in (('max_rate', True), ('max_rate', '3'), ('num_threads', 1.0), ('model', 1)):
        with pytest.raises(ValueError, match=f'{name}: expected'):
            typed(SETTINGS[name], Parameter(name, value=value))


FILE = """
/**:
  ros__parameters:
    robot_base_frame: base_link
    nested: {deep: {er: 1}}
    modle: x
/**/camera:
  ros__parameters: {of_this_name: 1}
/robot/*:
  ros__parameters: {of_a_namespace: 1}
/other/camera:
  ros__parameters: {of_another: 1}
robot:
  camera:
    ros__parameters: {of_this_node: 1}
camera:
  ros__parameters: {without_namespace: 1}
"""


def test_it_is_known_who_was_meant(tmp_path):
    (tmp_path / 'file.yaml').write_text(FILE)
    arguments = [
        'node',
        '-p',
        'before:=1',
        '--ros-args',
        '--params-file',
        str(tmp_path / 'file.yaml'),
    ]
    arguments += ['-p', 'mine:=1', '--param', 'camera:named:=a:=b', '-p', 'lidar:other:=1']
    arguments += ['--params-file', str(tmp_path / 'nothing.yaml'), '--', '-p', 'after:=1']
    sources = find_sources(arguments, '/robot/camera')
    assert sources.own == {'of_this_name', 'of_this_node', 'mine', 'named'}
    assert sources.shared == {'robot_base_frame', 'nested.deep.er', 'modle', 'of_a_namespace'}
    assert find_sources(arguments, '/camera').own >= {'without_namespace'}


@pytest.mark.parametrize('content', ['', '- 1', '{', '1', 'a: 1', '/**: {ros__parameters: 3}'])
def test_files_that_say_nothing_name_nothing(tmp_path, content):
    (tmp_path / 'file.yaml').write_text(content)
    sources = find_sources(['--ros-args', '--params-file', str(tmp_path / 'file.yaml')], '/a')
    assert not sources.own | sources.shared


def declared(tmp_path, content, *arguments):
    """Declare the parameters of a node that is started with a file."""
    file = tmp_path / 'file.yaml'
    file.write_text(content)
    line = ['--ros-args', '--params-file', str(file), *arguments]
    node = rclpy.create_node('camera', namespace='/robot', cli_args=line)
    try:
        return declare_parameters(node, NodeConfig(), line)
    finally:
        node.destroy_node()


def test_what_a_file_gives_to_all_nodes_is_only_warned_of(tmp_path, capfd):
    content = '/**:\n  ros__parameters: {robot_base_frame: base_link, max_rate: 7}\n'
    content += '/**/camera:\n  ros__parameters: {overlay_alpha: 0.25}\n'
    config = declared(tmp_path, content)
    assert (config.max_rate, config.overlay_alpha) == (7.0, 0.25)
    assert "['robot_base_frame']" in capfd.readouterr().err


@pytest.mark.parametrize(
    ('section', 'arguments'),
    [
        ('/robot/camera', []),
        ('/**/camera', []),
        ('/**', ['-p', 'modle:=y']),
        ('/other', ['-p', 'modle:=y']),
    ],
)
def test_an_unknown_name_that_is_meant_for_the_node_is_refused(tmp_path, section, arguments):
    content = f'{section}:\n  ros__parameters: {{modle: x}}\n'
    with pytest.raises(ValueError, match="unknown parameter 'modle'; did you mean 'model'"):
        declared(tmp_path, content, *arguments)


def test_without_the_command_line_every_unknown_name_is_refused(tmp_path):
    node = rclpy.create_node('camera', parameter_overrides=[Parameter('modle', value='x')])
    try:
        with pytest.raises(ValueError, match='unknown parameter'):
            declare_parameters(node, NodeConfig())
    finally:
        node.destroy_node()


def test_a_shared_file_starts_the_node(robot, primary_model, tmp_path):
    (tmp_path / 'robot.yaml').write_text('/**:\n  ros__parameters: {robot_base_frame: x}\n')
    with node_process(
        '/own',
        *('--params-file', str(tmp_path / 'robot.yaml')),
        model=primary_model,
        backend='onnxruntime',
    ):
        wait_for(lambda: robot.node.count_publishers('/own/segmentation/label_mask'))


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['-p', 'image_topics:=[/camera-1/image_raw]'], "'/camera-1/image_raw' is no topic name"),
        (['-p', 'image_topics:=[/a/b/image_raw, /a_b/image_raw]'], 'would both publish under'),
        (['-p', 'qos_overrides./image.subscription.reliability:=sometimes'], 'best_effort'),
        (['-p', 'qos_overrides./image.subscription.depth:=-1'], 'no number from 1 to'),
        (['-p', "class_remap:=['line']"], "is not of the form 'class: value'"),
        (['-p', "class_remap:='{line: field}'"], "expected a list, got '{line: field}'"),
    ],
)
def test_wrong_parameters_end_the_start_with_one_line(primary_model, arguments, reason):
    command = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args']
    command += ['-p', f'model:={primary_model}', *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert reason in done.stderr
    assert 'Traceback' not in done.stderr
