"""The parameter services, answering whatever they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rclpy.parameter_service
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from seg_ros.node.parameters import reason_of, typed, unknown_parameter
from seg_ros.schema import settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rcl_interfaces.msg import Parameter as ParameterMessage
    from rclpy.node import Node

_RESULTS = 'in_use.'
_MAX_PARAMETERS = 256  # of a request; a dump has 40


class ParameterService(rclpy.parameter_service.ParameterService):
    """The services of rclpy, but nothing that is asked leaves them as an exception.

    The node must be made with ``start_parameter_services=False``. Beyond rclpy they take a file
    that ``ros2 param dump`` made of the node: what is read-only may be set to what it is, the
    results under ``in_use.`` are passed over, and what comes together is first tried together, as
    classes fit their model only.

    Args:
        node: Owner of the parameters.
        config: The node's config; its settings are the parameters that can be set.
    """

    def __init__(self, node: Node, config: Any) -> None:
        super().__init__(node)
        self._settings = {setting.name: setting for setting in settings_of(config)}

    def _set_parameters_callback(self, request: Any, response: Any) -> Any:
        messages = request.parameters
        together = self._set(messages)
        if together.successful or not 1 < len(messages) <= _MAX_PARAMETERS:
            response.results = [together] * len(messages)
        else:
            response.results = [self._set([each], from_file=True) for each in messages]
        return response

    def _set_parameters_atomically_callback(self, request: Any, response: Any) -> Any:
        response.result = self._set(request.parameters)
        return response

    def _set(
        self, messages: Sequence[ParameterMessage], *, from_file: bool = False
    ) -> SetParametersResult:
        """Set all of them or none; ``from_file``: one of several that came together."""
        if len(messages) > _MAX_PARAMETERS:
            reason = f'{len(messages)} parameters at once; allowed are {_MAX_PARAMETERS}'
            return SetParametersResult(successful=False, reason=reason)
        node = self._get_node()
        is_file = from_file or len(messages) > 1
        try:
            parameters = [
                self._typed(node, Parameter.from_parameter_msg(message))
                for message in messages
                if not (is_file and message.name.startswith(_RESULTS))
            ]
            changes = [each for each in parameters if not _is_so_already(node, each)]
            if changes:
                return node.set_parameters_atomically(changes)
        except Exception as error:  # whatever is sent, the answer is a reason
            return SetParametersResult(successful=False, reason=reason_of(error))
        return SetParametersResult(successful=True)

    def _typed(self, node: Node, parameter: Parameter) -> Parameter:
        name = parameter.name
        if not node.has_parameter(name):
            raise ValueError(unknown_parameter(name, self._settings))
        if parameter.type_ == Parameter.Type.NOT_SET:
            raise ValueError(f'{name} cannot be deleted; set it to another value')
        setting = self._settings.get(name)
        return parameter if setting is None else typed(setting, parameter)


def _is_so_already(node: Node, parameter: Parameter) -> bool:
    """Whether a read-only parameter would be set to what it is."""
    is_read_only = node.describe_parameter(parameter.name).read_only
    return is_read_only and node.get_parameter(parameter.name).value == parameter.value
