"""Build of the ament_python package; works under colcon and under pip."""

import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

SHARE = Path('share/seg_ros')


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """List the files below a folder for installation under share/seg_ros."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob('*')):
        if path.is_file():
            found.setdefault(str(SHARE / path.parent), []).append(str(path))
    return list(found.items())


def venv_note() -> list[tuple[str, list[str]]]:
    """Note the venv that colcon builds in, for executables that are started outside it."""
    if not {'install', 'develop'} & set(sys.argv):  # colcon's two ways; a wheel may go elsewhere
        return []
    # Not sys.prefix, which colcon sets to where it installs. Without a venv this is none, either.
    venv = os.environ.get('VIRTUAL_ENV') or Path(sys.executable).parents[1]
    note = Path('build/venv')
    note.parent.mkdir(exist_ok=True)
    note.write_text(f'{venv}\n', encoding='utf-8')
    return [(str(SHARE), [str(note)])]


JAZZY = [
    'ros-rclpy[fastrtps]==7.1.6',
    'ros-sensor-msgs==5.3.6',
    'ros-std-msgs==5.3.6',
    'ros-std-srvs==5.3.6',
    'ros-diagnostic-msgs==5.3.6',
    'ros-geometry-msgs==5.3.6',
]
KILTED = [
    'ros-rclpy[fastrtps]==9.1.2',
    'ros-sensor-msgs==5.5.1',
    'ros-std-msgs==5.5.1',
    'ros-std-srvs==5.5.1',
    'ros-diagnostic-msgs==5.5.1',
    'ros-geometry-msgs==5.5.1',
]
RUNTIME = [
    'numpy>=1.21',
    'opencv-python-headless>=4.5.4',
    'pyyaml>=6',
    'openvino>=2024.4',
    'onnxruntime>=1.18',
    'rosbags>=0.11,<0.12',
    # what rosbags reads storage with; its limits are set through them
    'apsw>=3.46',
    'lz4>=4',
    'backports.zstd>=1; python_version < "3.14"',
    'tqdm>=4.60',
]
TRAIN = [
    'torch>=2.6',
    'torchvision>=0.21',
    'safetensors>=0.4',
    'onnx>=1.16',
    'onnxscript>=0.5',
    'tensorboard>=2.15',
    'matplotlib>=3.8',
    'mujoco>=3.2',
]
QUANTIZE = ['nncf>=3.4,<4', 'onnx>=1.16']
TEST = [
    'onnx>=1.16',
    'pytest>=8',
    'pytest-timeout>=2.3',
    'pytest-randomly>=3.15',
    'pytest-xdist>=3.6',
    'hypothesis>=6.100',
    'ruff==0.17.5',
    'mypy==2.4.1',
    'types-PyYAML>=6',
]
BENCH = ['segmentation-models-pytorch>=0.5']  # what others would run instead

setup(
    name='seg_ros',
    version='0.2.0',
    description='Semantic segmentation for ROS 2: train, export and run small nets on robots',
    maintainer='seg_ros maintainers',
    maintainer_email='maintainers@example.org',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['seg_ros', 'seg_ros.*']),
    package_data={'seg_ros': ['py.typed', 'evaluation/report.css']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/seg_ros']),
        (str(SHARE), ['package.xml']),
        # Executables by data_files: pip would put console scripts where ros2 run does not look.
        ('lib/seg_ros', [str(path) for path in sorted(Path('scripts').iterdir())]),
        *venv_note(),
        *tree('launch'),
        *tree('config'),
        *tree('models'),
        *tree('demo'),
    ],
    # On a ROS distribution rosdep installs what package.xml names; elsewhere take the extras.
    install_requires=['setuptools'],
    extras_require={
        'runtime': RUNTIME,
        'ros': JAZZY,
        'ros-kilted': KILTED,
        'train': [*RUNTIME, *TRAIN],
        'quantize': QUANTIZE,
        'test': TEST,
        'bench': BENCH,
    },
    zip_safe=False,
)
