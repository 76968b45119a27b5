import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from seg_ros.datasets import build_dataset
from seg_ros.datasets.robocup_scenes import RobocupScenes

SIZE = {'width_px': 160, 'height_px': 120}


@pytest.fixture(scope='module')
def scenes():
    dataset = RobocupScenes(length=20, seed=4, num_classes=6, **SIZE)
    try:
        dataset[0]
    except FileNotFoundError as error:
        pytest.skip(f'no rendering on this machine: {error}')
    return dataset


def digest(sample):
    return hashlib.sha256(sample.image.tobytes() + sample.labels.tobytes()).hexdigest()


def test_samples_are_labelled_images(scenes):
    seen = set()
    for index in range(12):
        sample = scenes[index]
        assert sample.image.shape == (120, 160, 3)
        assert sample.image.dtype == sample.labels.dtype == np.uint8
        assert sample.labels.shape == (120, 160)
        seen |= set(np.unique(sample.labels).tolist())
    assert seen == set(range(6)), 'every class shows up'


def test_an_index_gives_the_same_bytes_in_any_order(scenes):
    first = [digest(scenes[index]) for index in range(4)]
    assert [digest(scenes[index]) for index in (3, 2, 1, 0)][::-1] == first
    assert len(set(first)) == 4


def test_another_process_gives_the_same_bytes(scenes):
    code = (
        'import hashlib\n'
        'from seg_ros.datasets.robocup_scenes import RobocupScenes\n'
        'd = RobocupScenes(length=20, seed=4, num_classes=6, width_px=160, height_px=120)\n'
        's = d[7]\n'
        'print(hashlib.sha256(s.image.tobytes() + s.labels.tobytes()).hexdigest())\n'
    )
    other = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True, timeout=60
    )
    assert other.stdout.split()[-1] == digest(scenes[7])


def test_seed_and_split_change_the_scene(scenes):
    options = {'length': 2, 'num_classes': 6, **SIZE}
    others = [RobocupScenes(seed=5, **options), RobocupScenes(split='val', seed=4, **options)]
    assert len({digest(scenes[1]), *(digest(other[1]) for other in others)}) == 3


def test_a_copy_for_another_process_leaves_the_renderer(scenes):
    copy = pickle.loads(pickle.dumps(scenes))  # noqa: S301 - our own bytes
    assert copy._renderer is None
    assert digest(copy[2]) == digest(scenes[2])


def test_photos_appear_around_the_pitch(scenes, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / 'hall.png'), np.full((60, 80, 3), (0, 0, 255), np.uint8))
    options = {'length': 12, 'seed': 4, **SIZE}
    dataset = build_dataset('robocup_scenes', tmp_path, 'train', options)
    reddest = max(
        np.mean(sample.image[sample.labels == 0].astype(int) @ [1, -1, 0] > 60)
        for sample in (dataset[index] for index in range(12))
        if (sample.labels == 0).any()
    )
    assert reddest > 0.3


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'split': 'x'}, "unknown split 'x'"),
        ({'length': 0}, 'length 0'),
        ({'seed': -1}, 'seed -1'),
        ({'width_px': 8}, 'width_px is 8'),
        ({'num_classes': 5}, '5 classes'),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RobocupScenes(**options)


def test_a_folder_without_photos_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds none'):
        RobocupScenes(tmp_path)
