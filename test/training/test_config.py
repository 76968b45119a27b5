from pathlib import Path

import pytest

from seg_ros.datasets import DATASETS
from seg_ros.nets import NETS, net_options
from seg_ros.training.config import (
    TrainConfig,
    load_train_config,
    recipe_path,
    save_train_config,
)

RECIPES = sorted((Path(__file__).parents[2] / 'config' / 'train').glob('*.yaml'))


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_names_what_exists(path):
    config = load_train_config(path)
    assert config.net in NETS
    assert config.dataset in DATASETS
    assert config.net_options.keys() <= net_options(config.net).keys()
    assert recipe_path(path.stem) == path


def test_every_net_has_a_recipe():
    assert {load_train_config(path).net for path in RECIPES} >= NETS.keys() - {'tiny_net'}


def test_overrides_reach_into_parts_and_lists():
    config = load_train_config(
        None,
        [
            'name=x',
            'optimizer.name=sgd',
            'optimizer.weight_decay=1e-4',
            'stages=[{epochs: 3, learning_rate: 2e-3}, {epochs: 1}]',
            'stages.1.batch_size=2',
            'loss.terms={dice: 1}',
            'dataset_options={worlds: [a]}',
            'data=',
            'mean=[0.5, 0.5, 0.5]',
        ],
    )
    assert config.optimizer.name == 'sgd'
    assert config.optimizer.weight_decay == 1e-4
    assert [stage.epochs for stage in config.stages] == [3, 1]
    assert config.stages[0].learning_rate == 2e-3
    assert config.stages[1].batch_size == 2
    assert config.loss.terms == {'dice': 1.0}
    assert config.dataset_options == {'worlds': ['a']}
    assert config.data == ''
    assert config.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('optimzer.name=sgd', 'no part'),
        ('sed=1', "unknown setting 'sed'; did you mean 'seed'"),
        ('seed', 'write key=value'),
        ('optimizer.name=lion', "'lion' is unknown; available: sgd, rmsprop, adam, adamw"),
        ('stages.3.epochs=1', 'no index 0..0'),
        ('stages=[]', 'give at least one'),
        ('loss.terms={hinge: 1}', "unknown loss 'hinge'"),
        ('augment.scale_min=3', 'above scale_max'),
        ('ema_decay=1.5', 'outside 0.0 to'),
        ('seed=[1', 'is no YAML'),
        ('std=[0, 1, 1]', 'must be above 0'),
    ],
)
def test_wrong_overrides_are_explained(override, message):
    with pytest.raises(ValueError, match=message.replace('[', r'\[')):
        load_train_config(None, [override])


def test_a_dash_is_text():
    assert load_train_config(None, ['data=-']).data == '-'


def test_a_saved_configuration_reads_back(tmp_path):
    config = load_train_config(RECIPES[0], ['seed=5'])
    save_train_config(config, tmp_path / 'config.yaml')
    assert load_train_config(tmp_path / 'config.yaml') == config


def test_a_missing_or_broken_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'give a path or one of: .*linknet_camvid'):
        recipe_path('nothing')
    (tmp_path / 'a.yaml').write_text('- 1')
    with pytest.raises(ValueError, match='expected a mapping'):
        load_train_config(tmp_path / 'a.yaml')


def test_defaults_are_valid():
    assert TrainConfig().stages[0].epochs > 0
