"""Tells penguin species apart by their nearest neighbours among a few that are remembered.

Reports the share of errors on the part that is not remembered, how often the species that
does worst is found, and how many numbers are compared to tell one penguin.
"""
import argparse
import csv
import json
import os
import random

COLUMNS = ["bill_length_mm", "flipper_length_mm", "bill_depth_mm", "body_mass_g"]


def load(path, columns):
    with open(path, newline="") as f:
        rows = [r for r in csv.DictReader(f) if all(r[c] not in ("", "NA") for c in COLUMNS)]
    x = [[float(r[c]) for c in COLUMNS[:columns]] for r in rows]
    for j in range(columns):
        values = [row[j] for row in x]
        mean = sum(values) / len(values)
        sd = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
        for row in x:
            row[j] = (row[j] - mean) / sd
    return list(zip(x, (r["species"] for r in rows)))


def distance(a, b):
    return sum((p - q) ** 2 for p, q in zip(a, b))


def tell(memory, k, x):
    near = sorted(memory, key=lambda m: distance(m[0], x))[:k]
    votes = [species for _, species in near]
    return max(votes, key=votes.count)  # of equals, that of the nearest


def remember(train, n, pick):
    if pick == "balanced":
        by = {}
        for row in train:
            by.setdefault(row[1], []).append(row)
        turns = [row for turn in zip(*by.values()) for row in turn]
        return (turns + [row for row in train if row not in turns])[:n]
    if pick == "border":  # those nearest to another species first
        def gap(row):
            return min(distance(row[0], other[0]) for other in train if other[1] != row[1])
        return sorted(train, key=gap)[:n]
    return train[:n]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--stored", type=int, required=True)
    p.add_argument("--k", type=int, required=True)
    p.add_argument("--columns", type=int, required=True)
    p.add_argument("--pick", required=True)
    p.add_argument("--seed", type=int, required=True)
    a = p.parse_args()
    rows = load("data/penguins.csv", a.columns)
    random.Random(a.seed).shuffle(rows)
    cut = len(rows) * 2 // 3
    train, test = rows[:cut], rows[cut:]
    memory = remember(train, a.stored, a.pick)
    found = {}
    for x, species in test:
        found.setdefault(species, []).append(tell(memory, a.k, x) == species)
    right = sum(sum(f) for f in found.values())
    with open(os.environ["RATCHET_METRICS"], "a") as metrics:
        print(json.dumps({
            "error": 1 - right / len(test),
            "worst_recall": min(sum(f) / len(f) for f in found.values()),
            "operations": len(memory) * a.columns,
        }), file=metrics)


if __name__ == "__main__":
    main()
