"""Starting and ending a process that spins nodes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from seg_ros.node.compat import PROFILE_VARIABLES, profile_variable
from seg_ros.share import share_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.timer import Timer

_WAKE_PERIOD_S = 0.1
# glibc's mallopt(3): parameter -> bytes. A 4K image in bgr8 takes 24 MiB.
_MALLOC_THRESHOLDS = {-3: 32 << 20, -1: 256 << 20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def large_image_environment() -> dict[str, str]:
    """Variable that gives Fast DDS a shared-memory segment that holds images.

    Nothing where the user chose a profile. Other middleware ignores the variable.
    """
    if any(name in os.environ for name in PROFILE_VARIABLES):
        return {}
    return {profile_variable(): str(share_file('config/fastdds.xml'))}


def use_large_image_profile() -> None:
    """Set the variable for this process; it is read when its first node is made."""
    os.environ.update(large_image_environment())


def stop_on_signals() -> threading.Event:
    """Make an event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def create_steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """Create a timer that goes on while the ROS clock stands still or jumps, as of a bag."""
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    return node.create_timer(period_s, callback, clock=clock)


def keep_large_buffers() -> None:
    """Let glibc keep the buffers of images for the next frame instead of returning them.

    Takes the transport of a VGA frame from 2.0 to 0.7 ms. To be called before threads start. Other
    C libraries have no such call and are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL('libc.so.6').mallopt
        for parameter, size in _MALLOC_THRESHOLDS.items():
            mallopt(parameter, size)


def release_free_memory() -> None:
    """Give what loading a model left behind back to the system; glibc would keep it.

    Measured with a mini-UNet: 44 MB with OpenVINO, 120 MB with ONNX Runtime. Other C libraries
    have no such call and are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL('libc.so.6').malloc_trim(0)


def spin(build_node: Callable[[], Node], ros_arguments: list[str]) -> int:
    """Make a node and spin it until SIGINT or SIGTERM, or until it says that it is done.

    A node that ends by itself has ``is_done`` and ``finish()``, whose result is the exit status.

    rclpy's own handlers sometimes end a process with status 1 on SIGTERM; an event that the
    spinning thread looks at ends it cleanly every time.

    Args:
        build_node: Called once, after rclpy is up.
        ros_arguments: ``--ros-args ...``.

    Returns:
        Exit status: that of the node's ``finish()``, else 0; 2 when the node could not be made.
    """
    stop = stop_on_signals()
    keep_large_buffers()
    use_large_image_profile()
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        try:
            node = build_node()
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.is_set() and not getattr(node, 'is_done', False):
            executor.spin_once(timeout_sec=_WAKE_PERIOD_S)
        executor.shutdown()
        status = int(node.finish()) if hasattr(node, 'finish') else 0
        if hasattr(node, 'trigger_shutdown'):
            node.trigger_shutdown()
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return status
