"""Process start to the first published label, and memory, of the node at 640x480.

python bench/startup.py [--model NAME] [--repeats N]

Measured from outside: this process starts the node, publishes frames over Fast DDS at 30 Hz from
before the node is up, and waits for the first label mask.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_DOMAIN_ID', '87')

import numpy as np
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from seg_ros.backends import BACKENDS, is_installed
from seg_ros.node.runtime import ALLOCATOR_ENVIRONMENT, use_large_image_profile

HEIGHT, WIDTH = 480, 640
STEADY_FRAMES = 30
GIVE_UP_S = 60.0


def measure(model: str, backend: str) -> dict[str, float]:
    """One start of the node: seconds to the first label, and MB of memory afterwards."""
    node = rclpy.create_node('startup_bench')
    arrived: list[float] = []
    node.create_subscription(
        Image, '/segmentation/label_mask', lambda _: arrived.append(time.monotonic()), 1
    )
    publisher = node.create_publisher(Image, '/image', QoSProfile(depth=1))
    frame = Image(height=HEIGHT, width=WIDTH, encoding='bgr8', step=WIDTH * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame.data.frombytes(pixels.tobytes())
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(1 / 30):
            publisher.publish(frame)

    thread = threading.Thread(target=publish)
    thread.start()
    command = [sys.executable, '-m', 'seg_ros', 'segmentation_node', '--ros-args']
    command += ['-p', f'model:={model}', '-p', f'backend:={backend}', '--log-level', 'warn']
    start = time.monotonic()
    process = subprocess.Popen(command, env={**ALLOCATOR_ENVIRONMENT, **os.environ})
    try:
        while len(arrived) < STEADY_FRAMES and time.monotonic() - start < GIVE_UP_S:
            rclpy.spin_once(node, timeout_sec=0.1)
        status = Path(f'/proc/{process.pid}/status').read_text(encoding='ascii')
    finally:
        stop.set()
        thread.join()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        node.destroy_node()
    kib = {key: int(value.split()[0]) for key, value in _fields(status) if value.endswith('kB')}
    return {
        'first_label_s': arrived[0] - start if arrived else float('nan'),
        'rss_mb': kib['VmRSS'] / 1024,
        'peak_rss_mb': kib['VmHWM'] / 1024,
    }


def _fields(status: str) -> list[tuple[str, str]]:
    return [(k, v.strip()) for k, _, v in (line.partition(':') for line in status.splitlines())]


def main() -> None:
    """Measure every installed engine and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='robocup_mini_unet')
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    use_large_image_profile()
    rclpy.init()
    print(f'{args.model}: median of {args.repeats} starts, {os.cpu_count()} cores')
    print(f'{"backend":<12} {"first label s":>14} {"RSS MB":>8} {"peak MB":>8}')
    for backend in filter(is_installed, BACKENDS):
        runs = [measure(args.model, backend) for _ in range(args.repeats)]
        first, rss, peak = (
            float(np.median([run[key] for run in runs]))
            for key in ('first_label_s', 'rss_mb', 'peak_rss_mb')
        )
        print(f'{backend:<12} {first:>14.2f} {rss:>8.0f} {peak:>8.0f}')
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
