# Works for ten seconds, then hangs: the process runs on, but says nothing any more.
. examples/pulse.sh

for second in 1 2 3 4 5 6 7 8 9 10; do
    echo "work, second $second"
    pulse
    sleep 1
done
echo "zzz"
sleep 1000000
