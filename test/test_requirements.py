"""The locked requirements of the demo: complete, hashed, and in step with setup.py."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PINNED = re.compile(r'^([a-z0-9-]+)==(\S+)', re.MULTILINE)


def pins(name):
    """Package -> version -> number of hashes of a locked file; old Pythons have versions apart."""
    text = (ROOT / 'requirements' / name).read_text(encoding='utf-8')
    entries = re.split(r'\n(?=[a-z])', '\n' + re.sub(r'^#.*\n', '', text, flags=re.MULTILINE))
    found = {}
    for entry in filter(str.strip, entries):
        match = PINNED.match(entry)
        assert match, entry
        hashes = len(re.findall(r'--hash=sha256:[0-9a-f]{64}\b', entry))
        found.setdefault(match[1], {})[match[2]] = hashes
    return found


def requirements_of_setup(*lists):
    values = {}
    for node in ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            values[node.targets[0].id] = node.value
    return [Requirement(ast.literal_eval(entry)) for name in lists for entry in values[name].elts]


def canonical(name):
    return re.sub(r'[-_.]+', '-', name).lower()


@pytest.mark.parametrize('name', ['runtime.txt', 'build.txt'])
def test_every_package_is_pinned_by_version_and_hash(name):
    found = pins(name)
    assert found
    assert not [package for package, versions in found.items() if not all(versions.values())]


def test_the_lock_holds_what_setup_asks_for():
    found = pins('runtime.txt')
    for requirement in requirements_of_setup('RUNTIME', 'JAZZY'):
        versions = found[canonical(requirement.name)]
        assert all(map(requirement.specifier.contains, versions)), f'make lock: {requirement}'


# Packages whose modules have another name; what a distribution or an extra of one's own brings.
DISTRIBUTIONS = {'cv2': 'opencv-python-headless', 'yaml': 'pyyaml', 'backports': 'backports.zstd'}
OF_ROS = {'ament_index_python', 'launch', 'launch_ros', 'vision_msgs', 'bondpy', 'cv_bridge'}
TYPING_ONLY = {'_typeshed', 'compression'}  # the latter is in the library from 3.14 on


def test_every_imported_package_is_declared():
    """What only another package brings along may go with its next version."""
    lists = ('RUNTIME', 'JAZZY', 'TRAIN', 'QUANTIZE')
    declared = {canonical(requirement.name) for requirement in requirements_of_setup(*lists)}
    declared |= {name.removeprefix('ros-') for name in declared if name.startswith('ros-')}
    imported = set()
    for path in (ROOT / 'seg_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition('.')[0])
    outside = imported - sys.stdlib_module_names - {'seg_ros'} - OF_ROS - TYPING_ONLY
    # rclpy's own wheel cannot be used without these.
    outside -= {'rcl_interfaces', 'builtin_interfaces', 'rosgraph_msgs', 'lifecycle_msgs'}
    names = {name: canonical(DISTRIBUTIONS.get(name, name)) for name in outside}
    assert not {name for name, package in names.items() if package not in declared}


def test_the_lock_leaves_out_what_reports_to_a_server():
    assert 'openvino' in pins('runtime.txt')
    assert 'openvino-telemetry' not in pins('runtime.txt')


def test_lock_and_constraints_name_the_same_versions():
    found = pins('runtime.txt') | pins('build.txt')
    text = (ROOT / 'constraints.txt').read_text(encoding='utf-8')
    both = {}
    for name, version in re.findall(r'^([\w.-]+)==([^\s;]+)', text, re.MULTILINE):
        if canonical(name) in found:
            both.setdefault(canonical(name), set()).add(version)
    assert len(both) >= 8
    assert {name: found[name].keys() for name in both} == both


def test_the_demo_installs_by_hash_and_nothing_else():
    rule = (ROOT / 'Makefile').read_text(encoding='utf-8')
    rule = rule[rule.index('$(VENV)/.runtime:') :].split('\n\n')[0]
    installs = [line for line in rule.splitlines() if ' install ' in line]
    assert len(installs) == 3
    assert all('--require-hashes' in line or '--no-deps' in line for line in installs)
    assert '--no-deps' in installs[1]  # or openvino brings what the lock leaves out
    assert all('--no-build-isolation' in line for line in installs[1:])
    assert 'torch' not in pins('runtime.txt')
