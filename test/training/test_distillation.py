"""A net that learns from another one."""

import json

import pytest
import torch
import torch.nn.functional as F

from seg_ros import cli
from seg_ros.model_card import load_model_card
from seg_ros.nets.deployed import load_net
from seg_ros.share import share_file
from seg_ros.training.distillation import build_teacher, distillation_loss
from seg_ros.training.loop import train
from seg_ros.training.preparation import prepare
from seg_ros.training.recipes import load_train_config


@pytest.fixture(scope='module')
def teacher(data_folder, tmp_path_factory):
    """A model folder of the tiny net that knows its classes, for pixels in -1..1."""
    folder = tmp_path_factory.mktemp('teacher')
    settings = [
        *('name=teacher', 'net=tiny_net', f'data={data_folder}', 'device=cpu', 'ema_decay=0'),
        *('height_px=32', 'width_px=48', 'mean=[0.5,0.5,0.5]', 'std=[0.5,0.5,0.5]'),
        'stages=[{epochs: 120, batch_size: 5, learning_rate: 0.02}]',
        *('augment.scale_min=1', 'augment.scale_max=1', 'validate_every=120'),
        f'model_dir={folder}',
    ]
    assert cli.main(['train', '--quiet', '--run-folder', str(folder / 'run'), *settings]) == 0
    return folder / 'teacher'


def random_logits(seed):
    return 3 * torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_divergence_of_softened_probabilities_where_labels_are():
    logits, taught = random_logits(0), random_logits(1)
    labels = torch.zeros(2, 4, 5, dtype=torch.uint8)
    labels[0, 1:] = 255
    p, q = (taught / 2).softmax(1), (logits / 2).softmax(1)
    divergence = (p * (p / q).log()).sum(1)
    found = distillation_loss(logits, taught, labels, temperature=2.0)
    torch.testing.assert_close(found, 4 * divergence[labels != 255].mean())
    assert float(distillation_loss(taught, taught, labels, 2.0)) == pytest.approx(0, abs=1e-6)


def test_without_a_labelled_pixel_the_loss_is_zero():
    labels = torch.full((2, 4, 5), 255, dtype=torch.uint8)
    assert float(distillation_loss(random_logits(0), random_logits(1), labels, 2.0)) == 0


def test_a_teacher_sees_pixels_as_its_own_card_has_them(tiny_config, teacher):
    config = tiny_config(f'distillation.teacher={teacher}')
    card = load_model_card(teacher)
    assert card.input.mean != config.normalization[0]
    pixels = torch.randint(
        0, 256, (1, 32, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        logits = load_net(card)(pixels)
    mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in config.normalization)
    image = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    found = build_teacher(config, card.classes, torch.device('cpu'))
    labels = torch.zeros(1, 32, 48, dtype=torch.uint8)
    full = F.interpolate(logits, (32, 48), mode='bilinear', align_corners=False)
    assert float(found.loss(image, full, labels)) == pytest.approx(0, abs=1e-6)
    assert float(found.loss(image, full.flip(1), labels)) > 0.1
    assert float(found.loss(image, full.flip(1), labels)) == pytest.approx(
        config.distillation.weight
        * float(distillation_loss(full.flip(1), full, labels, config.distillation.temperature)),
        rel=1e-4,
    )


@pytest.mark.slow
def test_a_net_learns_from_the_answers_alone(tiny_config, teacher, tmp_path):
    settings = [
        *('seed=1', 'stages=[{epochs: 120, batch_size: 5, learning_rate: 0.02}]'),
        *('augment.scale_min=1', 'augment.scale_max=1', 'validate_every=120', 'loss.aux_weight=0'),
        'loss.terms={cross_entropy: 0.0}',
    ]
    taught = train(
        tiny_config(*settings, f'distillation.teacher={teacher}'), tmp_path / 'run', quiet=True
    )
    its_score = load_model_card(teacher).scores['folder_val']['mean_iou']
    assert its_score > 0.8
    assert taught.progress.best[0] > 0.75
    said = json.loads((tmp_path / 'run/provenance.json').read_text())['teacher']
    assert said == {'model': 'teacher', 'weight': 1.0, 'temperature': 1.0}


def test_a_teacher_of_other_classes_is_refused(tiny_config, tmp_path):
    folder = share_file('models/robocup_mini_unet')
    config = tiny_config(f'distillation.teacher={folder}')
    with pytest.raises(ValueError, match=r'classes of the teacher .* differ in id, name or order'):
        prepare(config, tmp_path)


def test_a_missing_teacher_is_named(tiny_config, tmp_path):
    with pytest.raises(FileNotFoundError, match='no_such_model'):
        prepare(tiny_config('distillation.teacher=no_such_model'), tmp_path)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match='temperature'):
        load_train_config(None, ['distillation.temperature=0'])
