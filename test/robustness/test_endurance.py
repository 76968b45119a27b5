"""Short runs of what ``make soak`` does for long; correctness only, no bound on time."""

from __future__ import annotations

import pytest

from test.node.conftest import _ros_context  # noqa: F401 - a fixture
from test.robustness.endurance import overload, respawn, soak


@pytest.mark.ros
def test_nothing_is_lost_while_models_and_parameters_change_under_load(primary_model, tmp_path):
    figures = soak(primary_model, tmp_path, 12, 'onnxruntime')
    assert figures['lost'] == figures['unaccounted'] == 0, figures
    assert min(figures['bad'], figures['parameters'], figures['switches']) >= 1, figures
    assert figures['published'] + figures['dropped'] + figures['rejected'] == figures['received']
    assert figures['rejected'] >= 1
    assert figures['threads_last'] <= figures['threads_first'] + 1


@pytest.mark.ros
def test_what_is_too_much_is_dropped_and_counted(primary_model):
    figures = overload(primary_model, 3, backend='onnxruntime')
    assert figures['unaccounted'] == 0, figures
    assert 0 < figures['answered'] <= figures['published'], figures
    assert figures['dropped'] > 0
    assert figures['sent'] == figures['received'] + figures['replaced_in_transport']
    assert figures['replaced_in_transport'] >= 0


@pytest.mark.ros
def test_a_node_that_was_killed_under_load_comes_back(primary_model):
    assert len(respawn(primary_model, 1, 'onnxruntime')['next_label_after_s']) == 1


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_loses_no_saved_epoch(tmp_path):
    pytest.importorskip('torch', reason='torch is not installed')
    from test.robustness.training_kills import kill_training

    found = kill_training(tmp_path, 3)
    assert (found['kills'], found['unreadable'], found['lost']) == (3, 0, 0)
    assert found['epochs'] >= 3
