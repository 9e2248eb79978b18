#!/usr/bin/env bash
# Installs c10k-lab and the token of the control port in one of Vagrant's machines, once, as root.
#
#   install.sh host      c10k-lab was copied to /tmp
#   install.sh vm        it is built here, with a toolchain from rustup.rs for the user `vagrant`
#
# The token was copied to /tmp.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

apt-get update -qq
apt-get install -y -qq --no-install-recommends iproute2 procps
case ${1-} in
  host) ;;
  vm)
    apt-get install -y -qq --no-install-recommends ca-certificates curl gcc libc6-dev
    su - vagrant -c "
      set -eu
      [ -x ~/.cargo/bin/cargo ] ||
        curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
      cd '$PWD'
      ~/.cargo/bin/cargo build --release --locked --bin c10k-lab --target-dir ~/target
      cp ~/target/release/c10k-lab /tmp/c10k-lab"
    ;;
  *)
    echo "error: '${1-}' is not known: expected host or vm" >&2
    exit 2
    ;;
esac
install -m 755 /tmp/c10k-lab /usr/local/bin/c10k-lab
install -D -m 600 /tmp/c10k-token /etc/c10k/token
rm /tmp/c10k-lab /tmp/c10k-token
mkdir -p results
