"""Trains a small network to tell penguin species apart, in plain Python.

One hidden layer of tanh units, softmax over the species, stochastic gradient descent with
momentum and weight decay. The loss and the accuracy on the part that is not trained on are
reported after every epoch, so that a run that falls behind can be stopped early.
"""
import argparse
import csv
import json
import math
import os
import random

COLUMNS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
SPECIES = ["Adelie", "Chinstrap", "Gentoo"]


def load(path, rng):
    with open(path, newline="") as f:
        rows = [r for r in csv.DictReader(f) if all(r[c] not in ("", "NA") for c in COLUMNS)]
    x = [[float(r[c]) for c in COLUMNS] for r in rows]
    y = [SPECIES.index(r["species"]) for r in rows]
    for j in range(len(COLUMNS)):
        values = [row[j] for row in x]
        mean = sum(values) / len(values)
        sd = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        for row in x:
            row[j] = (row[j] - mean) / sd
    order = list(range(len(x)))
    rng.shuffle(order)
    cut = len(order) * 2 // 3
    return [(x[i], y[i]) for i in order[:cut]], [(x[i], y[i]) for i in order[cut:]]


def forward(w, v, x):
    h = [math.tanh(sum(a * b for a, b in zip(row, x)) + row[-1]) for row in w]
    out = [sum(a * b for a, b in zip(row, h)) + row[-1] for row in v]
    top = max(out)
    e = [math.exp(o - top) for o in out]
    total = sum(e)
    return h, [p / total for p in e]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rate", type=float, required=True)
    p.add_argument("--hidden", type=int, required=True)
    p.add_argument("--momentum", type=float, required=True)
    p.add_argument("--decay", type=float, required=True)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--epochs", type=int, default=27)
    a = p.parse_args()
    rng = random.Random(a.seed)
    train, test = load("data/penguins.csv", rng)
    w = [[rng.gauss(0, 0.5) for _ in range(len(COLUMNS) + 1)] for _ in range(a.hidden)]
    v = [[rng.gauss(0, 0.5) for _ in range(a.hidden + 1)] for _ in SPECIES]
    dw, dv = [[0.0] * len(r) for r in w], [[0.0] * len(r) for r in v]
    with open(os.environ["RATCHET_METRICS"], "a") as metrics:
        for epoch in range(1, a.epochs + 1):
            rng.shuffle(train)
            for x, y in train:
                h, prob = forward(w, v, x)
                err = [q - (k == y) for k, q in enumerate(prob)]
                back = [(1 - h[i] * h[i]) * sum(err[k] * v[k][i] for k in range(len(SPECIES))) for i in range(a.hidden)]
                for k, e in enumerate(err):
                    for i, g in enumerate(h + [1.0]):
                        dv[k][i] = a.momentum * dv[k][i] - a.rate * (e * g + a.decay * v[k][i])
                        v[k][i] += dv[k][i]
                for i, b in enumerate(back):
                    for j, g in enumerate(x + [1.0]):
                        dw[i][j] = a.momentum * dw[i][j] - a.rate * (b * g + a.decay * w[i][j])
                        w[i][j] += dw[i][j]
            loss = right = 0.0
            for x, y in test:
                prob = forward(w, v, x)[1]
                loss -= math.log(max(prob[y], 1e-12)) / len(test)
                right += (max(prob) == prob[y]) / len(test)
            metrics.write(json.dumps({"step": epoch, "loss": loss, "accuracy": right}) + "\n")
            metrics.flush()


main()
