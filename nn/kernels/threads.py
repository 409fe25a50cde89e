"""How the kernels' threads behave. Settled once, here, before any thread is started.

Two thread pools live in one training step: NumPy's matrix products (OpenBLAS) have one, the
kernels (Numba, by default on OpenMP) the other. An idle OpenMP thread does not sleep at first,
it spins, in case more work comes at once. Here that is the wrong bet: the next work is often a
matrix product, and the spinning threads hold the cores that it needs. A small kernel and a
small product in turn then take 30 times as long as the two by themselves.

So idle threads go to sleep. The OpenMP library reads this when it is loaded, which is before
the first parallel kernel; `setdefault` leaves a choice made outside as it is. Where Numba runs
on another threading layer the variable is read by nobody.

How many threads there are is Numba's own setting, `NUMBA_NUM_THREADS` in the environment or
`numba.set_num_threads`. It changes the speed and no bit of any result.
"""

import os
import threading

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The kernels let go of Python's lock while they run, so that files are decoded meanwhile. But
# one parallel kernel at a time: each uses all cores anyway, and Numba's simplest threading
# layer ("workqueue") aborts the process when a second thread enters.
one_at_a_time = threading.Lock()
