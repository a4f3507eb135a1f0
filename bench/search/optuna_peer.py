"""Searches by Optuna, for bench/search.go: the values are asked of the program that began it.

One line of JSON in: {"path", "sampler", "seed", "experiments", "space", "objectives",
"constraints"}. Then for each experiment a line out with its parameters, and a line in with a
list: its objectives, and behind them by how much it breaks each constraint.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")
asked = json.loads(sys.stdin.readline())
sys.path[:0] = asked["path"].split(":")

import optuna  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)
options = {"seed": asked["seed"]}
if asked["constraints"]:
    options["constraints_func"] = lambda trial: trial.user_attrs["broken"]
sampler = {
    "tpe": optuna.samplers.TPESampler,
    "gp": optuna.samplers.GPSampler,
    "cma": optuna.samplers.CmaEsSampler,
    "nsga": optuna.samplers.NSGAIISampler,
    "random": optuna.samplers.RandomSampler,
}[asked["sampler"]](**options)
study = optuna.create_study(sampler=sampler, directions=["minimize"] * asked["objectives"])


def suggest(trial):
    values = {}
    for d in asked["space"]:
        if any(values.get(name) not in allowed for name, allowed in d.get("when", {}).items()):
            continue
        name, low, high = d["name"], d.get("low", 0), d.get("high", 0)
        if d["kind"] == "categorical":
            values[name] = trial.suggest_categorical(name, d["values"])
        elif d["kind"] == "int":
            values[name] = trial.suggest_int(name, int(low), int(high), log=d.get("log", False))
        else:
            values[name] = trial.suggest_float(name, low, high, log=d.get("log", False))
    return values


for _ in range(asked["experiments"]):
    trial = study.ask()
    print(json.dumps(suggest(trial)), flush=True)
    values = json.loads(sys.stdin.readline())
    trial.set_user_attr("broken", values[asked["objectives"]:])
    study.tell(trial, values[: asked["objectives"]])
