"""Trains a small network on a curve with noise, in plain Python.

One hidden layer of tanh units learns y = sin(3x) from 40 noisy points, by
stochastic gradient descent, with momentum, or by Adam (Kingma and Ba, 2015).
The loss on 40 clean points between them is reported after every tenth epoch.
"""
import argparse
import json
import math
import os
import random

HIDDEN = 8
EPOCHS = 60


def forward(w, x):
    h = [math.tanh(w[3 * i] * x + w[3 * i + 1]) for i in range(HIDDEN)]
    return h, w[-1] + sum(w[3 * i + 2] * h[i] for i in range(HIDDEN))


def gradient(w, x, y):
    h, out = forward(w, x)
    err = 2 * (out - y)
    g = [0.0] * len(w)
    for i in range(HIDDEN):
        back = err * w[3 * i + 2] * (1 - h[i] * h[i])
        g[3 * i], g[3 * i + 1], g[3 * i + 2] = back * x, back, err * h[i]
    g[-1] = err
    return g


class Momentum:
    def __init__(self, size, rate, decay):
        self.rate, self.decay, self.v = rate, decay, [0.0] * size

    def step(self, w, g):
        for i, gi in enumerate(g):
            self.v[i] = self.decay * self.v[i] + gi
            w[i] -= self.rate * self.v[i]


class Adam:
    def __init__(self, size, rate, b1=0.9, b2=0.999, eps=1e-8):
        self.rate, self.b1, self.b2, self.eps = rate, b1, b2, eps
        self.m, self.v, self.t = [0.0] * size, [0.0] * size, 0

    def step(self, w, g):
        self.t += 1
        c1, c2 = 1 - self.b1 ** self.t, 1 - self.b2 ** self.t
        for i, gi in enumerate(g):
            self.m[i] = self.b1 * self.m[i] + (1 - self.b1) * gi
            self.v[i] = self.b2 * self.v[i] + (1 - self.b2) * gi * gi
            w[i] -= self.rate * (self.m[i] / c1) / (math.sqrt(self.v[i] / c2) + self.eps)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--optimiser", choices=["sgd", "momentum", "adam"], required=True)
    p.add_argument("--rate", type=float, required=True)
    p.add_argument("--seed", type=int, required=True)
    a = p.parse_args()

    rng = random.Random(a.seed)
    train = [(x, math.sin(3 * x) + rng.gauss(0, 0.1)) for x in (rng.uniform(-2, 2) for _ in range(40))]
    test = [(-2 + 4 * (i + 0.5) / 40, math.sin(3 * (-2 + 4 * (i + 0.5) / 40))) for i in range(40)]
    w = [rng.gauss(0, 1) for _ in range(3 * HIDDEN)] + [0.0]
    if a.optimiser == "adam":
        optimiser = Adam(len(w), a.rate)
    else:
        optimiser = Momentum(len(w), a.rate, 0.9 if a.optimiser == "momentum" else 0.0)

    with open(os.environ["RATCHET_METRICS"], "a") as f:
        for epoch in range(1, EPOCHS + 1):
            rng.shuffle(train)
            for x, y in train:
                optimiser.step(w, gradient(w, x, y))
            if epoch % 10 == 0:
                loss = sum((forward(w, x)[1] - y) ** 2 for x, y in test) / len(test)
                f.write(json.dumps({"step": epoch, "loss": loss}) + "\n")
                f.flush()
    print(f"{a.optimiser} at {a.rate:g}: loss {loss:.4f}")


if __name__ == "__main__":
    main()
