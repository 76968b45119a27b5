"""Libraries that only some tests need: where one is not installed, they are skipped."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Module -> the extra of setup.py that brings it, or who else has it.
EXTRAS = {
    **dict.fromkeys(('openvino', 'onnxruntime', 'rosbags', 'apsw'), 'runtime'),
    **dict.fromkeys(('torch', 'torchvision', 'safetensors', 'onnxscript', 'tensorboard'), 'train'),
    **dict.fromkeys(('matplotlib', 'mujoco', 'PIL'), 'train'),
    **dict.fromkeys(('onnx', 'hypothesis'), 'test'),
    'nncf': 'quantize',
    **dict.fromkeys(('rclpy', 'lifecycle_msgs', 'rosgraph_msgs', 'ament_index_python'), 'ros'),
    **dict.fromkeys(('sensor_msgs', 'std_msgs', 'std_srvs', 'diagnostic_msgs'), 'ros'),
    **dict.fromkeys(('rcl_interfaces', 'builtin_interfaces', 'geometry_msgs'), 'ros'),
}
# pytest before 8 ends where a conftest.py cannot be imported: these folders are left out whole.
FOLDERS = {'evaluation': 'rosbags', 'node': 'rclpy', 'scenes': 'mujoco', 'training': 'torch'}
_MISSING = re.compile(
    r"ModuleNotFoundError: No module named '(\w+)|backend '(\w+)' is not installed"
)


def missing_library(error: str) -> str:
    """Say which library an error misses; empty where it is another error."""
    found = _MISSING.search(error)
    library = found and (found[1] or found[2])
    if not library or (extra := EXTRAS.get(library)) is None:
        return ''
    return f'{library} is not installed: the extra {extra!r} has it'


def missing_folders() -> dict[str, str]:
    """Folders of ``test`` that are left out -> why."""
    return {
        folder: missing_library(f"ModuleNotFoundError: No module named '{module}'")
        for folder, module in FOLDERS.items()
        if importlib.util.find_spec(module) is None
    }


collect_ignore = list(missing_folders())


def pytest_report_header() -> list[str]:
    """Say which folders are left out."""
    return [f'test/{folder} is skipped: {reason}' for folder, reason in missing_folders().items()]


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Skip a test file that imports such a library."""
    report = (yield).get_result()
    if report.failed and (reason := missing_library(str(report.longrepr))):
        report.outcome = 'skipped'
        report.longrepr = (report.nodeid, 0, f'Skipped: {reason}')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Skip a test that comes upon such a library, or whose fixtures do."""
    report = (yield).get_result()
    if report.failed and call.excinfo and (reason := missing_library(call.excinfo.exconly())):
        report.outcome = 'skipped'
        report.longrepr = (item.location[0], item.location[1] or 0, f'Skipped: {reason}')
