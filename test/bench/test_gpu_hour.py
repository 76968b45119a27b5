import tarfile

import cv2
import numpy as np
import torch

from bench import gpu_hour
from seg_ros.model_card import ClassInfo, InputSpec, ModelCard, load_model_card
from seg_ros.nets import build_net
from seg_ros.nets.deployed import load_net
from seg_ros.training.recipes import load_train_config, recipe_path


def small_camvid(folder):
    rng = np.random.default_rng(0)
    for split, drives in (('train', ('0006R0', '0016E5', '0001TP')), ('val', ('0016E5',))):
        lines = []
        for kind in (split, f'{split}annot'):
            (folder / kind).mkdir(parents=True)
        for drive in drives:
            name = f'{drive}_{split}.png'
            image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (80, 60))
            cv2.imwrite(str(folder / split / name), image)
            cv2.imwrite(
                str(folder / f'{split}annot' / name), rng.integers(0, 12, (60, 80), np.uint8)
            )
            lines.append(f'/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}')
        (folder / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    return folder


def test_every_plan_is_a_recipe_with_settings_that_exist():
    for plan in gpu_hour.PLANS.values():
        load_train_config(recipe_path(plan.recipe), plan.settings)


def test_an_hour_from_the_package_to_the_model_folder(tmp_path, capsys):
    package, out = tmp_path / 'hour.tar', tmp_path / 'results'
    camvid = small_camvid(tmp_path / 'camvid')
    assert gpu_hour.main(['pack', '--camvid', str(camvid), str(package)]) == 0
    with tarfile.open(package) as archive:
        names = archive.getnames()
    assert 'camvid/val/0016E5_val.jpg' in names
    assert 'packages/yaml/__init__.py' in names
    settings = ['device=cpu', 'max_steps=2', 'height_px=64', 'width_px=96', 'ema_decay=0.9']
    settings += ['stages=[{epochs: 2, batch_size: 2}]', 'loss.class_weights=none']
    given = ['run', str(package), '--out', str(out), '--minutes', '1', '--nets', 'road_swiftnet']
    assert gpu_hour.main([*given, '--settings', *settings]) == 0
    assert 'road_swiftnet: 2 epochs' in capsys.readouterr().out
    assert gpu_hour.main(['join', str(out)]) == 0
    card = load_model_card(out / 'road_swiftnet')
    assert card.input.mean == (127 / 255,) * 3
    assert load_net(card).net.logits_stride == 4


def test_weights_come_in_parts_and_are_whole_again(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_hour, 'PART_BYTES', 100_000)
    torch.manual_seed(0)
    net = build_net('slim_multibranch', 3).eval()
    classes = tuple(ClassInfo(i, f'c{i}', (i, i, i)) for i in range(3))
    card = ModelCard('slim', 'slim_multibranch', classes, InputSpec(64, 96))
    gpu_hour.write_parts(net, card, tmp_path / 'slim')
    parts = list((tmp_path / 'slim').glob('weights.safetensors.*'))
    assert len(parts) > 5
    assert max(part.stat().st_size for part in parts) <= 100_000
    assert gpu_hour.join(tmp_path) == [tmp_path / 'slim']
    found = load_net(load_model_card(tmp_path / 'slim')).net.state_dict()
    for key, value in net.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-3)


def test_a_net_that_fails_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    def train_one(name, *_):
        if name == 'road_linknet':
            raise ValueError('no')
        return 'done'

    monkeypatch.setattr(gpu_hour, 'train_one', train_one)
    package = tmp_path / 'hour.tar'
    tarfile.open(package, 'w').close()
    gpu_hour.run(package, tmp_path, tmp_path / 'o', ['road_linknet', 'road_swiftnet'], 1, [])
    assert capsys.readouterr().out == 'road_linknet: failed: no\nroad_swiftnet: done\n'
