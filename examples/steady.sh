# Works, and says so every second.
. examples/pulse.sh

while :; do
    pulse
    sleep 1
done
