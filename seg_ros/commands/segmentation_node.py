"""Run the segmentation node.

Parameters are given as usual: ``--ros-args -p model:=robocup_mini_unet -r image:=/camera/image_raw
--params-file config/robocup.yaml``. ``python -m seg_ros interface`` lists them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments but those behind --ros-args."""
    parser.usage = '%(prog)s [-h] [--ros-args ...]'


def run(args: argparse.Namespace) -> int:
    """Spin until SIGINT or SIGTERM."""
    import functools

    from seg_ros.node.runtime import spin
    from seg_ros.node.segmentation_node import SegmentationNode

    build_node = functools.partial(SegmentationNode, arguments=args.ros_arguments, waits=True)
    return spin(build_node, args.ros_arguments)
