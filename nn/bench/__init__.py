"""Backreel beside PyTorch on the same machine: `python -m nn.bench`.

`rows.py` says what is measured, `backreel_side.py` and `torch_side.py` how each library does it,
`worker.py` times one side in a process of its own, `__main__.py` runs the two in turn and
prints the table.
"""
