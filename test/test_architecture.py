"""The rules of the house: who may import whom, and what a robot's process never loads."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'seg_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))

ROS = {'rclpy', 'sensor_msgs', 'std_msgs', 'std_srvs', 'diagnostic_msgs', 'rcl_interfaces'}
TORCH = {'torch', 'torchvision', 'safetensors', 'tensorboard'}
ENGINES = {'onnxruntime', 'openvino'}

# first match wins: path prefix -> what its modules must not import
FORBIDDEN = {
    'node/': TORCH | ENGINES | {'seg_ros.nets', 'seg_ros.training', 'seg_ros.model_export'},
    'commands/': set(),  # imports inside run() only; see below
    'nets/': ROS | ENGINES | {'seg_ros.node', 'seg_ros.datasets', 'seg_ros.backends'},
    'training/': ROS | ENGINES | {'seg_ros.node', 'seg_ros.backends'},
    'model_export.py': ROS | {'seg_ros.node', 'seg_ros.training'},
    'torch_module.py': ROS | {'seg_ros.node', 'seg_ros.training', 'seg_ros.nets'},
    # the reference engine needs the nets' Python code; loaded only when it is asked for
    'backends/torch_eager.py': ROS | {'seg_ros.datasets', 'seg_ros.node', 'seg_ros.training'},
    'backends/': ROS | TORCH | {'seg_ros.nets', 'seg_ros.datasets', 'seg_ros.node'},
    'datasets/': ROS | TORCH | ENGINES | {'seg_ros.nets', 'seg_ros.backends', 'seg_ros.node'},
    '': ROS | TORCH | {'seg_ros.nets', 'seg_ros.training', 'seg_ros.node', 'seg_ros.model_export'},
}


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere, with all its parent packages."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f'{node.module}.{alias.name}' for alias in node.names}
    parents = {'.'.join(n.split('.')[: i + 1]) for n in names for i in range(n.count('.'))}
    return names | parents


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_what_they_may(path):
    relative = path.relative_to(PACKAGE).as_posix()
    forbidden = next(rules for prefix, rules in FORBIDDEN.items() if relative.startswith(prefix))
    assert not imported(path) & forbidden


# What Python 3.10 and OpenCV 4.5.4 (Ubuntu 22.04) lack.
AFTER_UBUNTU_22_04 = {
    *('Self', 'LiteralString', 'Never', 'NotRequired', 'Required', 'Unpack', 'assert_never'),
    *('StrEnum', 'EnumType', 'UTC', 'TaskGroup', 'ExceptionGroup', 'BaseExceptionGroup'),
    *('COLOR_BayerRGGB2BGR', 'COLOR_BayerBGGR2BGR', 'COLOR_BayerGBRG2BGR', 'COLOR_BayerGRBG2BGR'),
    *('COLOR_BayerRGGB2RGB', 'IMREAD_COLOR_RGB'),
    *('add_note', 'tomllib', 'file_digest', 'batched', 'getmembers_static', 'is_junction'),
}


@pytest.mark.parametrize('folder', ['seg_ros', 'test', 'bench', 'launch', 'interfaces'])
def test_ubuntu_22_04_can_run_it(folder):
    newer = []
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'), feature_version=(3, 10))):
            names = {getattr(node, field, None) for field in ('id', 'attr', 'name', 'module')}
            newer += [(path.name, name) for name in names & AFTER_UBUNTU_22_04]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                given = len(node.args) + len(node.keywords)
                if node.func.attr in {'to_bytes', 'from_bytes'} and given < 2:
                    newer.append((path.name, f'{node.func.attr} without a byte order'))
    assert not newer


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_unpickled_and_yaml_is_safe(path):
    text = path.read_text(encoding='utf-8')
    assert 'torch' + '.load(' not in text
    assert not imported(path) & {'pickle', 'joblib', 'dill', 'shelve'}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr in ('unsafe_load', 'full_load'):
            pytest.fail(f'{path} uses yaml.{node.attr}')


def test_files_stay_readable():
    sizes = {path: len(path.read_text(encoding='utf-8').splitlines()) for path in MODULES}
    assert not {str(path): lines for path, lines in sizes.items() if lines > 400}


@pytest.mark.parametrize('engine', sorted(ENGINES))
@pytest.mark.ros
def test_the_node_with_its_engine_loads_no_torch(engine):
    code = (
        'import sys, seg_ros, seg_ros.node.segmentation_node, '
        f'seg_ros.backends.{engine}; '
        'sys.exit(any(name.split(".")[0] in ("torch", "torchvision") for name in sys.modules))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_importing_the_package_loads_no_engine():
    code = (
        'import sys, seg_ros; '
        'sys.exit(any(n in sys.modules for n in ("torch", "rclpy", "openvino", "onnxruntime")))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_no_file_names_a_path_of_one_machine():
    if shutil.which('git') is None or not (ROOT / '.git').exists():
        pytest.skip('not a git checkout')
    command = ['git', 'ls-files', '-z']
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    needles = [f'/{top}/' for top in ('home', 'root', 'work')]
    for name in filter(None, listed.split('\0')):
        path = ROOT / name
        if path.suffix in {'.py', '.md', '.yaml', '.xml', '.toml', '.cfg'} and path.is_file():
            text = path.read_text(encoding='utf-8')
            assert not [needle for needle in needles if needle in text], name
