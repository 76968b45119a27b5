"""What every data set promises, on three images in its own files."""

import numpy as np
import pytest

from seg_ros.datasets import DATASETS, build_dataset
from test.datasets.conftest import WRITERS, write_virtual_kitti_2

# Rendered, not read: its own tests render.
WITHOUT_FILES = {'robocup_scenes'}


def test_gives_the_images_and_labels_that_were_written(fixture):
    dataset = build_dataset(fixture.name, fixture.folder, fixture.split, fixture.options)
    assert list(dataset.names) == list(fixture.truth)
    assert len(dataset) == 3
    known = {entry.id for entry in dataset.classes} | {255}
    for i, (image, labels) in enumerate(fixture.truth.values()):
        sample = dataset[i]
        assert sample.name == dataset.names[i]
        assert sample.image.dtype == sample.labels.dtype == np.uint8
        assert sample.image.shape == (*sample.labels.shape, 3)
        assert set(np.unique(sample.labels).tolist()) <= known
        np.testing.assert_array_equal(sample.labels, labels)
        assert sample.remarks == ()
        if image is not None:  # JPEG is lossy
            np.testing.assert_array_equal(sample.image, image)
        again = dataset[i]
        np.testing.assert_array_equal(again.image, sample.image)
        np.testing.assert_array_equal(again.labels, sample.labels)


def test_unknown_splits_and_options_list_what_there_is(fixture):
    with pytest.raises((ValueError, FileNotFoundError), match='nowhere'):
        build_dataset(fixture.name, fixture.folder, 'nowhere', fixture.options)
    with pytest.raises(ValueError, match=r"no option \['speed'\]; its options: "):
        build_dataset(fixture.name, fixture.folder, fixture.split, {'speed': 1})


@pytest.mark.parametrize('name', sorted(DATASETS.keys() - WITHOUT_FILES))
def test_a_missing_folder_is_not_found(name, tmp_path):
    options = {'classes': str(tmp_path / 'c.yaml')} if name == 'bag' else {}
    with pytest.raises(FileNotFoundError):
        build_dataset(name, tmp_path / 'nothing', options=options)


def test_every_data_set_of_files_has_a_fixture(tmp_path):
    written = {writer(tmp_path / writer.__name__).name for writer in WRITERS}
    assert written == DATASETS.keys() - WITHOUT_FILES


def test_an_unknown_name_lists_the_data_sets():
    with pytest.raises(ValueError, match=r"unknown dataset 'x'; available: bag, camvid"):
        build_dataset('x', '.')


def test_virtual_kitti_2_is_read_from_separate_archives_too(tmp_path):
    fixture = write_virtual_kitti_2(tmp_path, split_archives=True)
    dataset = build_dataset('virtual_kitti', tmp_path)
    assert list(dataset.names) == list(fixture.truth)
    np.testing.assert_array_equal(dataset[2].labels, fixture.truth[dataset.names[2]][1])
