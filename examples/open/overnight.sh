#!/bin/sh
# Opens the run, lets the agent propose until it has no more ideas, and closes it.
set -e
cd "$(dirname "$0")"
ratchet open study.yaml
python3 agent.py
ratchet close
