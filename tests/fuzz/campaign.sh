#!/usr/bin/env bash
# Fuzzes every target in turn for HOURS, at low priority, and prints what was found:
#
#   campaign.sh HOURS [TARGET...]        HOURS may be 0.5; 0: only the table
#
# Builds the preset `fuzz`. Everything is kept in build-fuzz/campaign: corpora (corpus/TARGET),
# inputs that broke a promise (findings/TARGET-*), figures (figures.csv). It may be stopped at any
# time (Ctrl-C) and started again: it goes on from there.
set -euo pipefail
hours=$1
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-fuzz kept=$root/build-fuzz/campaign
figures=$kept/figures.csv

# A target's seconds of each round, and how large its inputs may become. NAME_fast is the same
# target without sanitizers, on the same corpus.
shares="plan 120 16384
steps 120 256
model 120 16384
segment 100 1024
scan 60 4096
labels 20 256
labels_fast 120 256
cases 20 256
cases_fast 120 256
table 20 256
table_fast 120 256
values 20 1024
checkpoint 10 512
npy 20 512
list 30 512
graph 40 2048"

table() {
  [ -e "$figures" ] || return 0
  awk -F, -v kept="$kept" '
    { n[$1] += $2; if ($3 > edges[$1]) edges[$1] = $3; if ($4 > parts[$1]) parts[$1] = $4
      s[$1] += $5 }
    END {
      format = "%-12s %14s %8s %9s %7s %9s\n"
      printf format, "target", "executions", "edges", "features", "hours", "findings"
      fflush()
      for (t in n) {
        count = "ls " kept "/findings | grep -c ^" t "-"
        count | getline found
        close(count)
        printf format, t, n[t], edges[t], parts[t], sprintf("%.2f", s[t] / 3600), found | "sort"
        all += n[t]; time += s[t]; bad += found
      }
      close("sort")
      printf format, "all", all, "", "", sprintf("%.2f", time / 3600), bad
    }' "$figures"
}

# One target for some seconds: over again where a finding ends it.
turn() {
  local target=$1 name=${1%_fast} seconds most=$3 end=$((SECONDS + $2)) begin log=$kept/log/$1
  mkdir -p "$kept/corpus/$name"
  for _ in 1 2 3 4; do
    seconds=$((end - SECONDS))
    [ "$seconds" -gt 2 ] || break
    begin=$SECONDS
    nice -n 15 "$build/tests/fuzz_$target" -max_total_time="$seconds" -timeout=10 \
      -rss_limit_mb=2560 -max_len="$most" -print_final_stats=1 -verbosity=1 -reload=0 \
      -artifact_prefix="$kept/findings/$target-" "$kept/corpus/$name" "$kept/seeds/$name" \
      "$root/tests/fuzz/corpus/$name" >"$log" 2>&1 && status=0 || status=$?
    awk -v target="$target" -v seconds=$((SECONDS - begin)) '
      $1 == "stat::number_of_executed_units:" { n = $2 }
      { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1) } }
      END { printf "%s,%d,%d,%d,%d\n", target, n, cov, ft, seconds }' "$log" >>"$figures"
    [ "$status" -eq 0 ] && break
    cp "$log" "$log.failed"
  done
}

if [ "$hours" = 0 ]; then
  table
  exit
fi
cd "$root"
cmake --preset fuzz >/dev/null
cmake --build build-fuzz -j2 --target fuzz_targets >/dev/null
mkdir -p "$kept/findings" "$kept/log"
[ -d "$kept/seeds" ] || tests/fuzz/seeds.sh "$kept/seeds" build-fuzz/tools/vnetc
trap 'table; exit 1' INT TERM
last=$([ -e "$figures" ] && tail -1 "$figures" | cut -d, -f1 || true) # it goes on behind that one
grep -q "^$last " <<<"$shares" || last=
end=$(awk -v h="$hours" -v s="$SECONDS" 'BEGIN { printf "%d", s + h * 3600 }')
while [ "$SECONDS" -lt "$end" ]; do
  while read -r target seconds most; do
    if [ -n "$last" ]; then
      [ "$last" = "$target" ] && last=
      continue
    fi
    [ $# -eq 0 ] || [[ " $* " == *" $target "* ]] || continue
    left=$((end - SECONDS))
    [ "$left" -gt 2 ] || break
    turn "$target" $((seconds < left ? seconds : left)) "$most"
  done <<<"$shares"
done
table
