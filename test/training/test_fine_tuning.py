"""The recipe for a team's own pitch, on pictures of one that the shipped model has never seen."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from seg_ros.scenes.labels import BALL, SCENE_CLASSES
from seg_ros.scenes.renderer import SceneRenderer
from seg_ros.scenes.scene import random_scene
from seg_ros.training.loop import train
from seg_ros.training.phases import autocast, input_spec
from seg_ros.training.preparation import prepare
from seg_ros.training.recipes import load_train_config, recipe_path
from seg_ros.training.validation import Validator

SHIPPED = Path(__file__).parents[2] / 'models' / 'robocup_mini_unet'
BLUE, YELLOW, GREEN = (0.1, 0.2, 0.6), (0.95, 0.8, 0.1), (0.3, 0.9, 0.2)


def other_pitch(rng):
    """A scene on a blue carpet with yellow lines and a green ball, as no league has it."""
    scene = random_scene(rng, 256, 192)
    parts = tuple(
        replace(part, color=GREEN, texture='ball_seams') if part.label == BALL else part
        for part in scene.parts
    )
    carpet = replace(scene.carpet, color=BLUE, line_color=YELLOW, hue_shift=(0.0, 0.0, 0.3))
    return replace(scene, carpet=carpet, parts=parts)


def write_pictures(folder):
    """Render 20 pictures to train on and 10 that are held out."""
    renderer = SceneRenderer(4)
    for split, seed, count in (('train', 1, 20), ('val', 2, 10)):
        for name in ('images', 'labels'):
            (folder / name / split).mkdir(parents=True)
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            image, labels = renderer.render(other_pitch(rng), rng)
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / 'images' / split / f'{index}.png'), bgr)
            cv2.imwrite(str(folder / 'labels' / split / f'{index}.png'), labels)
    classes = [{'name': one.name, 'color': list(one.color)} for one in SCENE_CLASSES[:4]]
    (folder / 'classes.yaml').write_text(yaml.safe_dump({'classes': classes}))


@pytest.fixture(scope='module')
def own_pictures(tmp_path_factory):
    """Pictures of the other pitch, from a process of their own: OpenGL stays out of this one."""
    folder = tmp_path_factory.mktemp('own_pitch')
    with ProcessPoolExecutor(1, get_context('spawn')) as process:
        try:
            process.submit(write_pictures, folder).result()
        except FileNotFoundError as error:
            pytest.skip(f'no rendering on this machine: {error}')
    return folder


@pytest.mark.slow
def test_fine_tuning_on_20_pictures_helps_on_others_of_that_pitch(own_pictures, tmp_path):
    small = ['height_px=192', 'width_px=256', 'split={mode: given}', 'model_dir=', 'device=cpu']
    stages = 'stages=[{epochs: 3, learning_rate: 5.0e-4, batch_size: 4}]'
    start = [f'data={own_pictures}', f'init_from={SHIPPED}']
    config = load_train_config(recipe_path('fine_tune'), [*start, *small, stages])

    run = prepare(config, tmp_path / 'before', record=False)
    spec = input_spec(config, config.stages[0], run.model.net.logits_stride)
    validator = Validator(run.stores['val'], spec, len(run.survey.classes), run.device)
    before = validator.run(run.model.net, autocast(config, run.device)).scores
    run = train(config, tmp_path / 'run', quiet=True)
    after = run.progress.history[-1]

    assert after['mean_iou'] > before.mean_iou + 0.15, (before.iou, after['iou'])
