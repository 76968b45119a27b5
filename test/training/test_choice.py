"""What is measured on the validation images, and what it decides."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seg_ros.training.checkpoint import FOLDER, load_checkpoint
from seg_ros.training.loop import train
from seg_ros.training.model_folder import load_trained
from seg_ros.training.phases import Stage, autocast
from seg_ros.training.preparation import prepare
from seg_ros.training.validation import Validator

ONE_STAGE = 'stages=[{epochs: 5, batch_size: 4}]'


def test_the_validation_loss_is_the_weighted_cross_entropy_of_labelled_pixels(
    tiny_config, tmp_path
):
    run = prepare(tiny_config('net_options={norm: false}'), tmp_path, record=False)
    weights = torch.tensor([1.0, 5.0, 0.5])
    spec = Stage(run.config, 1, run.model, torch.nn.Module(), 1).spec
    validator = Validator(run.stores['val'], spec, 3, run.device, weights=weights)
    found = validator.run(run.model.deployed, autocast(run.config, run.device)).loss

    total = weight = 0.0
    net = run.model.deployed.eval()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (spec.mean, spec.std))
    for image, truth in (run.stores['val'][i] for i in range(len(run.stores['val']))):
        rows = round(image.shape[1] * min(32 / image.shape[1], 48 / image.shape[2]))
        assert rows == 32  # the images are higher than the input and padded at the right
        columns = round(image.shape[2] * 32 / image.shape[1])
        small = F.interpolate(image[None].float(), (rows, columns), mode='area')[0] / 255
        padded = torch.zeros(3, 32, 48)
        padded[:, :, :columns] = (small - mean) / std
        with torch.no_grad():
            logits = net(padded[None])['logits'][:, :, :, : -(-columns // 2)]
        full = F.interpolate(logits, truth.shape, mode='bilinear', align_corners=False)
        losses = F.cross_entropy(full, truth.long()[None], ignore_index=255, reduction='none')[0]
        each = weights[truth.long().clamp_max(2)] * (truth != 255)
        total += float((losses * each).sum())
        weight += float(each.sum())
    assert found == pytest.approx(total / weight, rel=0.02)


@pytest.mark.parametrize(
    ('metric', 'key', 'best_of'),
    [('val_loss', 'val_loss', min), ('pixel_accuracy', 'pixel_accuracy', max)],
)
def test_the_metric_chooses_the_best(tiny_config, tmp_path, metric, key, best_of):
    run = train(tiny_config(ONE_STAGE, f'metric={metric}'), tmp_path, quiet=True)
    values = [entry[key] for entry in run.progress.history]
    best = load_checkpoint(tmp_path, 'best').progress
    assert best['history'][-1][key] == best_of(values)


def test_a_class_can_be_the_metric(tiny_config, tmp_path):
    run = train(tiny_config(ONE_STAGE, 'metric=iou.wall'), tmp_path, quiet=True)
    values = [entry['iou']['wall'] for entry in run.progress.history]
    assert load_checkpoint(tmp_path, 'best').progress['history'][-1]['iou']['wall'] == max(values)
    with pytest.raises(ValueError, match=r"'iou\.walls' is unknown; available: .*iou\.wall"):
        train(tiny_config(ONE_STAGE, 'metric=iou.walls'), tmp_path / 'b', quiet=True)
    with pytest.raises(ValueError, match=r'available: mean_iou, .*iou\.<class>'):
        tiny_config('metric=accuracy')


def test_a_rising_loss_ends_a_stage_early(tiny_config, tmp_path, monkeypatch):
    plain_run, seen = Validator.run, []

    def rising(self, net, autocast):
        seen.append(None)
        found = plain_run(self, net, autocast)
        return type(found)(found.scores, found.confusion, found.iou_of_image, 1.0 + len(seen))

    monkeypatch.setattr(Validator, 'run', rising)
    run = train(tiny_config(ONE_STAGE, 'metric=val_loss', 'patience=2'), tmp_path, quiet=True)
    assert run.progress.finished
    assert run.progress.epoch == 3
    assert load_checkpoint(tmp_path, 'best').progress['epoch'] == 1


def test_a_target_of_the_loss_is_reached_from_above(tiny_config, tmp_path):
    run = train(
        tiny_config(ONE_STAGE, 'metric=val_loss', 'target_score=1.0', 'lr=1e-9', 'ema_decay=0'),
        tmp_path,
        quiet=True,
    )
    assert min(entry['val_loss'] for entry in run.progress.history) > 1.0
    assert run.progress.epoch == 5


def test_a_target_counts_at_the_size_that_is_deployed_only(tiny_config, tmp_path):
    run = train(tiny_config('target_score=0.001'), tmp_path, quiet=True)
    assert run.progress.finished
    assert [entry['stage'] for entry in run.progress.history] == [0, 0, 1]
    assert load_trained(tmp_path)[1].input.height_px == 32


def test_weights_of_every_nth_epoch_are_kept(tiny_config, tmp_path):
    train(tiny_config('stages.1.epochs=4', 'keep_every=2'), tmp_path, quiet=True)
    kept = sorted(path.name for path in (tmp_path / FOLDER).glob('epoch_*.json'))
    assert kept == ['epoch_00002.json', 'epoch_00004.json', 'epoch_00006.json']
    for epoch, name in zip((2, 4, 6), kept, strict=True):
        checkpoint = load_checkpoint(tmp_path / FOLDER / name)
        assert checkpoint.progress['epoch'] == epoch
        assert checkpoint.load_tensors('weights')
    assert load_trained(tmp_path / FOLDER / kept[0])[1].num_classes == 3


@pytest.mark.parametrize('loss', ['cross_entropy', 'dice'])
def test_accumulated_parts_give_the_step_of_the_whole_batch(tiny_config, tmp_path, loss):
    """Up to what batch normalisation and means over parts of other sizes may differ."""
    weights = []
    for parts in (1, 4):
        config = tiny_config(
            f'stages=[{{epochs: 1, batch_size: 8, accumulate: {parts}}}]',
            'net_options={norm: false, dropout: 0}',
            'optimizer.name=sgd',
            f'loss.terms={{{loss}: 1}}',
            'ema_decay=0',
            'lr=0.1',
        )
        run = train(config, tmp_path / str(parts), quiet=True)
        assert run.progress.step == 1
        state = run.model.net.state_dict()
        weights.append(np.concatenate([value.numpy().ravel() for value in state.values()]))
    before = prepare(config, tmp_path / 'x', record=False).model.net.state_dict()
    start = np.concatenate([value.numpy().ravel() for value in before.values()])
    steps = [each - start for each in weights]
    assert np.linalg.norm(steps[0]) > 0
    cosine = steps[0] @ steps[1] / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])
    assert cosine > (0.99 if loss == 'cross_entropy' else 0.9)
    assert np.linalg.norm(steps[1]) == pytest.approx(np.linalg.norm(steps[0]), rel=0.2)


def test_more_parts_than_images_are_as_many_as_there_are(tiny_config, tmp_path):
    settings = ['stages=[{epochs: 1, batch_size: 3, accumulate: 64}]', 'net_options={norm: false}']
    assert train(tiny_config(*settings), tmp_path, quiet=True).progress.finished
