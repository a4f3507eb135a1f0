"""Predicts the species of penguins from four measurements, by k nearest neighbours.

It sees the measurements of the penguins that it is asked about, and not their
species. It learns from a sample of the others, which the seed draws, and leaves
its predictions in the output folder.
"""
import argparse
import csv
import math
import os
import random

MEASUREMENTS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def load(path):
    with open(path, newline="") as f:
        return [([float(r[m]) for m in MEASUREMENTS], r) for r in csv.DictReader(f)]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--k", type=int, required=True)
    args.add_argument("--standardise", choices=["true", "false"], required=True)
    args.add_argument("--seed", type=int, required=True)
    args = args.parse_args()
    train, test = load("train.csv"), load("test.csv")
    train = random.Random(args.seed).sample(train, len(train) * 3 // 4)
    if args.standardise == "true":
        columns = list(zip(*(x for x, _ in train)))
        means = [sum(c) / len(c) for c in columns]
        devs = [math.sqrt(sum((v - m) ** 2 for v in c) / len(c)) for c, m in zip(columns, means)]
        scale = lambda rows: [([(v - m) / d for v, m, d in zip(x, means, devs)], r) for x, r in rows]
        train, test = scale(train), scale(test)
    with open(os.path.join(os.environ["RATCHET_OUTPUT"], "predictions.csv"), "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["id", "species"])
        for x, row in test:
            near = sorted(train, key=lambda t: sum((a - b) ** 2 for a, b in zip(x, t[0])))[: args.k]
            kinds = [r["species"] for _, r in near]
            out.writerow([row["id"], max(sorted(set(kinds)), key=kinds.count)])


main()
