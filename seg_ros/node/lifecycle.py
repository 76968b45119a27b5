"""A managed node whose every transition is told, and whose process ends where it cannot go on."""

from __future__ import annotations

import functools
import os
import threading
import traceback
from typing import TYPE_CHECKING, Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from seg_ros.node.bond import form_bond

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleState

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_ERROR = TransitionCallbackReturn.ERROR
UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = 'unconfigured', 'inactive', 'active', 'finalized'

# Another try does not help against these, until somebody mends what they name.
_FOR_THE_USER = (ValueError, FileNotFoundError, PermissionError)


class StoppedError(Exception):
    """The process is to end; a transition that takes long is given up."""


class HungError(Exception):
    """A thread does not come back from its engine; only the end of the process helps."""


class ToldLifecycleNode(LifecycleNode):
    """Runs the steps of a subclass as transitions.

    rclpy swallows what a transition raises. Here it is logged and kept in ``refusal``, and the
    node stays in the state that it was in. A node that started itself lets a lifecycle manager
    take over: its first ``configure`` finds the node inactive, as after a configuration.

    A subclass gives ``configure``, ``activate``, ``deactivate`` and ``cleanup``. The last two may
    be called in any state.

    Args:
        name: Of the node.
        options: Further arguments of rclpy's nodes.

    Attributes:
        phase: The state that the node is in.
        refusal: Why the last transition failed; empty after one that succeeded.
        stop: Set when the process is to end.
        is_done: Whether the process is to end.
        exit_status: With which status.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.phase = UNCONFIGURED
        self.refusal = ''
        self.stop = threading.Event()
        self.is_done = False
        self.exit_status = os.EX_OK
        self._refused_by: Exception | None = None
        self._drives_itself = False
        self._bond: Any = None
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = functools.partial(self._change_state, service.callback)

    # What a subclass does

    def configure(self) -> str:
        """Prepare everything; returns a word on it for the log."""
        raise NotImplementedError

    def activate(self) -> str:
        """Begin to work; returns a word on it for the log."""
        raise NotImplementedError

    def deactivate(self) -> str:
        """Stop working; returns a word on it for the log."""
        raise NotImplementedError

    def cleanup(self) -> str:
        """Undo ``configure``; returns a word on it for the log."""
        raise NotImplementedError

    # Start and end of the process

    def drive_itself(self) -> None:
        """Configure and activate; where that fails the process is to end.

        The exit status tells ``respawn`` whether another try can help: ``EX_CONFIG`` says that
        the user must mend something first.
        """
        self._drives_itself = True
        if self.trigger_configure() == _SUCCESS and self.trigger_activate() == _SUCCESS:
            return
        if not isinstance(self._refused_by, StoppedError):
            is_for_user = isinstance(self._refused_by, _FOR_THE_USER)
            self._end(os.EX_CONFIG if is_for_user else os.EX_SOFTWARE)

    def finish(self) -> int:
        """Shut down, if that was not done; returns the exit status."""
        if self.phase != FINALIZED and not self.exit_status:
            self.trigger_shutdown()
        return self.exit_status

    def _end(self, status: int) -> None:
        self.is_done, self.exit_status = True, status

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ``configure``."""
        return self._try(self.configure, super().on_configure, state, INACTIVE, self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ``activate``."""
        return self._try(self.activate, super().on_activate, state, ACTIVE, self.deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ``deactivate``."""
        return self._try(self.deactivate, super().on_deactivate, state, INACTIVE)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See ``cleanup``."""
        return self._try(self.cleanup, super().on_cleanup, state, UNCONFIGURED)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working and release everything; the process goes on until it gets a signal."""
        return self._try(self._release, super().on_shutdown, state, FINALIZED)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fall back to unconfigured after a failed transition."""
        refusal = self.refusal
        result = self._try(self._release, super().on_error, state, UNCONFIGURED)
        if result != _SUCCESS:
            self.phase = FINALIZED
        self.refusal = refusal
        return result

    def _release(self) -> str:
        self.deactivate()
        return self.cleanup()

    def _try(
        self,
        step: Callable[[], str],
        managed: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
        goal: str,
        undo: Callable[[], str] | None = None,
    ) -> TransitionCallbackReturn:
        """Run a step and rclpy's own part of a transition.

        Args:
            step: Of the subclass.
            managed: Of rclpy, for the entities that it manages.
            state: As rclpy gives it.
            goal: State that is reached.
            undo: Goes back to the present state after a failure; without it a failure is an error,
                from which the node falls back to unconfigured.
        """
        if goal != ACTIVE:
            self._break_bond()
        try:
            text = step()
            result = managed(state)
        except Exception as error:  # whatever it is, it is told
            self._refuse(step.__name__.strip('_'), error)
            return self._undo(undo)
        self.phase, self.refusal, self._refused_by = goal, '', None
        self.get_logger().info(f'{goal}: {text}' if text else goal)
        return result

    def _refuse(self, step: str, error: Exception) -> None:
        self._refused_by = error
        if isinstance(error, StoppedError):
            self.get_logger().info(f'{step}: given up, as the process is to end')
            return
        self.refusal = f'{step} failed: {_reason(error)}'
        is_fault = not isinstance(error, (*_FOR_THE_USER, TimeoutError, HungError))
        trace = f'\n{"".join(traceback.format_exception(error))}' if is_fault else ''
        self.get_logger().error(self.refusal + trace)
        if isinstance(error, HungError):
            self._end(os.EX_SOFTWARE)

    def _undo(self, undo: Callable[[], str] | None) -> TransitionCallbackReturn:
        if undo is None:
            return _ERROR
        try:
            undo()
        except Exception as error:  # on_error has another try
            self._refuse(undo.__name__, error)
            return _ERROR
        return _FAILURE

    # Lifecycle managers

    def _change_state(self, given: Callable[..., Any], request: Any, response: Any) -> Any:
        """Answer the service ``change_state``; ``given`` is rclpy's own callback."""
        asked, drove_itself = request.transition, self._drives_itself
        self._drives_itself = False
        is_configure = (
            asked.label == 'configure'
            if asked.label
            else asked.id == Transition.TRANSITION_CONFIGURE
        )
        if is_configure and drove_itself and self.phase == ACTIVE:
            self.get_logger().info(
                'a lifecycle manager takes over the node, which had started itself '
                '(autostart:=false spares the detour)'
            )
            response.success = self.trigger_deactivate() == _SUCCESS
            return response
        before = self.phase
        try:
            response = given(request, response)
        except RuntimeError as error:  # rclpy of Jazzy and before leaves the caller unanswered
            self.get_logger().error(f'no such transition while {self.phase}: {error}')
            response.success = False
        if self.phase == ACTIVE != before:
            self._bond = form_bond(self)
        return response

    def _break_bond(self) -> None:
        if self._bond is not None:
            bond, self._bond = self._bond, None
            bond.shutdown()


def _reason(error: Exception) -> str:
    """An error in words, for those whose text alone does not say what it is."""
    text = str(error)
    if isinstance(error, (*_FOR_THE_USER, TimeoutError, HungError)) and text:
        return text
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
