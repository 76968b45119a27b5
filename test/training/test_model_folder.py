"""Export of a run that ended long ago: the temperature is fitted where labelled images are."""

import shutil

import pytest

from seg_ros import cli
from seg_ros.calibration import calibrated_temperature
from seg_ros.datasets import build_dataset
from seg_ros.segmenter import load
from test.training.conftest import write_folder


@pytest.fixture
def run(tiny_settings, data_folder, tmp_path):
    """A run on data of its own, which may be taken away."""
    data = shutil.copytree(data_folder, tmp_path / 'data')
    settings = [*tiny_settings, f'data={data}', 'max_steps=4']
    assert cli.main(['train', '--quiet', '--run-folder', str(tmp_path / 'run'), *settings]) == 0
    return tmp_path / 'run'


def export(trained, folder, images, *arguments):
    arguments = [str(trained), str(folder), '--images', str(images), *map(str, arguments)]
    assert cli.main(['export', *arguments, '--weights-dtype', 'float32', '--overwrite']) == 0
    return load(folder)


def test_export_fits_the_temperature_on_the_data_that_are_there(
    run, data_folder, tmp_path, capsys
):
    images, folder = data_folder / 'images/val', tmp_path / 'models/mine'
    segmenter = export(run, folder, images)
    val = build_dataset('folder', data_folder, 'val')
    fitted = calibrated_temperature(segmenter, [val[i] for i in range(len(val))])
    assert segmenter.card.temperature == pytest.approx(fitted, abs=1e-3)
    assert segmenter.card.temperature != 1.0
    note = segmenter.card.provenance['temperature_from']
    assert note == {'source': 'validation images of the run', 'images': len(val)}

    shutil.rmtree(tmp_path / 'data')
    capsys.readouterr()
    bare = export(run, folder, images)
    assert 'temperature not fitted, give --calibration-data' in capsys.readouterr().out
    assert bare.card.temperature == 1.0
    assert 'temperature_from' not in bare.card.provenance

    other = write_folder(tmp_path / 'other', count=6, size_hw=(44, 60))
    given = export(folder, tmp_path / 'models/again', images, '--calibration-data', other)
    fresh = build_dataset('folder', other)
    fitted = calibrated_temperature(given, [fresh[i] for i in range(len(fresh))])
    assert given.card.temperature == pytest.approx(fitted, abs=1e-3)
    note = {'source': 'folder, split all', 'images': len(fresh)}
    assert given.card.provenance['temperature_from'] == note

    kept = export(tmp_path / 'models/again', folder, images)
    assert kept.card.temperature == given.card.temperature
