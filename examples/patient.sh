# Falls silent after a few seconds, though it runs on, and is well again after a while.
# WELL, SILENT: for so many seconds.
. examples/pulse.sh

beat() {
    second=0
    while [ "$second" -lt "$1" ]; do
        pulse
        sleep 1
        second=$((second + 1))
    done
}
beat "${WELL:-5}"
echo "not feeling well"
sleep "${SILENT:-45}"
echo "better now"
while :; do beat 10; done
