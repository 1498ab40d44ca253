"""Beside mpi4py, which initialises MPI before Gyre or finds it initialised."""

import sys

import numpy as np

if sys.argv[1] == "first":
    from mpi4py import MPI

import gyre

gyre.init(threads=1)
if sys.argv[1] == "later":
    from mpi4py import MPI

x = gyre.shard(np.ones((1, 100, 2, 16), dtype=np.float32))
assert np.allclose(gyre.attention(x, x, x), 1)
world = MPI.COMM_WORLD
assert (world.rank, world.size) == (gyre.rank(), gyre.size())
assert world.allreduce(1) == gyre.size()
if gyre.rank() == 0:
    print(f"mpi4py {sys.argv[1]} {gyre.size()}: passed")
