# Read by the examples' workers (`. examples/pulse.sh`): how a shell script says that it lives.
#
# SUPERVISOR_SERVICE (its own name), SUPERVISOR_URL and SUPERVISOR_TOKEN are set by the
# supervisor. The program is the one that cargo has built here, else the installed one.
PATH="${CARGO_TARGET_DIR:-target}/release:${CARGO_TARGET_DIR:-target}/debug:$PATH"

pulse() {
    supervisor pulse "$SUPERVISOR_SERVICE"
}
