"""What a dataset is: a sized, indexable collection of images with class ids per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from seg_ros.model_card import ClassInfo


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        labels: (H, W) uint8 class ids, 255 = void.
        name: Unique within the dataset, shown in messages: mostly the file's name.
        remarks: What reading found odd and mended, such as colours of no class that became void.
    """

    image: np.ndarray
    labels: np.ndarray
    name: str
    remarks: tuple[str, ...] = ()


class Dataset(Protocol):
    """A split of a dataset; reading a sample twice gives the same arrays.

    Classes are built with ``folder``, ``split`` and keyword options; ``build_dataset`` does it.
    Four attributes are optional: ``remarks``, strings on the whole of the data,
    ``single_threaded = True`` where samples must be read in one thread that is not forked,
    ``repeats``, how often each sample is drawn in an epoch of training, and, of the class,
    ``path_options``, the names of those options that are paths.

    Attributes:
        classes: In the order of the logits that a net for this dataset has.
        names: ``names[i]`` is the name of sample i, known without reading it.
    """

    classes: tuple[ClassInfo, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; raises ``ValueError`` naming the file when it is broken."""
        ...
