"""The node: parameters, lifecycle and services; frames are worked on in ``frame_worker``.

The executor's thread only puts the newest frame of each camera into a mailbox; one worker thread
owns the engine and publishes, and new models are loaded in a third one. Services and parameters
therefore answer while a net runs or loads.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from seg_ros.node.camera_input import CameraInput
from seg_ros.node.camera_topics import check_topics
from seg_ros.node.class_topics import ClassTopics
from seg_ros.node.compat import add_post_set_parameters_callback
from seg_ros.node.config import NodeConfig
from seg_ros.node.frame_worker import Frame, FrameWorker
from seg_ros.node.freshness import RateLimit
from seg_ros.node.label_scheme import build_label_scheme
from seg_ros.node.mailbox import Mailbox
from seg_ros.node.model_host import ModelHost, load_segmenter
from seg_ros.node.outputs import Outputs
from seg_ros.node.parameter_service import ParameterService
from seg_ros.node.parameters import (
    InUseParameters,
    changed_config,
    declare_parameters,
    reason_of,
    to_parameters,
)
from seg_ros.node.qos_overrides import check_qos_overrides
from seg_ros.node.runtime import create_steady_timer
from seg_ros.node.status import Status, model_in_use

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.lifecycle import LifecycleState

    from seg_ros.node.label_scheme import Serving

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_RECONSIDER_PERIOD_S = 1.0


class SegmentationNode(LifecycleNode):
    """A lifecycle node that segments the images of one or several cameras.

    Args:
        defaults: Config with the values of those parameters that nobody gives.
        arguments: What ``rclpy.init`` got; None: the process's own, as there.

    Raises:
        ValueError: If a parameter is unknown or wrong.
    """

    def __init__(
        self, defaults: NodeConfig | None = None, arguments: Sequence[str] | None = None
    ) -> None:
        super().__init__('segmentation', start_parameter_services=False)
        self.config = declare_parameters(self, defaults or NodeConfig(), arguments)
        check_qos_overrides(self)
        check_topics(self, self.config)
        self._in_use = InUseParameters(self)
        add_post_set_parameters_callback(self, self._take_parameters)
        self._parameter_service = ParameterService(self, self.config)
        self.add_on_set_parameters_callback(self._check_parameters)
        self._outputs: dict[str, Outputs] = {}  # by image topic, as _inputs
        self._inputs: dict[str, CameraInput] = {}
        self._rate_limits: dict[str, RateLimit] = {}
        self._class_topics: ClassTopics | None = None
        self._mailbox = Mailbox()
        self._status = Status(self, self._mailbox, lambda: self.config)
        self._worker = FrameWorker(
            self, self._mailbox, self._status, self._outputs, self._on_adopted
        )
        self._host = ModelHost(self._serve)
        self._adopted = self.create_guard_condition(self._retire_topics)
        self.create_service(SetBool, '~/enable', self._on_enable)
        self.create_service(
            Trigger,
            '~/reload_model',
            self._on_reload_model,
            # A group of its own: the others go on while its callback awaits the model.
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        create_steady_timer(self, _RECONSIDER_PERIOD_S, self._reconsider_inputs)
        create_steady_timer(self, _RECONSIDER_PERIOD_S, self._worker.rejections.flush)
        if self.config.autostart and self.trigger_configure() == _SUCCESS:
            self.trigger_activate()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load, verify and warm up the model; offer the topics."""
        config, start = self.config, time.perf_counter()
        try:
            segmenter = load_segmenter(config)
            scheme = build_label_scheme(segmenter.card.classes, config)
        except (ValueError, FileNotFoundError) as error:
            self.get_logger().error(f'model {config.model!r} cannot be used: {error}')
            return _FAILURE
        self._class_topics = ClassTopics(self)
        for topic, prefix in config.camera_names().items():
            self._outputs[topic] = Outputs(self, prefix, config.label_encoding, scheme)
        self._host.start(segmenter, config)
        card, backend = segmenter.card, segmenter.backend
        self.get_logger().info(
            f'{card.name} runs in {backend.name} {backend.precision} on '
            f'{backend.device} ({backend.reason}); ready after {time.perf_counter() - start:.2f} s'
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        self._worker.start()
        for topic in self.config.image_topics:
            receive = functools.partial(self._receive, topic)
            self._rate_limits[topic] = RateLimit()
            self._inputs[topic] = CameraInput(self, topic, self.config, receive)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the frame in work is finished, waiting ones are dropped."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take the topics off the graph and unload the model."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop intake, join the worker, destroy the publishers."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Fall back to unconfigured after a failed transition."""
        self._stop()
        self._release()
        return super().on_error(state)

    def _stop(self) -> None:
        for camera in self._inputs.values():
            camera.destroy()
        self._inputs.clear()
        self._worker.stop()

    def _release(self) -> None:
        for outputs in self._outputs.values():
            outputs.destroy()
        self._outputs.clear()
        if self._class_topics is not None:
            self._class_topics.destroy()
            self._class_topics = None
        self._host.release()
        self._worker.release()
        self._status.describe(None)
        self._in_use.set({})

    def _reconsider_inputs(self) -> None:
        for camera in self._inputs.values():
            camera.reconsider()

    # Parameters and models

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse what would not work; nothing is changed and nothing slow is done."""
        try:
            config = changed_config(self.config, parameters, running=bool(self._host.serving))
            check_topics(self, config)
            self._host.check(config, self.config)
        except Exception as error:  # whatever a value sets off, the answer is a reason
            return SetParametersResult(successful=False, reason=reason_of(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, parameters: list[Parameter]) -> None:
        previous = self.config
        self.config = changed_config(previous, parameters, running=False)
        if self._host.serving is None or self.config == previous:
            return
        before = {p.name: getattr(previous, p.name, None) for p in parameters}
        try:
            self._host.take(self.config)
        except Exception as error:  # what was checked a moment ago changed, or DDS refused
            self.config = previous
            self.get_logger().error(f'{", ".join(before)} set back: {reason_of(error)}')
            self.executor.create_task(self._set_back, before)
            return
        if self.config.model not in (self._host.running, previous.model):
            self.executor.create_task(self._follow_model_parameter, before)

    def _set_back(self, before: dict[str, Any]) -> None:
        self.set_parameters_atomically(to_parameters(self.config, before))

    async def _follow_model_parameter(self, before: dict[str, Any]) -> None:
        """Load what `model` was set to; where that fails, set back what was set with it."""
        model = self.config.model
        reason = await self._host.replace(lambda: self.config)
        self._status.complaint = reason and f'model {model!r} was refused: {reason}'
        if reason:
            self.get_logger().error(f'{self._status.complaint}; {self._host.running!r} goes on')
            self._set_back(before)

    def _serve(self, serving: Serving) -> None:
        """Offer the topics of a serving; the worker takes it from its next frame on."""
        for outputs in self._outputs.values():
            outputs.offer(serving.scheme.topics())
        self._status.describe(serving.segmenter)
        self._in_use.set(model_in_use(serving.segmenter))
        self._worker.adopt(serving)

    def _on_adopted(self, serving: Serving) -> None:
        """Say what the labels mean from here on; called by the worker between two frames."""
        if self._class_topics is not None:
            self._class_topics.announce(serving.scheme.classes, serving.config.min_confidence)
        self._adopted.trigger()

    def _retire_topics(self) -> None:
        """Take topics off the graph that nobody publishes on any more."""
        if (serving := self._host.serving) is not None:
            for outputs in self._outputs.values():
                outputs.retire(serving.scheme)

    # Services

    def _on_enable(self, request: Any, response: Any) -> Any:
        self._worker.enable(request.data)
        self._status.enabled = request.data
        response.success = True
        response.message = 'enabled' if request.data else 'disabled'
        return response

    async def _on_reload_model(self, _: Any, response: Any) -> Any:
        start = time.perf_counter()
        reason = await self._host.replace(lambda: self.config)
        self._status.complaint = reason and f'the model could not be reloaded: {reason}'
        response.success = not reason
        response.message = reason or (
            f'{self._host.running} runs after {time.perf_counter() - start:.2f} s'
        )
        return response

    # Frames

    def _receive(self, topic: str, message: Any) -> None:
        if not self._worker.enabled or not self._outputs[topic].have_listener():
            return
        if self._rate_limits[topic].admits(self.config.max_rate, time.monotonic()):
            self._mailbox.put(topic, Frame(message, self._inputs[topic]))
        else:
            self._mailbox.refuse()
