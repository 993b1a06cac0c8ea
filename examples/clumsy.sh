# Works for a while, then falls over; sometimes right at the start.
. examples/pulse.sh

pulse
case $(($$ % 3)) in
    0) seconds=1 ;;
    *) seconds=15 ;;
esac
while [ "$seconds" -gt 0 ]; do
    seconds=$((seconds - 1))
    sleep 1
    pulse
done
echo "oh no" >&2
exit 3
