"""A researcher of a few rules: it changes one constant of classify.py at a time.

It asks what is known, proposes the next change that was not tried on the best so far, and
builds on what was kept. It keeps nothing in memory between proposals: killed at any time,
it goes on where it was.
"""
import json
import pathlib
import re
import subprocess
import tempfile

CHANGES = {
    "COLUMNS": ['["bill_length_mm"]', '["bill_length_mm", "flipper_length_mm"]', '["bill_length_mm", "bill_depth_mm", "flipper_length_mm"]'],
    "SCALE": ["True"],
    "K": ["3", "5", "9"],
}


def ratchet(*args):
    out = subprocess.run(["ratchet", *args, "--json"], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def code_of(known):
    """classify.py with every change that was kept, read back from the reasons given."""
    text = pathlib.Path(__file__).with_name("classify.py").read_text()
    for x in known["experiments"]:
        if x["verdict"] == "kept" and x.get("why", "").count(" = ") == 1:
            text = changed(text, *x["why"].split(" = "))
    return text


def changed(text, name, value):
    return re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.M)


def main():
    while True:
        known = ratchet("ask")
        said = [x.get("why") for x in known["experiments"]]
        left = [f"{name} = {value}" for name, values in CHANGES.items() for value in values if f"{name} = {value}" not in said]
        if not left:
            break
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "classify.py").write_text(changed(code_of(known), *left[0].split(" = ")))
            answer = ratchet("tell", "--why", left[0], "--code", folder, "--by", "rules", "--wait")
        print(f"{answer['experiment']} {answer['verdict']:9} {left[0]}", flush=True)


if __name__ == "__main__":
    main()
