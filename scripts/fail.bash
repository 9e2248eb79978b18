# How scripts refuse: sourced by them; not a program of its own.
# shellcheck shell=bash

# Ends the script: $1 is what is wrong, $2 the hint, which may be empty, $3 the exit code, by default 2 for bad text.
fail() {
  echo "error: $1" >&2
  [[ -z ${2-} ]] || echo "hint: $2" >&2
  exit "${3:-2}"
}
