"""Measures predictions against species that no program sees.

What it looks at may be anything: it reads one file of text, and refuses whatever
is not one prediction for each penguin. It never imports, executes or unpickles
anything of it.
"""
import csv
import json
import os
import sys

with open("labels.csv", newline="") as f:
    truth = {r["id"]: r["species"] for r in csv.DictReader(f)}
path = os.path.join(os.environ["RATCHET_EVALUATED"], "predictions.csv")
if os.path.islink(path) or not os.path.isfile(path):
    sys.exit("there is no file predictions.csv")
with open(path, newline="") as f:
    rows = [(r.get("id"), r.get("species")) for r in csv.DictReader(f)]
if sorted(i or "" for i, _ in rows) != sorted(truth):
    sys.exit("there is not one prediction for each penguin")
right = sum(truth[i] == species for i, species in rows)
with open(os.environ["RATCHET_METRICS"], "a") as f:
    f.write(json.dumps({"accuracy": right / len(rows)}) + "\n")
