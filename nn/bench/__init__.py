"""Backreel beside PyTorch on the same machine: `python -m nn.bench`, `--help` for more.

| file | subject |
|---|---|
| `rows.py` | what is measured, as a list |
| `problem.py` | what both sides start from: weights, inputs, gradients from above |
| `backreel_side.py`, `torch_side.py` | how each library does a row |
| `backreel_networks.py`, `torch_networks.py` | the networks whose training steps are timed |
| `torch_video_models.py` | those of `video.models` in PyTorch |
| `worker.py` | one side in a process of its own; `side.py` starts and asks it |
| `measure.py` | are both right? then each in turn |
| `ceiling.py` | what the machine can do at best |
| `table.py` | what is printed of the results; `__main__.py` is the command line |
"""
