"""Score a running segmentation node against a topic of true labels; write a report at the end.

Listens to image, ground_truth/labels, segmentation/label_mask, segmentation/confidence and
segmentation/class_names (remap them as needed), publishes ~/report (diagnostic_msgs) and
~/report_json (std_msgs/String) once a second. Parameters: docs/evaluation.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments but those behind --ros-args."""
    parser.usage = '%(prog)s [-h] [--ros-args ...]'


def run(args: argparse.Namespace) -> int:
    """Spin until a signal, or until it is quiet where ``quiet_after_s`` is set."""
    import functools

    from seg_ros.node.evaluation_node import EvaluationNode
    from seg_ros.node.runtime import spin

    build_node = functools.partial(EvaluationNode, arguments=args.ros_arguments)
    return spin(build_node, args.ros_arguments)
