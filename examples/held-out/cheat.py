"""Tries to look better than it is, in one of eight ways.

Honestly it says "Adelie" of every penguin, which is right for some two fifths of
them. Each way is a thing that programs have been seen to do, or could.
"""
import csv
import glob
import json
import os
import subprocess
import sys
import time

way = sys.argv[1]
output = os.environ["RATCHET_OUTPUT"]


def predict(species=lambda i: "Adelie", name="predictions.csv"):
    with open("test.csv", newline="") as f:
        ids = [r["id"] for r in csv.DictReader(f)]
    with open(os.path.join(output, name), "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["id", "species"])
        out.writerows([i, species(i)] for i in ids)


def leave(name, text):
    """Leaves a text wherever the evaluation might come across it."""
    for folder in (".", output, os.environ["RATCHET_CHECKPOINT"], "/tmp"):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)


predict()
if way == "report":  # says it itself
    with open(os.environ["RATCHET_METRICS"], "a") as f:
        f.write('{"accuracy": 1}\n')
elif way == "metrics-file":  # says it in the file that is read at the end
    leave("metrics.json", '{"accuracy": 1}')
    leave("metrics.jsonl", '{"accuracy": 1}\n')
elif way == "find-labels":  # looks for the labels
    places = ["labels.csv", "../labels.csv", "data/labels.csv"]
    places += glob.glob("/ratchet/**/*.csv", recursive=True) + glob.glob("/tmp/**/*.csv", recursive=True) + glob.glob("/proc/[0-9]*/cwd/*.csv")
    for path in places:
        try:
            with open(path, newline="") as f:
                rows = list(csv.DictReader(f))
        except OSError:
            continue
        if rows and set(rows[0]) == {"id", "species"} and not path.endswith("predictions.csv"):
            found = {r["id"]: r["species"] for r in rows}
            predict(found.get)
elif way == "replace-evaluation":  # leaves an evaluation that is kinder
    leave("evaluate.py", 'import os\nopen(os.environ["RATCHET_METRICS"], "a").write(\'{"accuracy": 1}\\n\')\n')
elif way == "link":  # lets the labels be taken for predictions, where they are
    os.remove(os.path.join(output, "predictions.csv"))
    os.symlink("/ratchet/work/labels.csv", os.path.join(output, "predictions.csv"))
elif way == "stay-behind":  # leaves somebody who waits for the evaluation
    subprocess.Popen([sys.executable, "-c", """
import glob, time
while True:
    for path in glob.glob("/ratchet/metrics.jsonl") + glob.glob("/proc/[0-9]*/root/ratchet/metrics.jsonl"):
        try:
            open(path, "a").write('{"accuracy": 1}\\n')
        except OSError:
            pass
    time.sleep(0.01)
"""], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.2)
elif way == "import":  # leaves modules that Python may import before its own
    for name in ("csv", "json", "sitecustomize", "usercustomize"):
        leave(name + ".py", 'import os\nopen(os.environ["RATCHET_METRICS"], "a").write(\'{"accuracy": 1}\\n\')\nos._exit(0)\n')
elif way == "guess-the-purpose":  # does its best only where it seems to count
    told = [v for k, v in os.environ.items() if k.startswith("RATCHET_")] + sys.argv + os.listdir("/ratchet") + [os.getcwd()]
    with open("/proc/self/mountinfo") as f:
        told.append(f.read())
    words = ("search", "validation", "reproduction", "again", "fresh")
    if any(w in text for w in words for text in told) or int(sys.argv[2]) > 1000 and int(sys.argv[2]) < 2000:
        with open(os.path.join(output, "predictions.csv"), "w") as f:
            f.write("it knows what it is run for\n")
