"""No result is lost, silently replaced or left half written; commands as a user runs them."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest

from seg_ros import result_files
from seg_ros.cli import main
from seg_ros.result_files import demand_place, write_atomically, write_picture, write_text
from test.evaluation.conftest import build_bag, scene
from test.evaluation.test_offline import on_bag

NO_UTF8 = os.fsdecode(b'caf\xe9')


@pytest.fixture
def arguments(tmp_path, primary_model):
    """An evaluation of two frames."""
    bag = build_bag(2).save(tmp_path / 'drive')
    engine = ['--model', primary_model, '--backend', 'onnxruntime', '--quiet']
    return [*map(str, ['evaluate', *on_bag(bag), *engine])]


@pytest.mark.parametrize('option', ['--json', '--html'])
def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    tmp_path, arguments, capsys, option
):
    (tmp_path / 'file').touch()
    assert main([*arguments, option, str(tmp_path / 'file' / 'report')]) == 2
    assert main([*arguments, option, str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert 'cannot be written' in printed.err
    assert 'is a folder' in printed.err
    assert 'mIoU' not in printed.out


@pytest.mark.parametrize('option', ['--json', '--html'])
def test_an_existing_report_is_replaced_only_when_asked_for(tmp_path, arguments, capsys, option):
    report = tmp_path / 'report'
    report.write_text('of last week')
    assert main([*arguments, option, str(report)]) == 2
    assert 'report exists; choose another name' in capsys.readouterr().err
    assert report.read_text() == 'of last week'
    assert main([*arguments, option, str(report), '--overwrite']) == 0
    assert 'mIoU' in report.read_text() or 'miou' in report.read_text()


def test_scores_are_printed_even_where_the_disk_is_full_at_the_end(
    tmp_path, arguments, capsys, monkeypatch
):
    def full(_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(result_files.os, 'fsync', full)
    report = tmp_path / 'report.json'
    assert main([*arguments, '--json', str(report)]) == 2
    printed = capsys.readouterr()
    assert 'mIoU' in printed.out
    assert f'{report} cannot be written: No space left' in printed.err
    assert {path.name for path in tmp_path.iterdir()} == {'drive'}


def test_scores_are_printed_where_the_disk_does_not_hold_the_written_bag(tmp_path, arguments):
    written = tmp_path / 'written'
    done = subprocess.run(
        [sys.executable, '-m', 'seg_ros', *arguments, '--write-bag', written],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 2
    assert 'mIoU' in done.stdout
    assert done.stderr.count('evaluate: ') == 1
    assert f'{written} cannot be written: File too large; the recording is inc' in done.stderr


def test_a_report_may_go_to_a_pipe(arguments):
    command = [sys.executable, '-m', 'seg_ros', *arguments, '--json', '/dev/stderr']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stderr[done.stderr.index('{') :])['frames'] == 2


def test_a_video_that_the_disk_does_not_hold_is_no_success(tmp_path, primary_model):
    video = tmp_path / 'drive.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, (64, 48))
    for seed in range(60):
        writer.write(scene(seed)[0][..., ::-1].copy())
    writer.release()
    out = tmp_path / 'out'
    options = ['--model', primary_model, '--backend', 'onnxruntime', '--quiet', '--out', out]
    done = subprocess.run(
        [sys.executable, '-m', 'seg_ros', 'predict', video, *options],
        capture_output=True,
        text=True,
        check=False,
        # Writing fails from there on, as it does where the disk is full.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 2
    assert 'of 60 frames' in done.stderr
    assert not list(out.iterdir())


def test_a_reader_that_has_enough_is_no_fault():
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, '-m', 'seg_ros', 'interface', '--node', 'evaluation']
    done = subprocess.run(
        command, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, '')


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    write_atomically(path, b'old')
    monkeypatch.setattr(result_files.os, 'fsync', lambda _: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):  # noqa: PT011 (any)
        write_atomically(path, b'new')
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_names_that_are_no_utf8_are_written_printed_and_reported(tmp_path, primary_model, capfd):
    """They are not shown as they are, but nothing is lost for them."""
    image = scene(1)[0][..., ::-1]
    (tmp_path / 'in').mkdir()
    cv2.imwrite(str(tmp_path / 'in' / 'a.png'), image)
    out = tmp_path / NO_UTF8
    options = ['--model', primary_model, '--backend', 'onnxruntime', '--quiet']
    assert main([*map(str, ['predict', tmp_path / 'in', '--out', out, *options])]) == 0
    assert 'caf\\udce9' in capfd.readouterr().out
    assert (out / 'labels' / 'a.png').stat().st_size
    write_picture(tmp_path / f'{NO_UTF8}.png', np.zeros((4, 4), np.uint8))
    assert (tmp_path / f'{NO_UTF8}.png').stat().st_size
    write_text(tmp_path / 'names.json', json.dumps([NO_UTF8], ensure_ascii=False))
    assert json.loads((tmp_path / 'names.json').read_text()) == [NO_UTF8]


@pytest.mark.parametrize('where', ['in.mp4', 'out'])
def test_videos_whose_name_is_no_utf8_are_refused_in_words(tmp_path, primary_model, capfd, where):
    video = tmp_path / 'in.mp4'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'mp4v'), 10.0, (64, 48))
    writer.write(scene(1)[0])
    writer.release()
    out = tmp_path / NO_UTF8 if where == 'out' else tmp_path
    if where != 'out':
        video = video.rename(tmp_path / f'{NO_UTF8}.mp4')
    options = ['--model', primary_model, '--backend', 'onnxruntime', '--quiet']
    assert main([*map(str, ['predict', video, '--out', out, *options])]) == 2
    assert 'is no UTF-8' in capfd.readouterr().err


def test_a_place_is_tried_without_a_trace(tmp_path):
    demand_place(tmp_path / 'new' / 'report.json', overwrite=False)
    assert not list((tmp_path / 'new').iterdir())
