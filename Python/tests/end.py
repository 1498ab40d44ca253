"""Ranks that end in different ways: python3 end.py HOW, on the last rank."""

import sys
import time

import numpy as np

import gyre

gyre.init(threads=1)
x = gyre.shard(np.ones((1, 100, 2, 16), dtype=np.float32))
how, is_last = sys.argv[1], gyre.rank() == gyre.size() - 1
if how == "raise" and is_last:
    raise KeyError("tokenizer")
if how == "exit" and is_last:
    sys.exit(3)
if how == "complain":
    gyre.attention(x[..., :3] if is_last else x, x, x)
if how == "wait":
    print("waiting", flush=True)
    time.sleep(60)
gyre.attention(x, x, x)
gyre.attention(x, x, x)
