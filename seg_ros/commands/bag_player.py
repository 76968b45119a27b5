"""Play a bag into topics, where ros2 bag play is not at hand.

The serialised messages go out as they were recorded, with their timing. Without --topics every
topic is played whose message type is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('bag', type=Path, help='rosbag2, or a bag of ROS 1')
    parser.add_argument('--topics', nargs='+', default=(), help='which ones; all by default')
    parser.add_argument('--rate', type=float, default=1.0, help='speed; 2 is twice as fast')
    parser.add_argument('--start', type=float, default=0.0, help='seconds to leave out in front')
    parser.add_argument('--loop', action='store_true', help='start again at the end')
    parser.add_argument(
        '--clock', type=float, nargs='?', const=100.0, default=0.0, help='publish /clock at HZ'
    )
    parser.add_argument('--best-effort', action='store_true', help='offer best effort only')
    parser.add_argument(
        '--subscribers',
        type=int,
        nargs='+',
        default=(1,),
        metavar='N',
        help='how many to wait for: one number, or one for each of --topics (default: 1)',
    )
    parser.add_argument(
        '--any-topic',
        action='store_true',
        help='begin when one of the topics has its subscribers, not when all have',
    )
    parser.add_argument(
        '--wait',
        type=float,
        default=5.0,
        metavar='S',
        help='how long to wait for subscribers at most (default: 5)',
    )


def run(args: argparse.Namespace) -> int:
    """Play until the end, SIGINT or SIGTERM."""
    import rclpy

    from seg_ros.node.bag_player import BagPlayer
    from seg_ros.node.runtime import start_rclpy, stop_on_signals, use_large_image_profile

    stop = stop_on_signals()
    use_large_image_profile()
    try:
        start_rclpy(args.ros_arguments)
        node = rclpy.create_node('bag_player')
        player = BagPlayer(
            node, args.bag, args.topics, reliable=not args.best_effort, clock_hz=args.clock
        )
        if not player.wait_for_subscribers(
            args.wait, stop, args.subscribers, on_any_topic=args.any_topic
        ):
            node.get_logger().warning(
                f'not all subscribers came within {args.wait:g} s; they miss what is played'
            )
        while True:
            count = player.play(rate=args.rate, start_s=args.start, stop=stop)
            node.get_logger().info(f'{count} messages played')
            if not args.loop or not count or stop.is_set():
                break
        player.wait_for_delivery(stop)
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return 0
