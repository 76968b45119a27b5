"""Starting and ending a process that spins nodes."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from seg_ros.node.compat import PROFILE_VARIABLES, profile_variable
from seg_ros.node.log_pipe import keep_log_from_blocking
from seg_ros.share import share_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.timer import Timer

_WAKE_PERIOD_S = 0.1
_CALLBACKS_END_WITHIN_S = 1.0
_WRONG_ARGUMENTS = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    NameValidationException,
    ParameterException,
)
_NO_MAPPINGS = ". ROS has no mappings as parameters; give a list of texts: ['ball: 3']"
_NO_LOG_FILE = '--disable-external-lib-logs'
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
    came = False

    def on_signal(*_: object) -> None:
        nonlocal came
        if came:  # within ``set``, perhaps, whose lock would be waited for here
            return
        came = True
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


def join(thread: threading.Thread, limit_s: float, stop: threading.Event | None = None) -> bool:
    """Wait for a thread in small steps, so that signals are handled meanwhile.

    Args:
        thread: To be waited for.
        limit_s: How long at most.
        stop: Ends the wait once it is set.

    Returns:
        Whether the thread has ended.
    """
    deadline_s = time.monotonic() + limit_s
    while thread.is_alive() and (left_s := deadline_s - time.monotonic()) > 0:
        if stop is not None and stop.is_set():
            break
        thread.join(min(left_s, _WAKE_PERIOD_S))
    return not thread.is_alive()


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

    A node may have ``start(stop)``, called before it is spun with the event that the signals set;
    ``is_done``, by which it ends by itself; and ``finish()``, whose result is the exit status.

    rclpy's own handlers sometimes end a process with status 1 on SIGTERM; an event that the
    spinning thread looks at ends it cleanly every time.

    Args:
        build_node: Called once, after rclpy is up.
        ros_arguments: ``--ros-args ...``.

    Returns:
        Exit status: that of the node's ``finish()``, else 0; ``os.EX_CONFIG`` when arguments or
        parameters are wrong. Where an engine still works in another thread the process ends here.
    """
    stop = stop_on_signals()
    keep_log_from_blocking()
    keep_large_buffers()
    use_large_image_profile()
    try:
        try:
            start_rclpy(ros_arguments)
            node = build_node()
        except _WRONG_ARGUMENTS as error:
            print(error, file=sys.stderr)
            return os.EX_CONFIG
        status = _serve(node, stop)
    finally:
        rclpy.try_shutdown()
    _leave_busy_threads(status)
    return status


def start_rclpy(ros_arguments: list[str]) -> None:
    """Start rclpy; without a log file where none can be written (no or a read-only home).

    Raises:
        ValueError: If the arguments are wrong.
    """
    try:
        rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # rclpy exports no narrower class
        if 'initialize logging' not in str(error):
            hint = _NO_MAPPINGS if any(':={' in word for word in ros_arguments) else ''
            raise ValueError(f'{" ".join(ros_arguments)}: {error}{hint}') from error
        print(f'no log file is written: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        arguments = [*(ros_arguments or ['--ros-args']), _NO_LOG_FILE]
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)


def _serve(node: Node, stop: threading.Event) -> int:
    """Spin a node until it is to end."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    if hasattr(node, 'start'):
        node.start(stop)
    while not stop.is_set() and not getattr(node, 'is_done', False) and rclpy.ok():
        try:
            executor.spin_once(timeout_sec=_WAKE_PERIOD_S)
        except ExternalShutdownException:
            break
        except Exception:  # of one callback; the others go on
            node.get_logger().error(f'a callback failed:\n{traceback.format_exc()}')
    # A reload that is awaited would never end.
    executor.shutdown(timeout_sec=_CALLBACKS_END_WITHIN_S)
    status = int(node.finish()) if hasattr(node, 'finish') else 0
    node.destroy_node()
    return status


def _leave_busy_threads(status: int) -> None:
    """End the process where an engine still loads or computes.

    Python's own end would take memory away from under it (SIGSEGV, SIGABRT); ROS was told goodbye.
    """
    if any(thread is not threading.current_thread() for thread in threading.enumerate()):
        logging.shutdown()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
