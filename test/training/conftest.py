import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import test.training.tiny_net  # noqa: F401 (makes the net known)
from seg_ros.training.recipes import load_train_config

ROOT = Path(__file__).parents[2]
CLASSES = [
    {'id': 0, 'name': 'ground', 'color': [0, 128, 0]},
    {'id': 1, 'name': 'ball', 'color': [255, 128, 0]},
    {'id': 4, 'name': 'wall', 'color': [90, 90, 90]},
]


STAGES = '[{epochs: 2, batch_size: 4, scale: 0.5, frozen: encoder}, {epochs: 2, batch_size: 4}]'


def write_folder(folder, count=10, size_hw=(36, 48), splits=('train', 'val')):
    """A learnable data set: colours tell the class, sizes differ, some pixels are void."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        (folder / 'images' / split).mkdir(parents=True)
        (folder / 'labels' / split).mkdir(parents=True)
        for i in range(count if split == 'train' else max(2, count // 3)):
            rows, columns = size_hw[0] + 4 * (i % 2), size_hw[1]
            labels = np.zeros((rows, columns), np.uint8)
            labels[: rows // 3] = 4
            center = (int(rng.integers(8, columns - 8)), int(rng.integers(rows // 2, rows - 4)))
            cv2.circle(labels, center, 6, 1, -1)
            colors = {entry['id']: entry['color'] for entry in CLASSES}
            image = np.zeros((rows, columns, 3), np.int16)
            for class_id, color in colors.items():
                image[labels == class_id] = color
            image = np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
            labels[-1] = 255
            cv2.imwrite(str(folder / f'images/{split}/{i:03d}.png'), image[:, :, ::-1])
            cv2.imwrite(str(folder / f'labels/{split}/{i:03d}.png'), labels)
    (folder / 'classes.yaml').write_text(yaml.safe_dump({'classes': CLASSES}))
    return folder


@pytest.fixture(scope='session')
def data_folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('data') / 'scenes')


@pytest.fixture
def tiny_settings(data_folder):
    """Settings of a run of a second or two."""
    return [
        'name=tiny',
        'net=tiny_net',
        f'data={data_folder}',
        'height_px=32',
        'width_px=48',
        'model_dir=',
        'device=cpu',
        'ema_decay=0.9',
        f'stages={STAGES}',
    ]


@pytest.fixture
def tiny_config(tiny_settings):
    """Builds the configuration of a short run from further settings."""
    return lambda *overrides: load_train_config(None, [*tiny_settings, *overrides])


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, so that runs can be compared bit by bit with runs elsewhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def command(*arguments):
    return [sys.executable, '-m', 'test.training.tiny_net', *map(str, arguments)]


def environment(**extra):
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', **extra}


@pytest.fixture
def start(tmp_path):
    """Starts ``python -m seg_ros`` with the tiny net known, in an empty folder."""
    started = []

    def begin(*arguments, **extra):
        process = subprocess.Popen(
            command(*arguments),
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(ROOT), **extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
