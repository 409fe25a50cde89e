"""Where the article's network has its parameters, and where its work is."""

import numpy as np
from _figure import BLUE, ORANGE, plt, save

import nn
from video.models import FrameCNN

model = FrameCNN(10)
x = np.zeros((1, *model.size, 3), np.float32)
names, parameters, work = [], [], []
with nn.inference():
    for module in [*model.features, *model.classifier]:
        x = module(x)
        if module.num_parameters:
            names.append(module.describe().split(", kernel")[0].rstrip(")") + ")")
            parameters.append(module.num_parameters)
            places = np.prod(x.shape[1:-1], dtype=int)  # how often each weight is used
            work.append(places * module.weight.size)

figure, axes = plt.subplots(1, 2, figsize=(9, 2.2), sharey=True, layout="constrained")
for axis, amounts, label, color in zip(
    axes, [parameters, work], ["parameters", "multiply-adds per frame"], [BLUE, ORANGE], strict=True
):
    bars = axis.barh(names, amounts, color=color)
    axis.bar_label(bars, [f"{a:,} ({a / sum(amounts):.1%})" for a in amounts], padding=3)
    axis.set(xlabel=label, xlim=(0, 1.5 * max(amounts)))
    axis.ticklabel_format(axis="x", style="plain")
    axis.xaxis.set_major_locator(plt.MaxNLocator(4))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} million" if value else "0")
axes[0].invert_yaxis()
save(figure, __file__)
