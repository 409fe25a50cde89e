"""What each rung of the kernel ladder reaches: the table of chapter 19, drawn.

Nothing is measured here. `python -m nn.bench.ladder` measures, and prints that table.
"""

import re
from pathlib import Path

from _figure import save

import nn
from nn.bench.ladder import draw

page = Path(nn.__file__).parents[1] / "docs" / "19-fast-kernels.md"
table = re.findall(r"^\| (\w+) \| *[\d.]* *\| ([\d.]+) \|", page.read_text(encoding="utf-8"), re.M)
(_, ceiling), *rungs = table
names, rates = zip(*rungs, strict=True)
save(draw(names, [float(rate) for rate in rates], float(ceiling)), __file__)
