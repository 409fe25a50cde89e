"""The article's degree of attention beside ordinary attention, on the same features.

    python docs/figures/ladder_degree.py RUN

RUN is a finished run of examples/motion_ladder.py: the one that the table of chapter 25 is from.
"""

from _ladder import draw_from_run

from video.tasks import ladder_pictures

draw_from_run(ladder_pictures.degree, __file__)
