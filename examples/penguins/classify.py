"""Tells penguin species apart by four measurements, in plain Python.

A random third of the penguins, chosen by the seed, is held out; the accuracy
on it is reported. Penguins with a missing measurement are left out.
"""
import argparse
import csv
import json
import math
import os
import random

MEASUREMENTS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def load(path):
    with open(path, newline="") as f:
        rows = [r for r in csv.DictReader(f) if all(r[m] for m in MEASUREMENTS)]
    return [([float(r[m]) for m in MEASUREMENTS], r["species"]) for r in rows]


def standardise(train, test):
    """Scales by the training set's mean and deviation, which the test set must not know."""
    columns = list(zip(*(x for x, _ in train)))
    means = [sum(c) / len(c) for c in columns]
    devs = [math.sqrt(sum((v - m) ** 2 for v in c) / len(c)) for c, m in zip(columns, means)]
    scale = lambda rows: [([(v - m) / d for v, m, d in zip(x, means, devs)], y) for x, y in rows]
    return scale(train), scale(test)


def knn(train, test, k):
    right = 0
    for x, species in test:
        near = sorted(train, key=lambda row: sum((a - b) ** 2 for a, b in zip(row[0], x)))[:k]
        votes = {}
        for rank, (_, y) in enumerate(near):
            votes[y] = votes.get(y, 0) + 1 - rank * 1e-6  # ties go to the nearer
        right += max(votes, key=votes.get) == species
    return right / len(test)


def logistic(train, test, l2, steps=150, rate=0.5):
    """Multinomial logistic regression by gradient descent on the cross-entropy."""
    kinds = sorted({y for _, y in train})
    size = len(MEASUREMENTS)
    weights = [[0.0] * (size + 1) for _ in kinds]
    # Raw measurements reach thousands: the step is bounded by the largest row.
    bound = max(sum(v * v for v in x) + 1 for x, _ in train)
    step = rate * 4 / bound if bound > 4 * (size + 1) * 4 else rate

    def probabilities(x):
        scores = [w[-1] + sum(a * b for a, b in zip(w, x)) for w in weights]
        top = max(scores)
        exps = [math.exp(s - top) for s in scores]
        return [e / sum(exps) for e in exps]

    for _ in range(steps):
        grads = [[l2 / len(train) * v for v in w[:-1]] + [0.0] for w in weights]
        for x, y in train:
            for k, p in enumerate(probabilities(x)):
                err = (p - (kinds[k] == y)) / len(train)
                g = grads[k]
                for i in range(size):
                    g[i] += err * x[i]
                g[size] += err
        for w, g in zip(weights, grads):
            for i in range(size + 1):
                w[i] -= step * g[i]
    right = sum(kinds[max(range(len(kinds)), key=probabilities(x).__getitem__)] == y for x, y in test)
    return right / len(test)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", choices=["knn", "logistic"], required=True)
    p.add_argument("--standardise", choices=["true", "false"], required=True)
    p.add_argument("--k", type=int, default=5)
    p.add_argument("--l2", type=float, default=1.0)
    p.add_argument("--seed", type=int, required=True)
    a = p.parse_args()

    rows = load("data/penguins.csv")
    random.Random(a.seed).shuffle(rows)
    cut = len(rows) // 3
    test, train = rows[:cut], rows[cut:]
    if a.standardise == "true":
        train, test = standardise(train, test)
    accuracy = knn(train, test, a.k) if a.model == "knn" else logistic(train, test, a.l2)
    print(f"{a.model}, standardised {a.standardise}: accuracy {accuracy:.4f} on {len(test)} penguins")
    with open(os.environ["RATCHET_METRICS"], "a") as f:
        f.write(json.dumps({"accuracy": accuracy}) + "\n")


if __name__ == "__main__":
    main()
