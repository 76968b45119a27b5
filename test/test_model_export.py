import copy
import hashlib
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from safetensors.torch import load_file, save_file

from seg_ros import model_export
from seg_ros.model_card import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    ClassInfo,
    InputSpec,
    ModelCard,
    load_model_card,
    save_model_card,
)
from seg_ros.model_export import export_net
from seg_ros.nets import NETS, build_net
from seg_ros.nets.deployed import DeployedNet, load_net, save_weights
from seg_ros.nets.onnx_graph import write_graph
from seg_ros.parity import ENGINES, compare_logits
from test.nets.images import data_file, scene
from test.test_shipped_models import assert_old_engines_read

SIZE = (64, 96)
UNPOOLING = ('segnet', 'segnet_basic')


def card_for(name, net, *, size=SIZE, num_classes=4, **changes):
    spec = InputSpec(*size, net.logits_stride)
    classes = tuple(ClassInfo(i, f'class_{i}', (i, i, i)) for i in range(num_classes))
    return replace(ModelCard('exported', name, classes, spec), **changes)


def warm_net(name, num_classes=4, options=None, size=SIZE):
    """A net with the batch statistics of some scenes, so that its maps are of order one."""
    torch.manual_seed(0)
    net = build_net(name, num_classes, options=options)
    batch = np.stack([scene(*size, seed=seed) for seed in range(2)])
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        for _ in range(3):
            net((pixels / 255 - 0.45) / 0.225)
    return net.eval()


@pytest.fixture(scope='module')
def slim():
    return warm_net('slim_multibranch')


@pytest.fixture(scope='module')
def exported(slim, tmp_path_factory):
    folder = tmp_path_factory.mktemp('models') / 'exported'
    export_net(slim, card_for('slim_multibranch', slim), folder, [scene(*SIZE)])
    return folder


@pytest.mark.parametrize('name', sorted(n for n, t in NETS.items() if t.startswith('seg_ros.')))
def test_both_engines_give_the_labels_of_torch(name, tmp_path):
    net = warm_net(name)
    images = [scene(*SIZE, seed=seed) for seed in (5, 6)]
    parity = export_net(net, card_for(name, net), tmp_path / 'm', images)
    assert parity['storage'].label_agreement == 1
    for engine in ('onnxruntime', 'openvino'):
        assert parity[engine].label_agreement >= 0.999
        assert parity[engine].relative_error <= (5e-2 if name in UNPOOLING else 1e-3)
        assert parity[engine].usual_error <= 1e-3
    card = load_model_card(tmp_path / 'm')
    assert set(card.files) == {GRAPH_FILE, WEIGHTS_FILE}
    assert card.provenance['export_parity']['openvino']['label_agreement'] >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('segnet_basic', {'decoder': 'bilinear'}),
        ('segnet_basic', {'decoder': 'fcn'}),
        ('segnet_basic', {'decoder': 'single_channel'}),
        ('slim_multibranch', {'depthwise_encoder': True, 'bilinear_upsampling': True}),
        ('slim_multibranch', {'crop_instead_of_pad': True}),
        ('slim_multibranch', {'batch_norms': True}),
        ('nimbronet2', {'map_height': 16, 'map_width': 24}),
        ('fast_scnn', {'auxiliary_heads': False}),
        ('linknet', {'encoder': 'mobilenet_v2'}),
        ('mini_unet', {'encoder': 'efficientnet_lite0'}),
    ],
)
def test_options_survive_the_export(name, options, tmp_path):
    net = warm_net(name, options=options)
    card = card_for(name, net, net_options=options)
    export_net(net, card, tmp_path / 'm', [scene(*SIZE)])
    assert load_model_card(tmp_path / 'm').net_options == options


@pytest.mark.parametrize('name', ['mini_unet', 'segnet_basic', 'swiftnet'])
def test_sizes_that_do_not_fit_the_stride_are_handled_in_the_graph(name, tmp_path):
    net = warm_net(name)
    card = card_for(name, net, size=(60, 92))
    export_net(net, card, tmp_path / 'm', [scene(60, 92)])
    session = onnxruntime.InferenceSession(tmp_path / 'm' / GRAPH_FILE)
    stride = net.logits_stride
    assert session.get_outputs()[0].shape == [1, 4, 60 // stride, 92 // stride]


def test_convolutions_pad_by_themselves(tmp_path):
    net = warm_net('swiftnet')
    export_net(net, card_for('swiftnet', net), tmp_path / 'm', [scene(*SIZE)])
    kinds = {node.op_type for node in onnx.load(tmp_path / 'm' / GRAPH_FILE).graph.node}
    assert 'Conv' in kinds
    assert 'Pad' not in kinds


def test_graph_has_the_promised_inputs_and_outputs(exported):
    session = onnxruntime.InferenceSession(exported / GRAPH_FILE)
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ('image', 'tensor(uint8)', [1, *SIZE, 3])
    assert (logits.name, logits.type, logits.shape) == ('logits', 'tensor(float)', [1, 4, *SIZE])
    assert_old_engines_read(exported / GRAPH_FILE)


def test_heatmaps_are_a_second_output_in_both_engines(tmp_path):
    net = warm_net('nimbronet2')
    card = card_for('nimbronet2', net)
    image = scene(*SIZE)
    export_net(net, card, tmp_path / 'm', [image])
    deployed = load_net(load_model_card(tmp_path / 'm'))
    with torch.inference_mode():
        expected = deployed.outputs(torch.from_numpy(image[np.newaxis]))
    path = tmp_path / 'm' / GRAPH_FILE
    session = onnxruntime.InferenceSession(path)
    assert [each.name for each in session.get_outputs()] == ['logits', 'heatmaps']
    precise = {'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = openvino.Core().compile_model(path, 'CPU', precise)(image[np.newaxis])
    found = session.run(['heatmaps'], {'image': image[np.newaxis]})[0]
    for heatmaps in (found, compiled['heatmaps']):
        np.testing.assert_allclose(heatmaps, expected['heatmaps'], rtol=1e-3, atol=1e-4)


def test_same_net_gives_the_same_bytes_without_traces_of_the_machine(slim, tmp_path):
    deployed = DeployedNet(slim, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()
    for name in ('a.onnx', 'b.onnx'):
        write_graph(copy.deepcopy(deployed), SIZE, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ('a.onnx', 'b.onnx'))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert b'.py' not in first
    assert str(model_export.__file__).rsplit('/', 2)[0].encode() not in first


def test_float16_halves_both_files_and_is_computed_in_float32(slim, tmp_path):
    card = card_for('slim_multibranch', slim)
    for dtype in ('float32', 'float16'):
        folder = tmp_path / dtype
        export_net(slim, card, folder, [scene(*SIZE)], weights_dtype=dtype)
    for name in (GRAPH_FILE, WEIGHTS_FILE):
        half, full = ((tmp_path / d / name).stat().st_size for d in ('float16', 'float32'))
        assert half < 0.6 * full
    graph = onnx.load(tmp_path / 'float16' / GRAPH_FILE).graph
    stored = load_file(tmp_path / 'float16' / WEIGHTS_FILE)
    halves = [each for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT16]
    assert len(halves) == sum(each.dtype == torch.float16 for each in stored.values()) > 15
    assert stored['net.deep.4.running_var'].dtype == torch.float32
    loaded = load_net(load_model_card(tmp_path / 'float16'))
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    rounded = slim.net.head.weight.half().float()
    assert torch.equal(loaded.net.net.head.weight, rounded)


def test_net_and_its_mode_stay_as_they_were(tmp_path):
    net = warm_net('slim_multibranch').train()
    before = copy.deepcopy(net.state_dict())
    card = card_for('slim_multibranch', net)
    export_net(net, card, tmp_path / 'm', [scene(*SIZE)], weights_dtype='float16')
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_refuses_to_write_when_the_graph_is_of_another_net(slim, tmp_path, monkeypatch):
    other = warm_net('slim_multibranch')
    torch.nn.init.normal_(other.net.head.weight)

    def write_other(deployed, size_hw, path, dtype='float32'):
        write_graph(DeployedNet(other, (0.5,) * 3, (0.2,) * 3).eval(), size_hw, path, dtype)

    monkeypatch.setattr(model_export, 'write_graph', write_other)
    with pytest.raises(ValueError, match='is not written, an engine disagrees with torch'):
        export_net(slim, card_for('slim_multibranch', slim), tmp_path / 'm', [scene(*SIZE)])
    assert list(tmp_path.iterdir()) == []


def test_refuses_weights_that_give_no_numbers(tmp_path):
    net = warm_net('slim_multibranch')
    with torch.no_grad():
        net.net.head.bias[0] = float('nan')
    with pytest.raises(ValueError, match='is not written'):
        export_net(net, card_for('slim_multibranch', net), tmp_path / 'm', [scene(*SIZE)])
    assert list(tmp_path.iterdir()) == []


def test_refuses_float16_where_it_changes_the_labels(tmp_path):
    net = warm_net('slim_multibranch', num_classes=2)
    with torch.no_grad():  # two classes that differ by less than float16 can tell
        net.net.head.weight[1] = net.net.head.weight[0] * (1 + 1e-4)
        net.net.head.bias.zero_()
    card = card_for('slim_multibranch', net, num_classes=2)
    with pytest.raises(ValueError, match='Store them as float32'):
        export_net(net, card, tmp_path / 'm', [scene(*SIZE)], weights_dtype='float16')
    export_net(net, card, tmp_path / 'm', [scene(*SIZE)], weights_dtype='float32')


def test_failed_export_leaves_the_old_folder(slim, exported, tmp_path):
    folder = tmp_path / 'm'
    card = card_for('slim_multibranch', slim)
    export_net(slim, card, folder, [scene(*SIZE)])
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    with pytest.raises(FileExistsError, match='allow overwriting'):
        export_net(slim, card, folder, [scene(*SIZE)])
    broken = copy.deepcopy(slim)
    torch.nn.init.constant_(broken.net.head.weight, float('nan'))
    with pytest.raises(ValueError, match='is not written'):
        export_net(broken, card, folder, [scene(*SIZE)], overwrite=True)
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ['m']


def test_overwrites_as_a_whole_when_asked(slim, tmp_path):
    folder = tmp_path / 'm'
    folder.mkdir()
    (folder / 'left_over').write_text('old')
    export_net(slim, card_for('slim_multibranch', slim), folder, [scene(*SIZE)], overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ['model.yaml', GRAPH_FILE, WEIGHTS_FILE]
    )
    assert [path.name for path in tmp_path.iterdir()] == ['m']


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        ([], 'no image to check'),
        ([np.zeros((32, 96, 3), np.uint8)], r'expected \(64, 96, 3\) uint8'),
        ([np.zeros((64, 96, 3), np.float32)], 'float32; expected'),
    ],
)
def test_wrong_images_are_refused(slim, tmp_path, images, message):
    with pytest.raises(ValueError, match=message):
        export_net(slim, card_for('slim_multibranch', slim), tmp_path / 'm', images)


def test_card_must_speak_of_the_net(slim, tmp_path):
    card = card_for('slim_multibranch', slim, input=InputSpec(*SIZE, 4))
    with pytest.raises(ValueError, match=r'logits_stride 4, net .* has 1'):
        export_net(slim, card, tmp_path / 'm', [scene(*SIZE)])
    card = card_for('slim_multibranch', slim, num_classes=5)
    with pytest.raises(ValueError, match='does not fit net'):
        export_net(slim, card, tmp_path / 'm', [scene(*SIZE)])
    with pytest.raises(ValueError, match='allowed are float32 and float16'):
        export_net(slim, card, tmp_path / 'm', [scene(*SIZE)], weights_dtype='int8')
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_net_are_not_loaded(slim, tmp_path):
    save_file({'a': torch.zeros(1)}, tmp_path / WEIGHTS_FILE)
    save_model_card(card_for('slim_multibranch', slim, files={WEIGHTS_FILE: ''}), tmp_path)
    with pytest.raises(ValueError, match='does not fit net'):
        load_net(load_model_card(tmp_path))


def test_saved_weights_load_bit_by_bit(slim, tmp_path):
    save_weights(slim, tmp_path / WEIGHTS_FILE)
    save_model_card(card_for('slim_multibranch', slim, files={WEIGHTS_FILE: ''}), tmp_path)
    loaded = load_net(load_model_card(tmp_path))
    assert not loaded.training
    state = loaded.net.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in slim.state_dict().items())


def test_comparison_reports_the_worst_image():
    expected = [np.array([[[0.0, 1.0]], [[1.0, 0.0]]], np.float32)] * 2
    flipped = expected[0][::-1].copy()
    parity = compare_logits(expected, [expected[0], flipped])
    assert (parity.label_agreement, parity.relative_error) == (0.0, 1.0)
    with pytest.raises(ValueError, match='the reference gives'):
        compare_logits(expected[:1], [expected[0][:, :, :1]])


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'step'), [('mini_unet', 1), ('linknet', 1), ('segnet', 2)])
def test_real_road_images(name, step, tmp_path):
    # At full size, but SegNet, which takes fourteen times what the others take, at half of it.
    import cv2

    paths = sorted(data_file('camvid/val').glob('*.png'))[::50]
    images = [cv2.imread(str(path))[::step, ::step, ::-1].copy() for path in paths]
    net = warm_net(name, num_classes=11)
    card = card_for(name, net, size=images[0].shape[:2], num_classes=11)
    parity = export_net(net, card, tmp_path / 'm', images, weights_dtype='float32')
    assert min(parity[engine].label_agreement for engine in ENGINES) >= 0.999
