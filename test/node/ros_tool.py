"""``ros2`` for the tests: the real one where it is installed, else what it does, through rclpy."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import yaml
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.parameter import (
    get_parameter_value,
    parameter_dict_from_yaml_file,
    parameter_value_to_python,
)
from std_srvs.srv import Trigger

REAL = shutil.which('ros2')
_DIRECT = '--no-daemon --spin-time 5'  # a daemon would outlive the tests
_TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE,
    'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE,
    'cleanup': Transition.TRANSITION_CLEANUP,
}


def run_ros2(robot, command, folder):
    """Run a line of a shell that begins with ``ros2``; returns what it prints.

    Knows ``param set|dump|load``, ``lifecycle set`` and ``service call`` of a Trigger. What the
    node refuses fails the test.
    """
    if REAL is not None:
        return _run_real(command, folder)
    words = shlex.split(command)
    target = None
    if '>' in words:
        *words, _, target = words
    _, group, *rest = words
    text = {
        'param': _param,
        'lifecycle': _set_state,
        'service': _call,
    }[group](robot, folder, *rest)
    if target is not None:
        (folder / target).write_text(text, encoding='utf-8')
    return text


def _run_real(command, folder):
    verb = ' '.join(command.split()[:3])
    if not verb.startswith('ros2 service'):
        command = command.replace(verb, f'{verb} {_DIRECT}', 1)
    done = subprocess.run(
        ['bash', '-c', command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert 'failed' not in said, said
    assert 'Traceback' not in said, said
    return done.stdout


def _param(robot, folder, verb, node, *rest):
    if verb == 'dump':
        return yaml.dump({node: {'ros__parameters': _nested(dump(robot, node))}})
    if verb == 'set':
        name, text = rest
        messages = [Parameter(name=name, value=get_parameter_value(text))]
    else:
        path = Path(folder) / rest[0]
        found = parameter_dict_from_yaml_file(str(path), use_wildcard=True, target_nodes=[node])
        messages = list(found.values())
    request = SetParameters.Request(parameters=messages)
    answer = robot.call(SetParameters, f'{node}/set_parameters', request, attempts=4)
    assert len(answer.results) == len(messages)
    for message, result in zip(messages, answer.results, strict=True):
        assert result.successful, f'{message.name}: {result.reason}'
    return 'Set parameter successful'


def _set_state(robot, _folder, verb, node, transition):
    assert verb == 'set'
    assert robot.change_state(node, _TRANSITIONS[transition])
    return 'Transitioning successful'


def _call(robot, _folder, verb, service, kind):
    assert (verb, kind) == ('call', 'std_srvs/srv/Trigger')
    answer = robot.call(Trigger, service, Trigger.Request())
    assert answer.success, answer.message
    return answer.message


def dump(robot, node):
    """All parameters of a node: name -> plain value."""
    request = ListParameters.Request()
    found = robot.call(ListParameters, f'{node}/list_parameters', request, attempts=4).result
    request = GetParameters.Request(names=sorted(found.names))
    values = robot.call(GetParameters, f'{node}/get_parameters', request, attempts=4).values
    assert len(values) == len(found.names)
    plain = map(parameter_value_to_python, values)
    return dict(zip(request.names, plain, strict=True))


def _nested(values):
    tree = {}
    for name, value in values.items():
        *above, last = name.split('.')
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree
