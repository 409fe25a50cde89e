"""Draw every figure of the course anew: python docs/figures/draw_all.py"""

import runpy
from pathlib import Path

here = Path(__file__).resolve()
for script in sorted(here.parent.glob("*.py")):
    if script != here and not script.name.startswith("_"):
        runpy.run_path(str(script), run_name="__main__")
