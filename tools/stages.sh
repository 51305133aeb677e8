#!/usr/bin/env bash
# Run make targets one after another and print how long each took; stop at the first that fails.
set -uo pipefail
status=0
table=""
for target in "$@"; do
  begin=$SECONDS
  "${MAKE:-make}" --no-print-directory "$target" || status=$?
  line=$(printf '%-12s %4d s%s' "$target" $((SECONDS - begin)) "$([ $status = 0 ] || echo '  failed')")
  echo "== $line"
  table+="$line"$'\n'
  [ $status = 0 ] || break
done
printf '\n%s%-12s %4d s\n' "$table" total $SECONDS
exit $status
