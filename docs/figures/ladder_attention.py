"""Where a network with attention looks, under the frames of test clips.

    python docs/figures/ladder_attention.py RUN

RUN is a finished run of examples/motion_ladder.py: the one that the table of chapter 25 is from.
"""

from _ladder import draw_from_run

from video.tasks import ladder_pictures

draw_from_run(ladder_pictures.attention, __file__)
