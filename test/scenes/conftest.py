import numpy as np
import pytest

from seg_ros.scenes.camera import Camera, look
from seg_ros.scenes.ground import Carpet, Floor
from seg_ros.scenes.pitch import KID_SIZE
from seg_ros.scenes.renderer import SceneRenderer
from seg_ros.scenes.scene import Scene
from seg_ros.scenes.sensor import Sensor
from seg_ros.scenes.stage import Light
from seg_ros.scenes.surroundings import HEIGHT_PX, WIDTH_PX


@pytest.fixture(scope='session')
def renderer():
    try:
        return SceneRenderer(6)
    except FileNotFoundError as error:
        pytest.skip(f'no rendering on this machine: {error}')


def plain_scene(parts=(), **camera):
    """The kid-size pitch from one metre above (-2, 0), looking along x, under one lamp."""
    settings = {
        'width_px': 640,
        'height_px': 480,
        'focal_px': 320.0,
        'position': np.array([-2.0, 0.0, 1.0]),
        'rotation': look(0.0, 0.4, 0.0),
    }
    return Scene(
        pitch=KID_SIZE,
        carpet=Carpet((0.1, 0.5, 0.1)),
        floor=Floor((0.4, 0.3, 0.3)),
        parts=tuple(parts),
        lights=(Light(np.array([-0.6, 0.1, -1.0]), (0.5,) * 3, (0.5,) * 3, 0.02),),
        sunlight=None,
        panorama=np.full((HEIGHT_PX, WIDTH_PX, 3), 100, np.uint8),
        camera=Camera(**(settings | camera)),
        sensor=Sensor(),
    )
