#!/usr/bin/env bash
# Makes the Python environment of the peers; at once when it is there already.
#
#   tests/peers/setup.sh      prints the environment's folder: $VNET_PEERS_VENV, or tests/peers/.venv
#
# Needs python3 with venv (Debian: python3-venv) and about 6 GB: PyTorch brings its GPU libraries.
set -euo pipefail
cd "$(dirname "$0")"

venv=${VNET_PEERS_VENV:-$PWD/.venv}
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt >&2
  cp requirements.txt "$venv/requirements.txt"
fi
echo "$venv"
