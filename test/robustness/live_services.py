"""Calls of services in any order and model folders that change under a node that runs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from seg_ros.model_card import CARD_FILE, GRAPH_FILE
from test.conftest import stripes, write_primary_model
from test.node.conftest import Robot, image_message, labels_of, node_process
from test.robustness.strategies import damaged
from test.robustness.tally import Tally, draw_cases
from test.robustness.vitals import look_at

_NODE, _MASK = '/fuzz/segmentation', '/fuzz/segmentation/label_mask'
_ANSWERED_WITHIN_S = 20.0
_SHUTDOWNS = range(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, 8)
_LABELS = ('configure', 'activate', 'deactivate', 'cleanup', 'create', 'destroy', '', 'x' * 999)

# A call: name and argument. A shutdown would be the end; signals have a door of their own.
_CALLS = st.one_of(
    st.tuples(st.just('transition'), st.integers(0, 255).filter(lambda i: i not in _SHUTDOWNS)),
    st.tuples(st.just('transition'), st.integers(0, 4)),
    st.tuples(st.just('transition'), st.sampled_from(_LABELS)),
    st.tuples(st.just('enable'), st.booleans()),
    st.tuples(st.just('reload'), st.none()),
    st.tuples(st.just('model'), st.sampled_from(['live', 'other', 'nowhere', '', '.', '/', '~x'])),
)


def live_calls(folder: Path) -> Any:
    """Calls, and changes of the folder of the running model followed by a reload."""
    whole = write_primary_model(folder / 'whole')
    changes = st.one_of(
        st.tuples(st.just(CARD_FILE), damaged((whole / CARD_FILE).read_bytes())),
        st.tuples(st.just(GRAPH_FILE), damaged((whole / GRAPH_FILE).read_bytes())),
        st.tuples(st.sampled_from([CARD_FILE, GRAPH_FILE, '.']), st.none()),
    )
    return st.lists(
        st.one_of(_CALLS, st.tuples(st.just('change'), changes)), min_size=1, max_size=4
    )


def fuzz_services(folder: Path, cases: int) -> tuple[Tally, dict[str, Any]]:
    """Call services as drawn; after each case the node must be brought back and serve a frame.

    Returns:
        The tally, and what the node's process gained.
    """
    tally = Tally('services and live model folders')
    strategy = live_calls(folder)
    model = write_primary_model(folder / 'live')
    write_primary_model(folder / 'other')
    robot = Robot()
    try:
        with node_process('/fuzz', model=model, backend='onnxruntime') as process:
            caller = _Caller(robot, folder)
            caller.serve()
            first = look_at(process.pid)
            draw_cases(tally, strategy, cases, caller.try_case, hang_s=_ANSWERED_WITHIN_S)
            caller.serve()
            last = look_at(process.pid)
    finally:
        robot.close()
    tally.growth_mb = last.rss_mb - first.rss_mb
    return tally, {
        'calls': caller.calls,
        'refused': caller.refused,
        'threads_gained': last.threads - first.threads,
        'file_handles_gained': last.file_handles - first.file_handles,
    }


class _Caller:
    """Whoever may call the services of the node."""

    def __init__(self, robot: Robot, folder: Path) -> None:
        self._robot, self._folder, self._live = robot, folder, folder / 'live'
        self._clients = {
            kind: robot.node.create_client(kind, f'{_NODE}/{name}')
            for kind, name in (
                (ChangeState, 'change_state'),
                (GetState, 'get_state'),
                (SetBool, 'enable'),
                (Trigger, 'reload_model'),
                (SetParametersAtomically, 'set_parameters_atomically'),
            )
        }
        for client in self._clients.values():
            assert client.wait_for_service(_ANSWERED_WITHIN_S)
        robot.listen(_MASK)
        self._camera = robot.camera('/fuzz/image')
        self.calls, self.refused = 0, 0

    def try_case(self, case: list[tuple[str, Any]]) -> None:
        """Make the calls of a case.

        Raises:
            ValueError: If any was refused.
            RuntimeError: If one was not answered, or the node did not come back.
        """
        reasons = []
        for name, argument in case:
            self.calls += 1
            if reason := getattr(self, f'_{name}')(argument):
                self.refused += 1
                reasons.append(reason)
        self._bring_back()
        self.serve()
        if reasons:
            raise ValueError(reasons[0])

    def serve(self) -> None:
        """Send the stripes and wait for their labels."""
        message = image_message(stripes()[0], self._robot.header())
        found = labels_of(self._robot.ask(self._camera, message, _MASK))
        if not np.array_equal(found, stripes()[1]):
            raise RuntimeError('wrong labels for a valid frame')
        self._robot.received[_MASK].clear()

    def _transition(self, asked: int | str) -> str:
        request = ChangeState.Request()
        if isinstance(asked, str):
            request.transition.label = asked
        else:
            request.transition.id = asked
        return '' if self._call(request).success else f'transition {asked} refused'

    def _enable(self, enabled: bool) -> str:
        return '' if self._call(SetBool.Request(data=enabled)).success else 'enable refused'

    def _reload(self, _: None = None) -> str:
        answer = self._call(Trigger.Request())
        return '' if answer.success else answer.message

    def _model(self, name: str) -> str:
        path = name if name in ('', '/', '~x') else str(self._folder / name)
        parameter = Parameter('model', value=path).to_parameter_msg()
        answer = self._call(SetParametersAtomically.Request(parameters=[parameter]))
        return '' if answer.result.successful else answer.result.reason

    def _change(self, change: tuple[str, bytes | None]) -> str:
        """Damage the folder, or take something away, and have it read again."""
        name, data = change
        path = self._live / name
        if data is not None:
            path.write_bytes(data)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return self._reload()

    def _bring_back(self) -> None:
        shutil.rmtree(self._live, ignore_errors=True)
        shutil.copytree(self._folder / 'whole', self._live)
        deadline = time.monotonic() + _ANSWERED_WITHIN_S
        while (state := self._call(GetState.Request()).current_state.label) != 'active':
            if time.monotonic() > deadline:
                raise RuntimeError(f'the node stays {state}')
            self._transition('configure' if state == 'unconfigured' else 'activate')
        self._enable(True)
        while reason := self._model('live') or self._reload():
            if time.monotonic() > deadline:
                raise RuntimeError(f'the model stays refused: {reason}')

    def _call(self, request: Any) -> Any:
        kind = next(k for k in self._clients if isinstance(request, k.Request))
        future = self._clients[kind].call_async(request)
        deadline = time.monotonic() + _ANSWERED_WITHIN_S
        while not future.done():
            if time.monotonic() > deadline:
                raise RuntimeError(f'{kind.__name__} was not answered')
            time.sleep(0.001)
        return future.result()
