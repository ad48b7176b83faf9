#!/usr/bin/env bash
# Makes the corpus in the tree of what a campaign has found: for each target the fewest and smallest
# inputs that reach every edge, up to a budget. Files with a name of their own, the findings of the
# past, stay as they are.
#
#   minimise.sh [TARGET...]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
kept=$root/build-fuzz/campaign
budget=160 files=250 # KiB and files for each target

for folder in "$root"/tests/fuzz/corpus/*/; do
  target=$(basename "$folder")
  [ $# -eq 0 ] || [[ " $* " == *" $target "* ]] || continue
  merged=$(mktemp -d)
  mkdir -p "$kept/corpus/$target" "$kept/seeds/$target"
  "$root/build-fuzz/tests/fuzz_$target" -merge=1 -use_counters=0 -rss_limit_mb=2560 -timeout=10 "$merged" \
    "$folder" "$kept/corpus/$target" "$kept/seeds/$target" >/dev/null 2>&1
  find "$folder" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete
  find "$merged" -type f -printf '%s %p\n' | sort -n |
    awk -v most=$((budget * 1024)) -v files=$files '{ all += $1 } all <= most && NR <= files { print $2 }' | xargs -r cp -t "$folder"
  rm -r "$merged"
  echo "$target: $(find "$folder" -type f | wc -l) files, $(du -sk --apparent-size "$folder" | cut -f1) KiB"
done
