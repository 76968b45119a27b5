import re

import pytest

from seg_ros import cli
from seg_ros.commands.nets import BEGIN, END

SMALL = ['--height', '64', '--width', '96', '--frames', '1']


def test_prints_a_row_with_the_time_in_every_installed_backend(capsys):
    assert cli.main(['nets', 'slim_multibranch', *SMALL, '--num-classes', '14']) == 0
    head, _, row, *_ = capsys.readouterr().out.splitlines()
    assert head == '| net | parameters | GMAC | openvino ms | onnxruntime ms | torch ms |'
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells[:2] == ['`slim_multibranch`', '469,238']
    assert all(float(cell) > 0 for cell in cells[2:])


def test_lists_all_nets_without_timing(capsys):
    assert cli.main(['nets', '--height', '32', '--width', '32', '--frames', '0']) == 0
    names = re.findall(r'^\| `(\w+)`', capsys.readouterr().out, re.MULTILINE)
    assert names == sorted(names)
    assert {'mini_unet', 'linknet', 'segnet'} <= set(names)


def test_writes_only_between_the_marks(tmp_path):
    path = tmp_path / 'page.md'
    path.write_text(f'# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n')
    for _ in range(2):
        arguments = ['fast_scnn', *SMALL[:4], '--frames', '0', '--write', str(path)]
        assert cli.main(['nets', *arguments]) == 0
    text = path.read_text()
    assert text.startswith(f'# Title\n\n{BEGIN}\n| net | parameters | GMAC |\n')
    assert text.endswith(f'.\n{END}\n\nThe end.\n')
    assert 'old' not in text
    assert text.count('fast_scnn') == 1


@pytest.mark.parametrize('content', ['no marks', BEGIN, END])
def test_file_without_marks_is_refused_before_measuring(tmp_path, capsys, content):
    path = tmp_path / 'page.md'
    path.write_text(content)
    assert cli.main(['nets', 'segnet', '--write', str(path)]) == 2
    assert 'has no block' in capsys.readouterr().err
    assert path.read_text() == content


def test_unknown_net_is_refused(capsys):
    assert cli.main(['nets', 'x']) == 2
    assert "unknown net 'x'; available: edgesegnet" in capsys.readouterr().err
