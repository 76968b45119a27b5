"""Segment a road camera into the eleven classes of CamVid.

ros2 launch seg_ros road.launch.py image_topics:=/camera/image_raw model:=road_linknet
"""

from launch import LaunchDescription

from seg_ros.node.launch_description import build_launch_description


def generate_launch_description() -> LaunchDescription:
    return build_launch_description('road.yaml', ('road_linknet',))
