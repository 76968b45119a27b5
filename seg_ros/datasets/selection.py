"""Some samples of a data set as a data set, such as the held-out ones of a run."""

from __future__ import annotations

from collections.abc import Sequence

from seg_ros.datasets.sample import Dataset, Sample


class Selection:
    """The samples of a data set at some indices, in their order.

    Args:
        dataset: Where they come from.
        indices: Which of its samples.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self._dataset, self._indices = dataset, list(indices)
        self.classes = dataset.classes
        self.names = tuple(dataset.names[index] for index in self._indices)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        """Read sample ``index``; raises what the data set raises."""
        return self._dataset[self._indices[index]]
