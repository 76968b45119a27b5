import numpy as np
import pytest

from seg_ros.scenes.parts import UPRIGHT, Part, tilt
from seg_ros.scenes.shadows import shadow_outlines

SLANTED = np.array([0.5, 0.0, -1.0])


def part(shape, size, high, rotation=UPRIGHT):
    return Part(shape, size, np.array([1.0, 2.0, high]), rotation, (1, 1, 1), 0)


def extent(outline):
    return outline.min(axis=0).tolist(), outline.max(axis=0).tolist()


def test_the_shadow_of_a_box_lies_where_its_corners_fall():
    low, high = extent(shadow_outlines([part('box', (0.1, 0.2, 0.5), 0.5)], SLANTED)[0])
    assert low == pytest.approx([0.9, 1.8])
    assert high == pytest.approx([1.1 + 0.5, 2.2])  # the top, 1 m high, is moved by half of that


def test_the_shadow_of_a_sphere_is_an_ellipse_around_its_middle():
    outline = shadow_outlines([part('sphere', (0.1,) * 3, 0.4)], SLANTED)[0]
    low, high = extent(outline)
    half = 0.1 * np.sqrt(1 + 0.5**2)  # rays that touch it are slanted
    assert [low[0], high[0]] == pytest.approx([1.2 - half, 1.2 + half], rel=1e-3)
    assert [low[1], high[1]] == pytest.approx([1.9, 2.1], rel=1e-3)


@pytest.mark.parametrize(('shape', 'half'), [('capsule', 0.3), ('cylinder', 0.2)])
def test_lying_limbs_throw_shadows_of_their_length(shape, half):
    lying = part(shape, (0.1, 0.1, 0.2), 0.1, tilt(np.pi / 2, 1))
    low, high = extent(shadow_outlines([lying], np.array([0.0, 0.0, -1.0]))[0])
    assert [low[0], high[0]] == pytest.approx([1 - half, 1 + half], rel=2e-2)
    assert [low[1], high[1]] == pytest.approx([1.9, 2.1], rel=1e-3)
