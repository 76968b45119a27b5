"""Two gloo processes do what one does."""

import socket
import subprocess
import sys

import numpy as np
import torch

from seg_ros.training.checkpoint import load_checkpoint
from seg_ros.training.loop import train
from test.training.conftest import ROOT, environment


def test_two_processes_give_the_weights_and_scores_of_one(tiny_config, tiny_settings, tmp_path):
    # Statistics of batch normalisation and dropout masks are those of each process's own images.
    # Uneven void and class weights make the means over pixels differ from process to process.
    settings = [
        'net_options={dropout: 0.0, norm: false}',
        'optimizer.name=sgd',
        'loss.class_weights=median_frequency',
        'loss.terms={cross_entropy: 1.0, focal: 0.5}',
        'stages=[{epochs: 3, batch_size: 4, learning_rate: 0.05}]',
        'augment.noise=0.5',
    ]
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(tiny_config(*settings), one, quiet=True)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node=2'),
            *('--master-addr=127.0.0.1', f'--master-port={port}'),
            *('-m', 'test.training.tiny_net', 'train', '--quiet', '--run-folder', two),
            *tiny_settings,
            *settings,
        ],
        cwd=ROOT,
        env=environment(GLOO_SOCKET_IFNAME='lo'),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    single, both = load_checkpoint(one), load_checkpoint(two)
    weights, others = single.load_tensors('state'), both.load_tensors('state')
    moved = 0.0
    for key in [key for key in weights if key.startswith('net.')]:
        torch.testing.assert_close(others[key], weights[key], rtol=1e-4, atol=1e-6)
        moved = max(moved, float(weights[key].abs().max()))
    assert moved > 0
    for mine, theirs in zip(single.progress['history'], both.progress['history'], strict=True):
        np.testing.assert_allclose(theirs['mean_iou'], mine['mean_iou'], atol=2e-3)
        np.testing.assert_allclose(theirs['loss'], mine['loss'], rtol=1e-4)
        assert theirs['step'] == mine['step']
