"""Segment a road camera into the eleven classes of CamVid.

ros2 launch seg_ros road.launch.py image_topics:=/camera/image_raw
"""

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

SHARE = get_package_share_directory('seg_ros')


def generate_launch_description() -> LaunchDescription:
    params_file = DeclareLaunchArgument(
        'params_file',
        default_value=f'{SHARE}/config/road.yaml',
        description='Parameters of the node',
    )
    # It sees the arguments that are given to this file.
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(f'{SHARE}/launch/segmentation.launch.py')
    )
    return LaunchDescription([GroupAction([params_file, node])])
