#!/usr/bin/env bash
# What takes too long for every change: five minutes of each fuzz target. SECONDS_EACH=N sets another time.
set -euo pipefail
cd "$(dirname "$0")/.."
exec tests/fuzz.sh --seconds "${SECONDS_EACH:-300}" "$@"
