from __future__ import annotations

import ast
import contextlib
import fnmatch
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rclpy.node import NodeNameNonExistentError

from seg_ros.node.interface import GEOMETRY_TOPICS
from seg_ros.node.messages import HAS_VISION_MSGS
from seg_ros.node.security_policy import POLICY_FILE, sros2_policy
from test.node.conftest import (
    _ros_context,  # noqa: F401 - a fixture
    node_process,
    robot,  # noqa: F401 - a fixture
    wait_for,
)

ROOT = Path(__file__).resolve().parents[2]
# What a robot's process needs none of: they fetch, run or unpickle what others wrote.
FORBIDDEN_MODULES = {
    'urllib', 'http', 'requests', 'socket', 'ftplib', 'smtplib', 'xmlrpc', 'webbrowser', 'pickle',
    'marshal', 'shelve', 'joblib', 'dill',
}  # fmt: skip
# Training alone may fetch: ImageNet weights, checked against their hash, where they are asked for.
FETCHES = {'encoder_weights.py': {'urllib'}}
FORBIDDEN_CALLS = {'eval', 'exec', 'compile', '__import__'}
SOURCES = sorted((ROOT / 'seg_ros').rglob('*.py'))


def allowed(tag, attribute):
    """Expressions of the policy, resolved for a node /own/segmentation."""
    root = ET.parse(ROOT / POLICY_FILE)  # noqa: S314 - our own file
    for block in root.iter(tag):
        if attribute in block.attrib:
            for entry in block:
                name = entry.text
                yield name.replace('~', '/own/segmentation') if name[0] in '~/' else f'/own/{name}'


def differences(expressions, names, absent=()):
    """What the node uses and may not, and what it may and does not use."""
    expressions = set(expressions)
    refused = {n for n in names if not any(fnmatch.fnmatchcase(n, e) for e in expressions)}
    idle = {e for e in expressions if not fnmatch.filter(names, e)} - set(absent)
    return {'not allowed': sorted(refused), 'not used': sorted(idle)} if refused | idle else {}


def test_the_policy_file_is_what_the_declarations_give():
    assert (ROOT / POLICY_FILE).read_text(encoding='utf-8') == sros2_policy(), (
        f'python -m seg_ros interface --policy > {POLICY_FILE}'
    )


@pytest.mark.ros
@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_the_policy_allows_exactly_what_the_running_node_uses(
    robot,  # noqa: F811
    primary_model,
    transport,
):
    def on_graph(kind):
        found = getattr(robot.node, f'get_{kind}_names_and_types_by_node')
        with contextlib.suppress(NodeNameNonExistentError):  # not discovered yet
            return [name for name, _ in found('segmentation', '/own')]
        return []

    absent = [f'/own/segmentation/{topic.name}' for topic in GEOMETRY_TOPICS.values()]
    if not HAS_VISION_MSGS:
        absent.append('/own/segmentation/label_info')
    other = '/own/image' if transport == 'compressed' else '/own/image/compressed'

    def found():
        return [
            differences(allowed('topics', 'publish'), on_graph('publisher'), absent),
            differences(allowed('topics', 'subscribe'), on_graph('subscriber'), [other]),
            differences(allowed('services', 'reply'), on_graph('service')),
            differences([], on_graph('client')),
        ]

    parameters = {'model': primary_model, 'backend': 'onnxruntime', 'use_sim_time': True}
    with node_process('/own', image_transport=transport, **parameters):
        with contextlib.suppress(pytest.fail.Exception):  # the assertion below says what differs
            wait_for(lambda: not any(found()), what='the whole graph')
        assert not any(found()), found()


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_fetched_unpickled_or_run(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or '']
        found = {name.split('.')[0] for name in names} & FORBIDDEN_MODULES
        assert found <= FETCHES.get(path.name, set())
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                assert called.id not in FORBIDDEN_CALLS
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                _check_loader(called.value.id, called.attr, node)


def _check_loader(module, function, call):
    assert (module, function) != ('torch', 'load'), 'weights are safetensors'
    assert (module, function) not in {('os', 'system'), ('os', 'popen')}
    assert not any(
        keyword.arg == 'shell' and getattr(keyword.value, 'value', True)
        for keyword in call.keywords
    )
    if module == 'yaml' and function == 'load':
        loaders = [keyword.value.id for keyword in call.keywords if keyword.arg == 'Loader']
        # each is a subclass of SafeLoader that allows less
        assert loaders
        assert set(loaders) <= {'_PlainLoader', '_Loader'}
