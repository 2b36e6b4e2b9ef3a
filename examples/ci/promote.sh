#!/bin/sh
# Any CI, with nothing but the exit code and, where numbers are wanted, one line of JSON.
#
#   promote.sh TARGET RELEASE [OPTION...]
set -u

target=$1
release=$2
shift 2

out=$(mktemp)
# Whatever becomes of this script, no promotion is left half-way. What is passed on ends gate first.
trap 'rm -f "$out"; gate abort "$target" --if-orphaned >&2' EXIT
trap 'kill -s INT "$gate" 2>/dev/null' INT TERM

gate promote "$target" --release "$release" --output json "$@" >"$out" &
gate=$!
wait "$gate"
code=$?
# A signal ends the wait, not the promotion.
while kill -0 "$gate" 2>/dev/null; do
  wait "$gate"
  code=$?
done

# The last line is the result.
result=$(tail -n 1 "$out")
case $code in
  0) echo "released: $release" ;;
  3) echo "the release is bad, and was rolled back: $result" >&2 ;;
  4) echo "aborted: somebody, a signal or a newer release ended it" >&2 ;;
  5) echo "no proof in time; nothing bad was seen, and nothing was released" >&2 ;;
  7) echo "not started, nothing was changed: $result" >&2 ;;
  *) echo "gate could not do its work ($code): $result" >&2 ;;
esac
exit "$code"
