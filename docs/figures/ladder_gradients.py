"""How much gradient reaches each step of an RNN and of an LSTM, fresh and trained.

    python docs/figures/ladder_gradients.py RUN

RUN is a finished run of examples/motion_ladder.py: the one that the table of chapter 25 is from.
"""

from _ladder import draw_from_run

from video.tasks import ladder_pictures

draw_from_run(ladder_pictures.gradients, __file__)
