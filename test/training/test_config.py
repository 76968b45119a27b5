from pathlib import Path

import pytest

from seg_ros.datasets import DATASETS
from seg_ros.nets import NETS, net_options
from seg_ros.share import share_file
from seg_ros.training.config import TrainConfig
from seg_ros.training.optimizers import build_optimizer
from seg_ros.training.recipes import load_train_config, recipe_path, save_train_config
from test.training.tiny_net import TinyNet

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


@pytest.mark.parametrize('name', ['my-model', 'MyModel', 'Road.v2', '2026_11_27'])
def test_usual_names_of_models_are_taken(name):
    assert load_train_config(None, [f'name="{name}"']).name == name


@pytest.mark.parametrize(
    'name', ['my model', '../models/x', 'a/b', '.hidden', '-x', '', 'x' * 101]
)
def test_what_cannot_name_a_model_is_refused_before_training(name):
    with pytest.raises(ValueError, match='use up to 100 letters, digits'):
        load_train_config(None, [f'name="{name}"'])


def test_no_recipe_bears_the_name_of_a_shipped_model():
    shipped = {card.parent.name for card in share_file('models').glob('*/model.yaml')}
    assert shipped
    assert shipped.isdisjoint(load_train_config(path).name for path in RECIPES)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('sgd', {'momentum': 0.9, 'weight_decay': 1e-4}),
        ('rmsprop', {'momentum': 0.0, 'weight_decay': 0.0}),
        ('adam', {'betas': (0.9, 0.999), 'weight_decay': 0.0}),
        ('adamw', {'betas': (0.9, 0.999), 'weight_decay': 1e-2}),
    ],
)
@pytest.mark.parametrize('recipe', [None, 'linknet_camvid', 'fast_scnn_camvid', 'fine_tune'])
def test_an_optimizer_named_alone_has_its_own_momentum_and_decay(recipe, name, expected):
    path = recipe_path(recipe) if recipe else None
    if path and load_train_config(path).optimizer.name == name:
        return  # the recipe says what it wants
    options = load_train_config(path, [f'optimizer.name={name}']).optimizer
    optimizer = build_optimizer(
        TinyNet(3),
        name=options.name,
        learning_rate=1e-3,
        weight_decay=options.weight_decay,
        decay_norms=True,
        momentum=options.momentum,
        encoder_factor=1.0,
    )
    group = optimizer.param_groups[0]
    assert {key: group[key] for key in expected} == expected


def test_what_is_said_of_an_optimizer_counts_in_any_order():
    path = recipe_path('linknet_camvid')
    for overrides in (
        ['optimizer.momentum=0.5', 'optimizer.name=sgd'],
        ['optimizer.name=sgd', 'optimizer.momentum=0.5'],
    ):
        options = load_train_config(path, overrides).optimizer
        assert (options.momentum, options.weight_decay) == (0.5, 1e-4)
    kept = load_train_config(path, ['optimizer.name=rmsprop', 'optimizer.weight_decay=0.1'])
    assert (kept.optimizer.momentum, kept.optimizer.weight_decay) == (0.0, 0.1)


def test_the_rate_of_another_optimizer_is_pointed_at(caplog):
    load_train_config(recipe_path('linknet_camvid'), ['optimizer.name=sgd'])
    assert 'the learning rate is still the one for rmsprop' in caplog.text
    caplog.clear()
    load_train_config(recipe_path('linknet_camvid'), ['optimizer.name=sgd', 'lr=0.1'])
    assert not caplog.text


def test_short_names_reach_every_stage():
    three = (
        'stages=[{epochs: 30, learning_rate: 1e-3}, {epochs: 15, learning_rate: 5e-4}, '
        '{epochs: 1, learning_rate: 1e-4}]'
    )
    config = load_train_config(
        None, [three, 'epochs=12', 'batch_size=3', 'lr=0.1', 'size=480x640']
    )
    assert [stage.epochs for stage in config.stages] == [8, 3, 1]
    assert [stage.batch_size for stage in config.stages] == [3, 3, 3]
    rates = [stage.learning_rate for stage in config.stages]
    assert rates == pytest.approx([0.1, 0.05, 0.01])
    assert (config.height_px, config.width_px) == (480, 640)
    assert [s.epochs for s in load_train_config(None, [three, 'epochs=3']).stages] == [1, 1, 1]
    assert load_train_config(None, ['epochs=7', 'lr=2e-3']).stages[0].epochs == 7


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('size=640', 'such as size=480x640'),
        ('size=480X640', 'such as size=480x640'),
        ('epochs=0', 'at least one per stage'),
        ('epochs=2.5', 'whole number'),
        ('lr=fast', 'lr=fast'),
        ('lr=1e9', 'outside 0.0 to 100'),
        ('batch_size=0', 'outside 1 to'),
    ],
)
def test_wrong_short_values_are_explained(override, message):
    with pytest.raises(ValueError, match=message):
        load_train_config(None, [override])
