"""Estimates pi from the share of points in a square that lie in its circle."""
import argparse
import json
import math
import os
import random

p = argparse.ArgumentParser()
p.add_argument("--method", choices=["random", "even"], required=True)
p.add_argument("--points", type=int, required=True)
p.add_argument("--seed", type=int, required=True)
a = p.parse_args()

rng = random.Random(a.seed)
inside = 0
shift = rng.random(), rng.random()
for i in range(a.points):
    if a.method == "random":
        x, y = rng.random(), rng.random()
    else:  # a rank-1 lattice by the golden ratio, shifted at random
        x, y = (i / a.points + shift[0]) % 1, (i * 0.6180339887498949 + shift[1]) % 1
    inside += x * x + y * y < 1

error = abs(4 * inside / a.points - math.pi)
print(f"error {error:.6f}")
with open(os.environ["RATCHET_METRICS"], "a") as f:
    f.write(json.dumps({"error": error}) + "\n")
