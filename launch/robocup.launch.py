"""Segment the camera of a RoboCup robot: background, ball, line, field.

ros2 launch seg_ros robocup.launch.py image_topics:=/camera/image_raw
"""

from launch import LaunchDescription

from seg_ros.node.launch_description import build_launch_description


def generate_launch_description() -> LaunchDescription:
    return build_launch_description('robocup.yaml', ('robocup_mini_unet',))
