import pytest

from seg_ros.cli import main
from seg_ros.commands.render import parse_size
from seg_ros.datasets import build_dataset
from seg_ros.scenes.stage import shared_stage


def test_a_rendered_folder_is_a_data_set_whatever_the_workers(tmp_path):
    try:
        shared_stage()
    except FileNotFoundError as error:
        pytest.skip(f'no rendering on this machine: {error}')
    common = ['render', '--count', '3', '--seed', '8', '--size', '96x64', '--classes', '6']
    for workers in ('1', '2'):
        out = tmp_path / workers
        assert main([*common, '--out', str(out), '--workers', workers]) == 0
    one, two = (sorted((tmp_path / name).rglob('*.*')) for name in '12')
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    dataset = build_dataset('folder', tmp_path / '1')
    assert [entry.name for entry in dataset.classes][-2:] == ['goal', 'robot']
    assert dataset[2].labels.shape == (64, 96)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--count', '0'], '--count 0'),
        (['--size', '640'], 'write WIDTHxHEIGHT'),
        (['--size', '8x8'], 'width_px is 8'),
        (['--workers', '0'], '--workers 0'),
        (['--seed', '-3'], 'seed -3'),
        (['--backgrounds', 'nowhere'], 'nowhere is no folder'),
    ],
)
def test_bad_options_say_what_is_allowed(tmp_path, capsys, options, message):
    assert main(['render', '--out', str(tmp_path / 'new'), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_with_files_is_not_written_over(tmp_path, capsys):
    (tmp_path / 'mine.txt').write_text('keep')
    assert main(['render', '--out', str(tmp_path), '--count', '1']) == 2
    assert 'not empty' in capsys.readouterr().err


def test_size_is_read():
    assert parse_size('320x200') == (320, 200)
