#!/usr/bin/env bash
# Programs that the tests need in addition to Python and Node. Installs them as root on Debian, otherwise lists them.
# Names of packages as arguments, such as fonts for the screenshots, are wanted too.
set -euo pipefail
declare -A package=([redis-server]=redis-server [haproxy]=haproxy [chromium]=chromium [strace]=strace [gcc]=gcc [ip]=iproute2
  [systemd-analyze]=systemd [promtool]=prometheus)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" > /dev/null || [ -x "/usr/sbin/$program" ] || missing+=("${package[$program]}")
done
for wanted in "$@"; do
  dpkg-query --show --showformat '${db:Status-Status}' "$wanted" 2> /dev/null | grep -qx installed || missing+=("$wanted")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
  echo "installing ${missing[*]}"
  apt-get update -qq
  if [[ " ${missing[*]} " == *" prometheus "* ]]; then
    # Only promtool is needed; the package would start Prometheus.
    missing=("${missing[@]/prometheus/}")
    folder=$(mktemp -d)
    (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root prometheus \
      && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool && install usr/bin/promtool /usr/local/bin/)
    rm -rf "$folder"
  fi
  # shellcheck disable=SC2068  # without quotes an empty element disappears
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${missing[@]} > /dev/null
else
  echo "the tests need these Debian packages: ${missing[*]}" >&2
  echo "install them (apt-get install ${missing[*]}) and try again" >&2
  exit 1
fi
