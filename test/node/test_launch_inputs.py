"""Which images a launched node listens to; launch itself is not needed for it."""

from __future__ import annotations

import pytest

from seg_ros.node.config import NodeConfig
from seg_ros.node.launch_inputs import bag_parameters, file_parameters
from test.evaluation.conftest import IMAGE_TOPIC, build_bag

RAW_NAME = IMAGE_TOPIC.removesuffix('/compressed')


@pytest.mark.parametrize(
    ('section', 'node', 'applies'),
    [
        ('/**', '/segmentation', True),
        ('/**', '/a/b/segmentation', True),
        ('segmentation', '/segmentation', True),
        ('/a/segmentation', '/a/segmentation', True),
        ('/a/segmentation', '/segmentation', False),
        ('/**/segmentation', '/segmentation', True),
        ('/**/segmentation', '/a/other', False),
        ('/*/segmentation', '/a/segmentation', True),
        ('/*/segmentation', '/a/b/segmentation', False),
    ],
)
def test_sections_apply_to_the_nodes_that_they_name(tmp_path, section, node, applies):
    file = tmp_path / 'params.yaml'
    text = '{ros__parameters: {image_topics: [front], use_sim_time: true}}'
    file.write_text(f"'{section}': {text}\n")
    assert file_parameters(file, node) == ({'image_topics': ['front']} if applies else {})


def test_sections_may_lie_in_namespaces_and_the_last_one_counts(tmp_path):
    file = tmp_path / 'params.yaml'
    file.write_text(
        '/**: {ros__parameters: {max_rate: 1.0, model: any}}\n'
        'rig: {segmentation: {ros__parameters: {max_rate: 2.0}}}\n'
    )
    assert file_parameters(file, '/rig/segmentation') == {'max_rate': 2.0, 'model': 'any'}


@pytest.mark.parametrize('text', ['[', '- a list'])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, text):
    file = tmp_path / 'params.yaml'
    file.write_text(text)
    with pytest.raises(ValueError, match=r'params_file:=.*params\.yaml'):
        file_parameters(file, '/segmentation')


@pytest.fixture
def bag(tmp_path):
    return build_bag(1).save(tmp_path / 'drive')


@pytest.mark.parametrize(
    ('namespace', 'topic'), [('', RAW_NAME), ('', RAW_NAME[1:]), ('/camera/', 'image_raw')]
)
def test_a_bag_that_has_the_topic_changes_nothing(bag, namespace, topic):
    config = NodeConfig(image_topics=(topic,), image_transport='compressed')
    assert bag_parameters(bag, config, namespace, chosen=True) == {}


def test_the_only_image_of_a_bag_is_taken_where_none_was_asked_for(bag):
    found = bag_parameters(bag, NodeConfig(), '', chosen=False)
    assert found == {'image_topics': [RAW_NAME], 'image_transport': 'compressed'}
    with pytest.raises(ValueError, match="topic '/image' is not in it"):
        bag_parameters(bag, NodeConfig(), '', chosen=True)
