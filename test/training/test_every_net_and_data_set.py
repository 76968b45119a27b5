"""Every net learns four images by heart; every data set ends in a model that the node loads."""

import cv2
import numpy as np
import pytest
import yaml

from seg_ros import cli
from seg_ros.nets import NETS
from seg_ros.segmenter import load
from seg_ros.training.loop import train
from seg_ros.training.recipes import load_train_config
from test.datasets.conftest import WRITERS, picture, write
from test.training.conftest import CLASSES

pytestmark = pytest.mark.slow
SIZE = (64, 64)
LEARNING_RATES = {'edgesegnet': 3e-3}  # in a third of the steps
STILL = (
    '{scale_min: 1, scale_max: 1, flip: 0, brightness: 0, contrast: 0, saturation: 0, hue: 0, '
    'blur: 0, noise: 0}'
)


@pytest.fixture(scope='module')
def four_images(tmp_path_factory):
    """Rectangles on a grid of 8 pixels: nets with coarse logits can be right about them too."""
    folder = tmp_path_factory.mktemp('four')
    rng = np.random.default_rng(0)
    for i in range(4):
        labels = np.zeros(SIZE, np.uint8)
        labels[: 8 * (2 + i % 2)] = 4
        top, left = 32, 8 * int(rng.integers(0, 4))
        labels[top : top + 24, left : left + 32] = 1
        image = np.zeros((*SIZE, 3), np.int16)
        for entry in CLASSES:
            image[labels == entry['id']] = entry['color']
        image = np.clip(image + rng.integers(-30, 30, image.shape), 0, 255).astype(np.uint8)
        write(folder / f'images/{i}.png', image)
        write(folder / f'labels/{i}.png', labels)
    (folder / 'classes.yaml').write_text(yaml.safe_dump({'classes': CLASSES}))
    return folder


@pytest.mark.parametrize('net', sorted(NETS.keys() - {'tiny_net'}))
def test_overfits_four_images(net, four_images, tmp_path):
    rate = LEARNING_RATES.get(net, 1e-3)
    config = load_train_config(
        None,
        [
            f'net={net}',
            f'data={four_images}',
            *('split.train=all', 'split.val=all', 'split.allow_overlap=true'),
            'height_px=64',
            'width_px=64',
            f'augment={STILL}',
            f'stages=[{{epochs: 400, batch_size: 4, learning_rate: {rate}}}]',
            'schedule.name=constant',
            'optimizer.name=adam',
            'optimizer.weight_decay=0',
            'ema_decay=0',
            'device=cpu',
            'validate_every=10',
            'checkpoint_every=400',
            'target_score=0.955',
        ],
    )
    run = train(config, tmp_path, quiet=True)
    assert run.progress.best[0] > 0.95


@pytest.mark.parametrize('writer', WRITERS, ids=lambda each: each.__name__.removeprefix('write_'))
def test_every_data_set_ends_in_a_model_folder(writer, tmp_path):
    fixture = writer(tmp_path / 'data')
    settings = [
        'name=short',
        'net=tiny_net',
        f'dataset={fixture.name}',
        f'data={fixture.folder}',
        f'dataset_options={yaml.safe_dump(fixture.options, default_flow_style=True).strip()}',
        *('split.mode=random', 'split.val_fraction=0.34'),
        *('height_px=32', 'width_px=32', 'device=cpu', 'max_steps=2'),
        'stages=[{epochs: 2, batch_size: 2}]',
        'allow_missing_classes=true',  # three images do not show all of them
        f'model_dir={tmp_path / "models"}',
    ]
    if fixture.split != 'all':
        settings += [
            'split.mode=given',
            f'split.train={fixture.split}',
            'split.allow_overlap=true',
        ]
        settings += [f'split.val={fixture.split}']
    run = tmp_path / 'run'
    assert cli.main(['train', '--quiet', '--run-folder', str(run), *settings]) == 0
    segmenter = load(tmp_path / 'models/short')
    labels = segmenter.segment(picture(5, (30, 44))).labels
    assert labels.shape == (30, 44)
    known = {entry.id for entry in segmenter.card.classes}
    assert set(np.unique(labels).tolist()) <= known
    assert cv2.imread(str(run / 'report/confusion.png')) is not None
