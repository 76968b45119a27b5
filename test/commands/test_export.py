import cv2
import numpy as np
import pytest

from seg_ros import cli
from seg_ros.commands.export import load_images
from seg_ros.model_card import (
    WEIGHTS_FILE,
    ClassInfo,
    InputSpec,
    ModelCard,
    load_model_card,
    save_model_card,
)
from seg_ros.nets import build_net
from seg_ros.nets.deployed import save_weights
from test.nets.images import scene


@pytest.fixture
def trained(tmp_path):
    """A model folder with weights alone."""
    folder = tmp_path / 'trained'
    folder.mkdir()
    save_weights(build_net('slim_multibranch', 3), folder / WEIGHTS_FILE)
    classes = tuple(ClassInfo(i, f'class_{i}', (i, i, i)) for i in range(3))
    card = ModelCard(
        'trained', 'slim_multibranch', classes, InputSpec(48, 64), files={WEIGHTS_FILE: ''}
    )
    save_model_card(card, folder)
    return folder


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for seed in range(5):
        cv2.imwrite(str(folder / f'{seed}.png'), scene(96, 128, seed=seed))
    return folder


def test_exports_to_another_size(trained, photos, tmp_path, capsys):
    folder = tmp_path / 'models' / 'mine'
    arguments = ['export', str(trained), str(folder), '--images', str(photos), '--size', '32x48']
    assert cli.main([*arguments, '--weights-dtype', 'float32']) == 0
    out = capsys.readouterr().out
    assert 'openvino' in out
    assert 'checked on 3 images' in out
    card = load_model_card(folder)
    assert (card.name, card.input.height_px, card.input.width_px) == ('mine', 32, 48)
    assert cli.main(arguments) == 2
    assert 'exists' in capsys.readouterr().err
    assert cli.main([*arguments, '--weights-dtype', 'float32', '--overwrite']) == 0


def test_missing_folder_is_refused(photos, tmp_path, capsys):
    arguments = ['export', str(tmp_path / 'nothing'), str(tmp_path / 'm'), '--images', str(photos)]
    assert cli.main(arguments) == 2
    assert 'nothing' in capsys.readouterr().err


def test_images_are_rgb_and_fit_the_input(photos):
    image = scene(96, 128, seed=0)
    cv2.imwrite(str(photos / '0.png'), image[..., ::-1])
    found = load_images([photos / '0.png'], InputSpec(96, 128), 1)
    assert np.array_equal(found[0], image)
    assert [each.shape for each in load_images([photos], InputSpec(48, 64), 2)] == [
        (48, 64, 3)
    ] * 2


@pytest.mark.parametrize(
    ('name', 'error', 'message'),
    [('gone', FileNotFoundError, 'does not exist'), ('text.png', ValueError, 'none of PNG')],
)
def test_unreadable_images_are_refused(tmp_path, name, error, message):
    (tmp_path / 'text.png').write_text('no image')
    with pytest.raises(error, match=message):
        load_images([tmp_path / name], InputSpec(48, 64), 1)


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='no image in'):
        load_images([tmp_path], InputSpec(48, 64), 1)
    with pytest.raises(ValueError, match='max-images'):
        load_images([tmp_path], InputSpec(48, 64), 0)
