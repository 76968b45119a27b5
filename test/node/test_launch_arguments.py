"""What the launch files declare and hand on; launch itself is not needed for it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from seg_ros.node import launch_arguments as arguments
from seg_ros.node.config import NodeConfig
from seg_ros.schema import from_mapping, settings_of

NODE = Path(arguments.__file__).parent


def declared():
    listed = arguments.launch_arguments('robocup.yaml', ('robocup_mini_unet',))
    return {argument.name: argument for argument in listed}


def test_every_parameter_is_an_argument_that_leaves_it_to_the_file():
    found = declared()
    for setting in settings_of(NodeConfig):
        assert found[setting.name].default == arguments.FROM_FILE
        assert setting.doc in found[setting.name].description
    assert found['params_file'].default == 'robocup.yaml'
    assert 'robocup_mini_unet' in found['model'].description
    assert {'namespace', 'use_sim_time', 'camera', 'bag', 'rviz', 'respawn'} <= found.keys()
    assert all(entry.description for entry in found.values())


def test_defaults_are_among_the_choices():
    for argument in declared().values():
        assert not argument.choices or argument.default in argument.choices


def test_the_description_declares_all_of_them():
    """Read without launch: one declaration, made for each of the arguments."""
    tree = ast.parse((NODE / 'launch_description.py').read_text(encoding='utf-8'))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [getattr(call.func, 'id', '') for call in calls]
    assert names.count('DeclareLaunchArgument') == 1
    (comprehension,) = (
        node for node in ast.walk(tree)
        if isinstance(node, ast.ListComp) and getattr(node.elt, 'func', None)
        and getattr(node.elt.func, 'id', '') == '_declare'
    )  # fmt: skip
    assert comprehension.generators[0].iter.id == 'arguments'


def test_texts_become_values_of_the_right_type():
    given = {
        'image_topics': '/camera/image_raw',
        'masks': '[ball, line]',
        'class_remap': "['line: field']",
        'min_confidence': '1',
        'roi': '[0, 10, 0, 0]',
        'autostart': 'false',
        'geometry': '[]',
        'backend': '',
        'rviz': 'true',
    }
    found = arguments.given_parameters(given)
    assert found == {
        'image_topics': ['/camera/image_raw'],
        'masks': ['ball', 'line'],
        'class_remap': ['line: field'],
        'min_confidence': 1.0,
        'roi': [0, 10, 0, 0],
        'autostart': False,
        'geometry': [],
    }
    assert from_mapping(NodeConfig, found).roi == (0, 10, 0, 0)


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('min_confidence', '2', 'outside 0.0 to 1.0'),
        ('num_threads', 'many', 'expected int'),
        ('image_topics', '[a, a]', 'names a topic twice'),
        ('roi', '[1, 2]', 'expected 4 values'),
        ('masks', '[', 'is no YAML'),
    ],
)
def test_wrong_values_end_the_launch_with_the_reason(name, text, message):
    with pytest.raises(ValueError, match=message):
        arguments.given_parameters({name: text})
