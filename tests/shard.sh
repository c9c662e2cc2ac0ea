#!/bin/sh
# Runs one shard of a test program: shard.sh INDEX COUNT PROGRAM. One process runs many tests, where starting it anew for
# each would take longer than most of them. Prints what failed, or what ran as the program ended, and a count.
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
GTEST_SHARD_INDEX=$1 GTEST_TOTAL_SHARDS=$2 "$3" >"$log" 2>&1
code=$?
# From "[ RUN" on a test's lines are kept until it is known how it ended.
awk -v code="$code" '
  /^\[ RUN      \]/ { kept = "" }
  { kept = kept $0 "\n" }
  /^\[       OK \]/ { kept = ""; ++passed }
  /^\[  SKIPPED \]/ && / ms\)$/ { kept = ""; ++skipped; skipped_names = skipped_names "  SKIPPED " $4 "\n" }
  /^\[  FAILED  \]/ && / ms\)$/ { printf "%s", kept; kept = ""; ++failed }
  /^\[==========\] .* ran\./ { whole = 1 }
  END {
    if (!whole || (code != 0 && failed + 0 == 0)) printf "%s", kept
    if (!whole) print "The program ended in the middle of that test."
    printf "%s%d passed, %d skipped, %d failed\n", skipped_names, passed, skipped, failed
    if (passed + 0 == 0) { print "No test passed here."; exit 1 }
  }' "$log" || [ "$code" -ne 0 ] || code=1
exit "$code"
