"""What a run leaves behind and how it ends."""

import json

import cv2
import numpy as np
import pytest
import torch

from seg_ros import cli
from seg_ros.model_card import load_model_card
from seg_ros.segmenter import load
from seg_ros.share import share_file
from seg_ros.training.checkpoint import FOLDER, CheckpointError, load_checkpoint
from seg_ros.training.loop import train
from seg_ros.training.lr_finder import find_learning_rate, suggest
from seg_ros.training.model_folder import load_trained
from seg_ros.training.phases import Stage, autocast
from seg_ros.training.preparation import prepare
from seg_ros.training.validation import Validator
from test.datasets.conftest import picture
from test.training.conftest import write_folder


def test_a_run_leaves_model_report_and_everything_to_repeat_it(tiny_settings, tmp_path, capsys):
    run, models = tmp_path / 'run', tmp_path / 'models'
    settings = [*tiny_settings, f'model_dir={models}', 'stages.1.epochs=4', 'keep_best=2']
    assert cli.main(['train', '--run-folder', str(run), *settings]) == 0
    for name in ('config.yaml', 'provenance.json', 'splits.json', 'data_check.json'):
        assert (run / name).is_file()
    provenance = json.loads((run / 'provenance.json').read_text())
    assert provenance['libraries']['torch'] == torch.__version__.partition('+')[0]
    assert 'commit' in provenance
    history = json.loads((run / 'history.json').read_text())
    assert [entry['epoch'] for entry in history] == list(range(1, 7))
    assert [entry['stage'] for entry in history] == [0, 0, 1, 1, 1, 1]
    assert list((run / 'tensorboard').glob('events.*'))
    for name in ('curves.png', 'confusion.png', 'best.png', 'worst.png'):
        assert cv2.imread(str(run / 'report' / name)).shape[0] > 50
    page = (run / 'report/index.html').read_text()
    assert page.count('data:image/png;base64,') == 4
    scores = json.loads((run / 'report/scores.json').read_text())
    best = max(entry['mean_iou'] for entry in history if entry['stage'] == 1)
    assert scores['mean_iou'] == pytest.approx(best, abs=1e-6)
    assert 'ball' in (run / 'report/classes.csv').read_text()
    # the model folder is what the node loads
    card = load_model_card(models / 'tiny')
    assert [entry.id for entry in card.classes] == [0, 1, 4]
    assert card.scores['folder_val']['mean_iou'] == pytest.approx(best)
    labels = load(models / 'tiny').segment(picture(1, (50, 70)), 'rgb').labels
    assert labels.shape == (50, 70)
    assert set(np.unique(labels).tolist()) <= {0, 1, 4}
    assert 'report:' in capsys.readouterr().out


def test_a_run_on_all_images_claims_no_score(tiny_settings, tmp_path, capsys):
    settings = [*tiny_settings, f'model_dir={tmp_path}/models', 'split.mode=all']
    run = tmp_path / 'run'
    assert cli.main(['train', '--quiet', '--run-folder', str(run), *settings]) == 0
    assert 'training images' in capsys.readouterr().out
    card = load_model_card(tmp_path / 'models/tiny')
    assert card.scores == {}
    assert card.temperature == 1.0
    assert card.provenance['images']['train'] == 13


def test_learning_shows_in_the_score(tiny_config, tmp_path):
    stages = 'stages=[{epochs: 60, batch_size: 5, learning_rate: 0.02}]'
    plain = ('augment.scale_min=1', 'augment.scale_max=1', 'validate_every=60')
    run = train(tiny_config(stages, *plain), tmp_path, quiet=True)
    assert run.progress.best[0] > 0.8


def test_validation_is_what_the_segmenter_measures(tiny_settings, tmp_path):
    """The same score through the exported model, which shares no code with validation."""
    from seg_ros.calibration import calibrated_temperature
    from seg_ros.metrics import confusion_matrix, scores_from_confusion
    from seg_ros.training.loader import channel_table

    settings = [*tiny_settings, f'model_dir={tmp_path}/models', 'stages.1.epochs=6']
    assert cli.main(['train', '--quiet', '--run-folder', str(tmp_path / 'run'), *settings]) == 0
    run = prepare_again(tmp_path / 'run')
    segmenter, total = load(tmp_path / 'models/tiny'), 0
    table = channel_table(segmenter.card.classes)
    dataset = run.stores['val'].dataset
    for i in range(len(dataset)):
        sample = dataset[i]
        labels = segmenter.segment(sample.image, 'rgb').labels
        total = total + confusion_matrix(table[sample.labels], table[labels], 3)
    measured = scores_from_confusion(total)
    stored = segmenter.card.scores['folder_val']
    assert stored['mean_iou'] == pytest.approx(measured.mean_iou, abs=2e-3)
    assert stored['pixel_accuracy'] == pytest.approx(measured.pixel_accuracy, abs=2e-3)

    # the confidence was calibrated on the same images: fitting it again changes nothing
    samples = [dataset[i] for i in range(len(dataset))]
    fitted = calibrated_temperature(segmenter, samples)
    assert segmenter.card.temperature == pytest.approx(fitted, abs=1e-3)
    assert segmenter.card.temperature != 1.0


def prepare_again(folder):
    from seg_ros.training.recipes import load_train_config

    return prepare(load_train_config(folder / 'config.yaml'), folder, record=False)


def test_validation_is_never_augmented_and_repeats(tiny_config, tmp_path):
    run = prepare(tiny_config('augment.noise=1.0'), tmp_path, record=False)
    spec = Stage(run.config, 1, run.model, torch.nn.Module(), 1).spec
    validator = Validator(run.stores['val'], spec, 3, run.device)
    exact = autocast(run.config, run.device)
    first = validator.run(run.model.deployed, exact).confusion
    np.testing.assert_array_equal(first, validator.run(run.model.deployed, exact).confusion)
    sizes = run.survey.splits['val']
    assert first.sum() == sizes.pixels.sum()  # every labelled pixel at its own resolution


@pytest.mark.parametrize(
    'settings',
    [
        ('precision=bfloat16',),
        ('precision=float16',),
        ('channels_last=false', 'ema_decay=0'),
        ('frozen_norms=true', 'optimizer.clip_norm=1'),
        ('cache=none',),
        ('cache=none', 'workers=1'),
        ('cache=device',),
        ('loss.resolution=logits', 'loss.total_variation=0.1'),
        ('loss.total_variation=0.1', 'loss.total_variation_classes=[ball]'),
        ('loss.terms={dice: 1, lovasz: 1, ohem: 1, focal: 1}', 'schedule.name=plateau'),
        ('checkpoint_minutes=0.01', 'validate_every=2', 'checkpoint_every=2'),
    ],
    ids=' '.join,
)
def test_options_train_to_the_end(tiny_config, tmp_path, settings):
    run = train(tiny_config(*settings), tmp_path, quiet=True)
    assert run.progress.finished
    assert all(np.isfinite(entry['loss']) for entry in run.progress.history)
    assert load_trained(tmp_path)[1].num_classes == 3


def test_loading_in_processes_changes_nothing(tiny_config, tmp_path):
    weights = []
    for i, settings in enumerate((('workers=2', 'cache=none'), ('workers=0', 'cache=ram'))):
        train(tiny_config(*settings), tmp_path / str(i), quiet=True)
        weights.append(load_checkpoint(tmp_path / str(i)).load_tensors('state'))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_images_of_one_size_on_the_device_are_batched_at_once(tiny_config, tmp_path):
    folder = write_folder(tmp_path / 'data')
    for split in ('train', 'val'):
        for kind in ('images', 'labels'):
            for path in (folder / kind / split).iterdir():
                stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                cv2.imwrite(str(path), stored[:36])
    config = tiny_config(f'data={folder}', 'cache=device')
    run = train(config, tmp_path / 'run', quiet=True)
    assert run.stores['train'].stacked is not None
    assert run.progress.finished
    before = load_checkpoint(tmp_path / 'run').load_tensors('state')
    train(config, tmp_path / 'again', quiet=True)
    again = load_checkpoint(tmp_path / 'again').load_tensors('state')
    assert all(torch.equal(before[key], again[key]) for key in before)


def test_a_target_score_ends_the_run(tiny_config, tmp_path):
    stages = 'stages=[{epochs: 50, batch_size: 4}]'
    run = train(tiny_config('target_score=0.01', stages), tmp_path, quiet=True)
    assert run.progress.finished
    assert run.progress.epoch == 1


def test_patience_ends_a_stage_and_goes_on_with_the_next(tiny_config, tmp_path):
    settings = ('patience=2', 'stages.0.epochs=50', 'stages.0.learning_rate=0')
    run = train(tiny_config(*settings), tmp_path, quiet=True)
    stages = [entry['stage'] for entry in run.progress.history]
    assert stages.count(0) < 10
    assert stages.count(1) >= 1
    assert run.progress.finished


def test_a_diverging_run_stops_with_advice_and_keeps_its_checkpoint(tiny_config, tmp_path):
    stages = 'stages=[{epochs: 1, learning_rate: 1e-3}, {epochs: 40, learning_rate: 99}]'
    config = tiny_config(stages, 'optimizer.name=sgd', 'schedule.name=constant', 'ema_decay=0')
    with pytest.raises(CheckpointError, match=r'the loss is .* lower the learning rate'):
        train(config, tmp_path, quiet=True)
    weights = load_checkpoint(tmp_path).load_tensors('weights')
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_another_run_can_be_started_from(tiny_config, tmp_path):
    train(tiny_config(), tmp_path / 'a', quiet=True)
    run = prepare(tiny_config(f'init_from={tmp_path / "a"}'), tmp_path / 'b')
    expected = load_checkpoint(tmp_path / 'a', 'best').load_tensors('weights')
    assert all(torch.equal(value, expected[k]) for k, value in run.model.net.state_dict().items())


def test_a_model_folder_can_be_started_from(tiny_settings, tiny_config, tmp_path):
    settings = [*tiny_settings, f'model_dir={tmp_path}', 'name=first']
    assert cli.main(['train', '--run-folder', str(tmp_path / 'a'), *settings]) == 0
    run = prepare(tiny_config(f'init_from={tmp_path / "first"}'), tmp_path / 'b')
    expected = load_checkpoint(tmp_path / 'a', 'best').load_tensors('weights')
    assert all(torch.equal(value, expected[k]) for k, value in run.model.net.state_dict().items())


def test_a_model_folder_of_another_net_is_no_start(tiny_config, tmp_path):
    config = tiny_config(f'init_from={share_file("models/robocup_mini_unet")}')
    with pytest.raises(ValueError, match=r'holds a mini_unet, net is '):
        prepare(config, tmp_path)


def test_a_model_folder_of_other_classes_is_no_start(tiny_config, tmp_path):
    folder = share_file('models/robocup_mini_unet')
    config = tiny_config('net=mini_unet', f'init_from={folder}')
    with pytest.raises(ValueError, match='of a net with other classes or options'):
        prepare(config, tmp_path)


def test_a_batch_that_no_process_count_divides_is_refused():
    from seg_ros.training.loader import TrainingBatches

    with pytest.raises(ValueError, match='no multiple of 2 processes'):
        TrainingBatches([0] * 9, None, (8, 8), (0, 0, 0), batch_size=3, seed=0, world_size=2)


def test_the_range_test_suggests_a_rate_and_restores_everything(tiny_config, tmp_path):
    run = prepare(tiny_config('optimizer.name=sgd'), tmp_path, record=False)
    before = {key: value.clone() for key, value in run.model.net.state_dict().items()}
    random_state = torch.get_rng_state()
    found = find_learning_rate(run, 1, low=1e-5, high=50, steps=60)
    assert 1e-5 < found.suggestion < 50
    assert found.losses[-1] < 4.0 * min(found.losses) + 1e-6
    after = run.model.net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not (tmp_path / FOLDER).exists()


def test_the_suggestion_is_where_the_loss_falls_steepest():
    rates = [10.0 ** (-6 + 0.1 * i) for i in range(60)]
    losses = [2 - 1.5 / (1 + (1e-3 / r) ** 2) + (r / 0.05) ** 2 for r in rates]
    suggestion, largest = suggest(rates, losses)
    assert 3e-4 < suggestion < 3e-3
    assert largest < rates[losses.index(min(losses))]
    with pytest.raises(ValueError, match='never falls'):
        suggest(rates, sorted(losses))
    with pytest.raises(ValueError, match='blew up after 3 steps'):
        suggest(rates[:3], losses[:3])


def test_find_lr_writes_the_curve(tiny_settings, tmp_path, capsys):
    curve = tmp_path / 'curve.png'
    arguments = ['--stage', '1', '--steps', '40', '--picture', str(curve)]
    assert cli.main(['find-lr', *arguments, *tiny_settings, 'optimizer.name=sgd']) == 0
    assert cv2.imread(str(curve)) is not None
    assert 'stages.1.learning_rate=' in capsys.readouterr().out


def test_export_takes_a_run_folder(tiny_config, tmp_path, data_folder):
    train(tiny_config('max_steps=2'), tmp_path / 'run', quiet=True)
    target = tmp_path / 'models/other'
    images = data_folder / 'images'
    assert (
        cli.main(
            [
                'export',
                str(tmp_path / 'run'),
                str(target),
                '--images',
                str(images),
                '--weights-dtype',
                'float32',
            ]
        )
        == 0
    )
    assert load_model_card(target).name == 'other'


def test_a_shipped_model_can_be_started_from_and_learned_from_by_its_name(tiny_config, tmp_path):
    with pytest.raises(ValueError, match=r'holds a mini_unet, net is tiny_net'):
        prepare(tiny_config('init_from=robocup_mini_unet'), tmp_path / 'a')
    with pytest.raises(ValueError, match='the teacher robocup_mini_unet'):
        prepare(tiny_config('distillation.teacher=robocup_mini_unet'), tmp_path / 'b')
    with pytest.raises(FileNotFoundError, match=r"no model 'nothing'; available: .*road_slim"):
        prepare(tiny_config('init_from=nothing'), tmp_path / 'c')
