"""The SROS2 policy of the node, derived from its declared topics and services.

Format: https://design.ros2.org/articles/ros2_access_control_policies.html
"""

from __future__ import annotations

from seg_ros.node.interface import (
    CAMERA_TOPICS,
    CLASS_TOPICS,
    DIAGNOSTICS,
    GEOMETRY_TOPICS,
    MASK_PREFIX,
    SERVICES,
)

POLICY_FILE = 'config/sros2_policy.xml'
PUBLISHED = (
    *(f'~/{topic.name}' for topic in (*CAMERA_TOPICS, *GEOMETRY_TOPICS.values(), *CLASS_TOPICS)),
    f'~/{MASK_PREFIX}*',
    DIAGNOSTICS.name,
    # of every lifecycle node
    '~/transition_event',
    '/parameter_events',
    '/rosout',
)
SUBSCRIBED = ('image', 'image/compressed', 'camera_info', '/clock')
SERVED = (
    *(f'~/{service.name}' for service in SERVICES),
    # of every lifecycle node
    '~/change_state',
    '~/get_available_states',
    '~/get_available_transitions',
    '~/get_state',
    '~/get_transition_graph',
    # of every node with parameters
    '~/describe_parameters',
    '~/get_parameter_types',
    '~/get_parameters',
    '~/get_type_description',
    '~/list_parameters',
    '~/set_parameters',
    '~/set_parameters_atomically',
)


def sros2_policy() -> str:
    """Write the policy for a node ``/segmentation`` with one camera on ``/image``."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<!-- Written by: python -m seg_ros interface. Topics of a robot: replace image,',
        '     image/compressed and camera_info by what the node is remapped to; with several',
        '     cameras the outputs stand under ~/<camera>/. How to use it: SECURITY.md -->',
        '<policy version="0.2.0">',
        '  <enclaves>',
        '    <enclave path="/segmentation">',
        '      <profiles>',
        '        <profile ns="/" node="segmentation">',
        *_rules('topics publish="ALLOW"', 'topic', PUBLISHED),
        *_rules('topics subscribe="ALLOW"', 'topic', SUBSCRIBED),
        *_rules('services reply="ALLOW"', 'service', SERVED),
        '        </profile>',
        '      </profiles>',
        '    </enclave>',
        '  </enclaves>',
        '</policy>',
    ]
    return '\n'.join(lines) + '\n'


def _rules(tag: str, entry: str, names: tuple[str, ...]) -> list[str]:
    indent = ' ' * 10
    rows = [f'{indent}  <{entry}>{name}</{entry}>' for name in names]
    return [f'{indent}<{tag}>', *rows, f'{indent}</{tag.split(maxsplit=1)[0]}>']
