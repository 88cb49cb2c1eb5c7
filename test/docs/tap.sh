# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The Test Anything Protocol, for the checks that are written in shell.
#
#   check NAME COMMAND...  one test: ok if the command succeeds; what it printed is
#                          shown if it does not
#   skip NAME REASON       one test that cannot be done here
#   finish                 the plan; exit code 1 if a check failed

tap_number=0
tap_failed=0

check() {
	local name=$1 output
	shift
	tap_number=$((tap_number + 1))
	if output=$("$@" 2>&1 </dev/null); then
		printf 'ok %d - %s\n' "$tap_number" "$name"
	else
		tap_failed=1
		printf 'not ok %d - %s\n' "$tap_number" "$name"
		printf '%s\n' "$output" | sed 's/^/# /'
	fi
}

skip() {
	tap_number=$((tap_number + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_number" "$1" "$2"
}

finish() {
	printf '1..%d\n' "$tap_number"
	exit "$tap_failed"
}
