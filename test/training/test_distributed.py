"""Two gloo processes do what one does."""

import socket
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file

from seg_ros.training.checkpoint import load_checkpoint
from seg_ros.training.loop import train
from test.training.conftest import ROOT, environment
from test.training.two_losses import TERMS, batches, loss_and_gradient


def run_two(module, *arguments):
    """Run a module in two processes that talk over gloo."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node=2'),
            *('--master-addr=127.0.0.1', f'--master-port={port}', '-m', module, *arguments),
        ],
        cwd=ROOT,
        env=environment(GLOO_SOCKET_IFNAME='lo'),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_loss_of_two_processes_is_that_of_one_with_all_images(tmp_path):
    # Cases: uneven void, no labelled pixel in one process, none in both; see two_losses.
    run_two('test.training.two_losses', tmp_path)
    first, second = (load_file(tmp_path / f'{rank}.safetensors') for rank in (0, 1))
    for case, (images, labels) in batches().items():
        for name in TERMS:
            loss, gradient = loss_and_gradient(name, images, labels)
            both = [part[f'{case} {name} loss'] for part in (first, second)]
            torch.testing.assert_close(sum(both) / 2, loss, rtol=1e-5, atol=1e-7)
            parts = [part[f'{case} {name} gradient'] for part in (first, second)]
            gradients = torch.cat(parts) / 2  # as DistributedDataParallel averages
            torch.testing.assert_close(gradients, gradient, rtol=1e-5, atol=1e-8)


def test_two_processes_give_the_weights_and_scores_of_one(tiny_config, tiny_settings, tmp_path):
    # Statistics of batch normalisation and dropout masks are those of each process's own images.
    # Uneven void and class weights make the means over pixels differ from process to process.
    settings = [
        'net_options={dropout: 0.0, norm: false}',
        'optimizer.name=sgd',
        'loss.class_weights=median_frequency',
        'loss.terms={cross_entropy: 1.0, focal: 0.5, ohem: 0.5, dice: 0.5, lovasz: 0.5}',
        'stages=[{epochs: 3, batch_size: 4, learning_rate: 0.05}]',
        'augment.noise=0.5',
    ]
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(tiny_config(*settings), one, quiet=True)
    run_two(
        'test.training.tiny_net',
        'train',
        '--quiet',
        '--run-folder',
        two,
        *tiny_settings,
        *settings,
    )
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
