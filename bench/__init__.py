"""Measurements of the package beside what people would write instead; ``make bench`` runs all.

``net_only``, ``end_to_end``, ``scaling``, ``startup`` and ``training_loop`` measure; each runs as
``python -m bench.<name>`` and writes ``results/<name>.json``. ``report`` makes
``docs/benchmarks.md`` of these files. ``naive_node`` and ``tutorial_node`` are what is compared
with; ``rig`` runs them, and our node, between the processes ``camera`` and ``consumer``.
``gpu_hour`` is no measurement: it trains the shipped nets where a GPU is lent for an hour.
"""
