"""A camera and a listener in a process of their own, to be stopped and killed by tests.

    python -m test.robustness.camera_process IMAGE_TOPIC LABEL_TOPIC

Publishes the stripes twenty times a second and prints a line for each label mask that comes.
Either topic may be ``-``.
"""

from __future__ import annotations

import sys

import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from seg_ros.node.runtime import use_large_image_profile
from test.conftest import stripes
from test.node.conftest import image_message

PERIOD_S = 0.05


def main(image_topic: str, label_topic: str) -> None:
    use_large_image_profile()
    rclpy.init()
    node = rclpy.create_node('other_robot')
    if label_topic != '-':
        node.create_subscription(Image, label_topic, lambda _: print('label', flush=True), 1)
    if image_topic != '-':
        publisher = node.create_publisher(Image, image_topic, 1)
        rgb, _ = stripes()

        def publish() -> None:
            header = Header(stamp=node.get_clock().now().to_msg(), frame_id='other')
            publisher.publish(image_message(rgb, header))

        node.create_timer(PERIOD_S, publish)
    print('ready', flush=True)
    rclpy.spin(node)


if __name__ == '__main__':
    main(*sys.argv[1:])
