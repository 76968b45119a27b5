import numpy as np
import pytest

from seg_ros.scenes.pitch import ADULT_SIZE, KID_SIZE, MIDDLE_SIZE, STANDARD_PLATFORM


def coverage(pitch, x, y, patch=0.001):
    size = np.array([patch], np.float32)
    return float(
        pitch.line_coverage(np.array([x], np.float32), np.array([y], np.float32), size, size)[0]
    )


@pytest.mark.parametrize('pitch', [KID_SIZE, ADULT_SIZE, STANDARD_PLATFORM, MIDDLE_SIZE])
def test_lines_are_where_the_rules_put_them(pitch):
    end, side = pitch.length / 2, pitch.width / 2
    front = end - pitch.penalty_area[0]
    painted = [
        (0, 0.4 * side), (end, 0.1), (-end, -0.1), (0.3, side), (front, 0.1), (-front, 0.3),
        (0, pitch.circle_radius), (end - pitch.penalty_distance, 0), (end, side),
    ]  # fmt: skip
    bare = [(0.3, 0.4 * side), (end + 0.2, 0.1), (0.3, side + 0.2), (front - 0.2, 0.1)]
    assert [coverage(pitch, *place) for place in painted] == pytest.approx(
        [1] * len(painted), abs=1e-3
    )
    assert [coverage(pitch, *place) for place in bare] == [0] * len(bare)


def test_a_patch_wider_than_the_line_is_covered_in_part():
    assert coverage(KID_SIZE, 0.0, 1.2, 0.1) == pytest.approx(0.5, abs=1e-3)
    assert coverage(KID_SIZE, 0.05, 1.2, 0.1) == pytest.approx(0.25, abs=1e-3)
