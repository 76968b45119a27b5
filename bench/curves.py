"""Loss and score by epoch of several training runs in one picture, as in docs/camvid.md.

python -m bench.curves --out docs/camvid_optimizers.png 'RMSprop 5e-4=runs/a' 'Adam 5e-4=runs/b'
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seg_ros.training.run_folder import HISTORY_FILE


def draw(runs: dict[str, Path]) -> Figure:
    """Training loss and mIoU on the validation images.

    Args:
        runs: Name in the legend -> run folder.
    """
    figure = Figure(figsize=(9, 3.2), layout='constrained')
    FigureCanvasAgg(figure)
    loss, score = figure.subplots(1, 2)
    for name, folder in runs.items():
        history = json.loads((folder / HISTORY_FILE).read_text(encoding='utf-8'))
        epochs = [entry['epoch'] for entry in history]
        loss.plot(epochs, [entry['loss'] for entry in history], marker='.', label=name)
        scored = [entry for entry in history if entry.get('mean_iou') is not None]
        at = [entry['epoch'] for entry in scored]
        score.plot(at, [entry['mean_iou'] for entry in scored], marker='.', label=name)
    loss.set_yscale('log')
    loss.set_ylabel('training loss')
    score.set_ylabel('mIoU on val')
    score.legend(fontsize=8)
    for axes in (loss, score):
        axes.set_xlabel('epoch')
        axes.grid(alpha=0.3)
    return figure


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', metavar='NAME=RUN', help='name and run folder')
    parser.add_argument('--out', type=Path, required=True, help='the picture')
    args = parser.parse_args()
    named = (each.rpartition('=')[::2] for each in args.runs)
    draw({name: Path(folder) for name, folder in named}).savefig(args.out, dpi=80)


if __name__ == '__main__':
    main()
