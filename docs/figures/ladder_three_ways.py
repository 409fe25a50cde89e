"""What two networks call test clips as filmed, backwards, and shuffled.

    python docs/figures/ladder_three_ways.py RUN

RUN is a finished run of examples/motion_ladder.py: the one that the table of chapter 25 is from.
"""

from _ladder import draw_from_run

from video.tasks import ladder_pictures

draw_from_run(ladder_pictures.three_ways, __file__)
