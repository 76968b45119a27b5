"""Parameters as strangers set them, into a node in a process of its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter, parameter_value_to_python
from sensor_msgs.msg import Image

from seg_ros.node.config import NodeConfig
from seg_ros.schema import settings_of
from test.conftest import stripes, write_primary_model
from test.node.conftest import TIMEOUT_S, Robot, image_message, labels_of, node_process, wait_for
from test.robustness.tally import Tally, draw_cases
from test.robustness.vitals import look_at

_NODE = '/fuzz/segmentation'
_MASK = f'{_NODE}/label_mask'
_MAX_REASON = 700  # characters; a line of the log
_LIVE = {s.name: s for s in settings_of(NodeConfig) if s.live}
_NAMES = [s.name for s in settings_of(NodeConfig)]
_OTHER_NAMES = ('in_use.device', 'use_sim_time', 'start_type_description_service', 'modle', '')
_TYPES = {str: 4, bool: 1, int: 2, float: 3}
_TEXTS = (
    *('', '~', '~nosuchuser', '~root/x', '/', '/proc/self/mem', '/dev/zero', '/dev/null'),
    *('x' * 300, 'x' * 5000, '../' * 60, '{camera}', '{0}', '%s', 'a\x00b', '\n', 'auto', 'all'),
    *('!!bool', '!!int ""', '!!python/object/apply:os.system [id]', '{a: &a [1], b: [*a, *a]}'),
    *('{red: green}', '[red, green]', '1e-05', 'nan', '.inf', 'robocup_no_such_model'),
)
_ENTRIES = (
    *('red: green', 'red: void', 'blue: 7', 'blue: 0', 'red: 255', 'red: -1', 'x: y', 'all: 5'),
    *('red: ground', 'green: ground', 'red: 99999999999', 'red:', ':', 'a: b: c', 'red', 'green'),
    *('all', 'ball', 'drivable_edge', 'green: road', 'red: !!bool', f'red: {"x" * 300}'),
    *('x' * 5000, 'red: ' + '9' * 400, 'crimson: lime', 'void: red', 'red: ~', '\x00'),
)
_WHOLE = st.sampled_from((0, 1, -1, 40, 255, 1 << 16, 1 << 31, -(1 << 63), (1 << 63) - 1))
_REAL = st.sampled_from((0.0, -0.0, 1.0, 0.5, 1e-300, -1e-300, 1e300, 9e3, math.inf, math.nan))
_TEXT = st.one_of(st.sampled_from(_TEXTS), st.text(st.characters(codec='utf-8'), max_size=40))


def fuzz_parameters(folder: Path, cases: int) -> tuple[Tally, dict[str, Any]]:
    """Set drawn parameters, then go back to the defaults and have a valid frame served.

    Every request must be answered, each refusal with a reason that fits a line and without any
    change; the way back and the frame must always be there.

    Args:
        folder: Where two models are written.
        cases: How many requests.

    Returns:
        The tally, and what the node gained.
    """
    models = [write_primary_model(folder / name) for name in ('first', 'second')]
    robot = Robot()
    tally = Tally('parameters into a live node')
    try:
        with node_process('/fuzz', model=models[0], backend='onnxruntime') as process:
            stranger = _Stranger(robot, models[0])
            stranger.go_back()
            stranger.have_frame_served()
            first = look_at(process.pid)
            draw_cases(tally, _requests(models), cases, stranger.try_case)
            stranger.go_back()
            stranger.have_frame_served()
            last = look_at(process.pid)
    finally:
        robot.close()
    tally.growth_mb = last.rss_mb - first.rss_mb
    return tally, {
        'threads_gained': last.threads - first.threads,
        'file_handles_gained': last.file_handles - first.file_handles,
    }


class _Stranger:
    """Sets parameters, and sends the frames that must be served all the same."""

    def __init__(self, robot: Robot, model: Path) -> None:
        self._robot = robot
        node = robot.node
        self._set = node.create_client(SetParameters, f'{_NODE}/set_parameters')
        self._set_atomically = node.create_client(
            SetParametersAtomically, f'{_NODE}/set_parameters_atomically'
        )
        self._get = node.create_client(GetParameters, f'{_NODE}/get_parameters')
        for client in (self._set, self._set_atomically, self._get):
            assert client.wait_for_service(TIMEOUT_S)
        robot.listen(_MASK, Image)
        self._camera = robot.camera('/fuzz/image')
        robot.ask(self._camera, self._frame(), _MASK)
        values = {name: setting.default for name, setting in _LIVE.items()}
        values |= {'model': str(model), 'use_sim_time': False}
        self._defaults = [
            Parameter(n, value=list(v) if isinstance(v, tuple) else v).to_parameter_msg()
            for n, v in values.items()
        ]

    def try_case(self, case: tuple[bool, list[ParameterMessage]]) -> str | None:
        is_atomic, messages = case
        before = self._values()
        if is_atomic:
            results = [self._call(self._set_atomically, messages).result]
        else:
            results = list(self._call(self._set, messages).results)
        if len(results) != (1 if is_atomic else len(messages)):
            return f'{len(results)} results for {len(messages)} parameters'
        reasons = [result.reason for result in results if not result.successful]
        if not all(0 < len(reason) <= _MAX_REASON for reason in reasons):
            return f'a reason of {max(map(len, reasons))} characters, or none'
        if len(reasons) < len(results):
            self.go_back()
        elif (after := self._values()) != before:
            return f'refused, but {after} was {before}'
        self.have_frame_served()
        if reasons:
            raise ValueError(reasons[0])
        return None

    def go_back(self) -> None:
        """Set the defaults and wait until the first model runs; a load may be under way."""

        def is_back() -> bool:
            result = self._call(self._set_atomically, self._defaults).result
            in_use = self._values(['in_use.model_name'])
            return result.successful and in_use == ["'first'"]

        wait_for(is_back, what='the way back to the defaults')

    def have_frame_served(self) -> None:
        """Send the stripes and wait for their labels."""
        frame = self._frame()
        self._camera.publish(frame)
        answer = labels_of(self._robot.message_with(_MASK, frame.header))
        assert np.array_equal(answer, stripes()[1]), 'wrong labels for a valid frame'
        self._robot.received[_MASK].clear()

    def _frame(self) -> Image:
        return image_message(stripes()[0], self._robot.header())

    def _values(self, names: list[str] | None = None) -> list[str]:
        """What parameters are; as texts, as no number equals one that is none."""
        request = GetParameters.Request(names=names or _NAMES)
        future = self._get.call_async(request)
        wait_for(future.done, what='the values of parameters')
        return [repr(parameter_value_to_python(value)) for value in future.result().values]

    def _call(self, client: Any, messages: list[ParameterMessage]) -> Any:
        future = client.call_async(client.srv_type.Request(parameters=messages))
        wait_for(future.done, what='an answer to a change of parameters')
        return future.result()


@st.composite
def _requests(draw: Any, models: list[Path]) -> tuple[bool, list[ParameterMessage]]:
    """Whether the request is atomic, and its parameters."""
    messages = draw(st.lists(_parameters(models), min_size=1, max_size=3))
    return draw(st.booleans()), messages


@st.composite
def _parameters(draw: Any, models: list[Path]) -> ParameterMessage:
    """A parameter: mostly a live one of its own type, with a value at the edge or beyond it."""
    name = draw(
        st.one_of(
            st.sampled_from(list(_LIVE)),
            st.sampled_from(list(_LIVE)),
            st.sampled_from([*_NAMES, *_OTHER_NAMES]),
            st.text(st.characters(codec='utf-8'), max_size=20),
        )
    )
    is_own_type = name in _LIVE and draw(st.integers(0, 3))
    kind = _type_of(_LIVE[name].type) if is_own_type else draw(_any_type())
    text = st.sampled_from([str(path) for path in models]) if name == 'model' else _TEXT
    entries = st.lists(st.sampled_from(_ENTRIES), max_size=4)
    value = ParameterValue(
        type=kind,
        bool_value=draw(st.booleans()),
        integer_value=draw(_WHOLE),
        double_value=draw(_REAL),
        string_value=draw(st.one_of(_TEXT, text)),
        byte_array_value=draw(st.lists(st.binary(min_size=1, max_size=1), max_size=3)),
        bool_array_value=draw(st.lists(st.booleans(), max_size=5)),
        integer_array_value=draw(st.lists(_WHOLE, max_size=5)),
        double_array_value=draw(st.lists(_REAL, max_size=5)),
        string_array_value=draw(st.one_of(entries, entries, entries, st.just(['red'] * 2000))),
    )
    return ParameterMessage(name=name, value=value)


def _any_type() -> st.SearchStrategy[int]:
    return st.sampled_from((*range(10), *range(10), 10, 128, 255))


def _type_of(kind: Any) -> int:
    """Number of a setting's type as parameters have it; those of lists follow the others."""
    if kind in _TYPES:
        return _TYPES[kind]
    integers = kind == tuple[int, int, int, int]
    return (
        ParameterType.PARAMETER_INTEGER_ARRAY if integers else ParameterType.PARAMETER_STRING_ARRAY
    )
