"""The publishing process: real frames at a given size and rate, stamped just before they go out.

Started by ``bench.rig``; reads one JSON command per line.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from bench.frames import read_frames
from bench.processes import answer
from seg_ros.node.runtime import stop_on_signals, use_large_image_profile

_MATCH_WITHIN_S = 60.0


class Camera:
    """Publishes on as many topics as it is asked to."""

    def __init__(self) -> None:
        self._node = rclpy.create_node('bench_camera')
        self._publishers: dict[str, rclpy.publisher.Publisher] = {}
        self._messages: dict[tuple[int, int], list[Image]] = {}

    def load(self, size_hw: list[int]) -> None:
        """Prepare the frames of a size."""
        self._messages_of((size_hw[0], size_hw[1]))

    def stream(
        self, topics: list[str], size_hw: list[int], rate_hz: float, frames: int
    ) -> dict[str, list[int]]:
        """Publish and give the stamps of the frames in ns, by topic.

        Several cameras are not synchronised: their frames are spread evenly over the period.

        Raises:
            TimeoutError: If nobody subscribes to one of the topics.
        """
        messages = self._messages_of((size_hw[0], size_hw[1]))
        publishers = [self._publisher(topic) for topic in topics]
        stamps: dict[str, list[int]] = {topic: [] for topic in topics}
        start = time.monotonic()
        for index in range(frames * len(topics)):
            due = start + index / (rate_hz * len(topics))
            time.sleep(max(0.0, due - time.monotonic()))
            which = index % len(topics)
            message = messages[index // len(topics) % len(messages)]
            stamp_ns = time.time_ns()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            publishers[which].publish(message)
            stamps[topics[which]].append(stamp_ns)
        return stamps

    def _publisher(self, topic: str) -> rclpy.publisher.Publisher:
        if topic not in self._publishers:
            self._publishers[topic] = self._node.create_publisher(
                Image, topic, QoSProfile(depth=1)
            )
        deadline = time.monotonic() + _MATCH_WITHIN_S
        while not self._publishers[topic].get_subscription_count():
            if time.monotonic() > deadline:
                raise TimeoutError(f'nobody subscribes to {topic}')
            time.sleep(0.01)
        return self._publishers[topic]

    def _messages_of(self, size_hw: tuple[int, int]) -> list[Image]:
        if size_hw not in self._messages:
            height, width = size_hw
            self._messages[size_hw] = []
            for pixels in read_frames(size_hw):
                message = Image(height=height, width=width, encoding='bgr8', step=width * 3)
                message.header.frame_id = 'camera'
                message.data.frombytes(pixels.tobytes())
                self._messages[size_hw].append(message)
        return self._messages[size_hw]


def main() -> None:
    """Answer commands until the input ends."""
    stop_on_signals()
    use_large_image_profile()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    camera = Camera()
    for line in sys.stdin:
        answer(line, {'load': camera.load, 'stream': camera.stream})
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
