#!/usr/bin/env bash
# Runs npm ci in each given folder, unless the packages of its lock file are already installed.
set -euo pipefail
command -v npm > /dev/null || { echo "npm is missing; install Node 20 or newer with npm" >&2; exit 1; }
for folder in "$@"; do
  stamp=$folder/node_modules/.installed
  wanted=$(cat "$folder/package-lock.json" "$folder/package.json" | sha256sum)
  [ "$(cat "$stamp" 2> /dev/null)" = "$wanted" ] && continue
  echo "npm ci in $folder"
  (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
  mkdir -p "$folder/node_modules"
  echo "$wanted" > "$stamp"
done
