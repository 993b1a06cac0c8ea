//! The learnt interval against synthetic pulses.

use super::*;

/// A service with a learnt interval, judged as it would be: the first level at one interval and
/// a grace of a tenth, the worst at five.
struct Watched {
    heart: Heart,
    interval: Option<f64>,
    /// Gaps that were a warning, and critical.
    late: usize,
    dead: usize,
    /// How often the interval has changed.
    changes: usize,
}

impl Watched {
    fn new() -> Self {
        Self {
            heart: Heart {
                rhythm: Rhythm::learning(),
                ..Heart::new()
            },
            interval: None,
            late: 0,
            dead: 0,
            changes: 0,
        }
    }

    fn ages(&self) -> Option<(f64, f64)> {
        let interval = self.interval?;
        let grace = (interval / 10.0).max(0.1);
        Some((interval + grace, 5.0 * interval + grace))
    }

    fn beat(&mut self, gap: f64) {
        if let Some((warning, critical)) = self.ages() {
            self.late += usize::from(gap >= warning);
            self.dead += usize::from(gap >= critical);
        }
        self.heart.beat(gap);
        let interval = self.heart.rhythm.interval();
        let interval = interval.map(|interval| interval.as_secs_f64());
        if interval != self.interval {
            self.changes += 1;
            self.interval = interval;
        }
    }
}

/// Lost in bursts, as in benches/prediction: a tenth altogether.
fn lossy(dice: &mut Dice, bad: &mut bool, gap: f64, jitter: f64) -> f64 {
    let mut all = 0.0;
    loop {
        all += (gap * (1.0 + jitter * dice.normal())).max(0.001);
        *bad = dice.throw() < if *bad { 0.8 } else { 0.045 };
        if dice.throw() >= if *bad { 0.5 } else { 0.01 } {
            return all;
        }
    }
}

/// An even service with that jitter, watched for so many beats.
fn even(seed: u64, gap: f64, jitter: f64, beats: u32) -> (Watched, Dice) {
    let (mut dice, mut one) = (Dice(seed), Watched::new());
    for _ in 0..beats {
        one.beat((gap * (1.0 + jitter * dice.normal())).max(0.001));
    }
    (one, dice)
}

/// How much later it is critical than with a configured interval of one gap.
fn slowness(one: &Watched, gap: f64) -> f64 {
    let (_, critical) = one.ages().expect("learnt");
    critical / (5.0 * gap + (gap / 10.0).max(0.1))
}

#[test]
fn an_interval_is_learnt_from_twelve_gaps_and_is_at_least_100_ms() {
    let mut one = Watched::new();
    for n in 0..=12 {
        assert_eq!(one.interval, None, "{n} pulses");
        one.beat(10.0);
    }
    assert_eq!(one.interval, Some(11.0));
    assert_eq!(one.heart.rhythm.progress(), None);
    let mut quick = Watched::new();
    for _ in 0..50 {
        quick.beat(0.003);
    }
    assert_eq!(quick.interval, Some(0.1));
    assert_eq!(Rhythm::default().interval(), None, "nobody asked");
}

#[test]
fn usual_jitter_is_hardly_ever_late_and_a_crash_is_noticed_in_time() {
    for (jitter, most) in [(0.05, 1.5), (0.1, 1.8), (0.2, 2.3), (0.3, 2.7)] {
        let (mut late, mut dead) = (0, 0);
        for (seed, gap) in [(1, 0.2), (2, 15.0), (3, 1_800.0), (4, 15.0)] {
            let (one, _) = even(seed, gap, jitter, 25_000);
            late += one.late;
            dead += one.dead;
            let slowness = slowness(&one, gap);
            println!(
                "{jitter}: every {gap} s → {:?}, {slowness:.2}",
                one.interval
            );
            assert!(slowness <= most, "{jitter}: {slowness}");
            assert!(one.changes <= 12, "it changed {} times", one.changes);
        }
        println!("{jitter}: {late} warnings in 100,000 beats");
        assert!(late <= 1, "{jitter}: {late} of 100,000 were late");
        assert_eq!(dead, 0);
    }
}

#[test]
fn pulses_lost_in_bursts_are_usual_then_and_kill_nobody() {
    let (mut late, mut dead) = (0, 0);
    for seed in 0..4 {
        let (mut dice, mut bad, mut one) = (Dice(seed), false, Watched::new());
        for _ in 0..25_000 {
            one.beat(lossy(&mut dice, &mut bad, 15.0, 0.05));
        }
        late += one.late;
        dead += one.dead;
        assert!(slowness(&one, 15.0) <= 4.0, "{:?}", one.interval);
    }
    println!("{late} warnings, {dead} critical in 100,000 beats");
    assert!(late <= 800, "{late} of 100,000 were late");
    assert!(dead <= 1, "{dead} of 100,000 were critical");
}

#[test]
fn a_drift_is_told_and_not_learnt_away() {
    for rate in [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02] {
        for seed in 0..20 {
            let (mut one, mut dice) = even(seed, 15.0, 0.05, 500);
            let (before, late) = (one.interval.expect("learnt"), one.late);
            let (mut gap, mut told) = (15.0, false);
            while one.late == late {
                gap *= 1.0 + rate;
                one.beat(gap * (1.0 + 0.05 * dice.normal()));
                told |= one.heart.rhythm.trend() == Trend::Slowing;
                assert!(gap < 40.0, "never late at {rate}");
            }
            assert!(told, "late before it was told at {rate}, seed {seed}");
            let grown = one.interval.expect("learnt") / before;
            assert!(
                grown < 1.25,
                "{rate}: it has grown to {grown} of what it was"
            );
        }
    }
}

#[test]
fn a_hang_is_not_learnt() {
    let (mut one, mut dice) = even(5, 10.0, 0.05, 1_000);
    let before = one.interval;
    for _ in 0..5 {
        one.beat(3_600.0);
        assert_eq!(one.interval, before);
        for _ in 0..1_000 {
            one.beat(10.0 * (1.0 + 0.05 * dice.normal()));
        }
    }
    assert!(one.interval <= before.map(|before| before * 1.25));
    // Nor is one among the first gaps.
    let mut other = Watched::new();
    for n in 0..13 {
        other.beat(if n == 4 { 500.0 } else { 10.0 });
    }
    assert_eq!(other.interval, Some(11.0));
}

#[test]
fn a_new_pace_is_told_and_learnt_in_the_end() {
    let (mut one, mut dice) = even(6, 10.0, 0.05, 1_000);
    let (late, before) = (one.late, one.interval.expect("learnt"));
    for beat in 0..600 {
        one.beat(30.0 * (1.0 + 0.05 * dice.normal()));
        if beat < 100 {
            assert_eq!(one.interval, Some(before), "beat {beat}");
        }
    }
    assert!(one.late - late > 100, "it was late until then");
    let slower = one.interval.expect("learnt");
    assert!((33.0..=56.0).contains(&slower), "{slower}");
    for beat in 0..6_000 {
        one.beat(3.0 * (1.0 + 0.05 * dice.normal()));
        if beat < 500 {
            assert_eq!(one.interval, Some(slower), "beat {beat}: not so quickly");
        }
    }
    let quicker = one.interval.expect("learnt");
    assert!(quicker < 20.0, "{quicker}");
}

#[test]
fn a_service_that_pulses_in_bursts_is_not_late_between_them() {
    let (mut dice, mut one) = (Dice(7), Watched::new());
    for _ in 0..3_000 {
        for gap in [0.1, 0.1, 30.0] {
            one.beat(gap * (1.0 + 0.1 * dice.normal()));
        }
    }
    assert_eq!(one.dead, 0);
    assert!(one.late <= 2, "{}", one.late);
}

#[test]
fn what_is_kept_is_gone_on_with() {
    let (one, mut dice) = even(8, 10.0, 0.1, 400);
    let mut here = one.heart.rhythm;
    let json = serde_json::to_string(&here.keep(None)).expect("written");
    assert!(json.len() < 160, "{json}");
    let kept: Kept = serde_json::from_str(&json).expect("read");
    let mut there = Rhythm::go_on(&kept, None).expect("sane").expect("its own");
    assert_eq!(there.interval(), here.interval());
    here.last = Time(0);
    let mut now = Time(1);
    for _ in 0..400 {
        now = now + Duration::from_secs_f64(10.0 * (1.0 + 0.1 * dice.normal()));
        assert_eq!(here.pulse(1, now, now), there.pulse(1, now, now));
    }
    assert_eq!(here, there);
    // Another interval is another promise.
    let given = Some(Duration::from_secs(10));
    assert_eq!(Rhythm::go_on(&kept, given), Ok(None));
    let plain = Rhythm::default().keep(given);
    assert_eq!(Rhythm::go_on(&plain, None), Ok(None));
    assert_eq!(
        Rhythm::go_on(&plain, Some(Duration::from_secs(20))),
        Ok(None)
    );
    assert!(matches!(Rhythm::go_on(&plain, given), Ok(Some(_))));
}

#[test]
fn what_makes_no_sense_is_not_gone_on_with() {
    let (one, _) = even(8, 10.0, 0.1, 400);
    let good = serde_json::to_value(one.heart.rhythm.keep(None)).expect("written");
    let with = |at: &str, value: serde_json::Value| {
        let mut json = good.clone();
        *json.pointer_mut(at).expect("it is there") = value;
        let kept: Result<Kept, _> = serde_json::from_value(json);
        kept.map(|kept| Rhythm::go_on(&kept, None).map(|there| there.is_some()))
    };
    assert_eq!(with("/2", 96.into()).expect("read"), Ok(true));
    assert_eq!(with("/0", 7.into()).expect("read"), Err(Unkept::Version(7)));
    for (at, value) in [
        ("/3/0", 1e30),
        ("/3/1", -1e30),
        ("/3/2", -1.0),
        ("/5/0", -0.1),
        ("/5/1", 1e9),
        ("/6/0", 1.01),
        ("/6/2", -2.0),
        ("/7/1", 99.0),
        ("/7/2", -99.0),
    ] {
        let read = with(at, value.into()).expect("numbers are read");
        assert_eq!(read, Err(Unkept::Nonsense), "{at} = {value}");
    }
    for (at, value) in [("/7/3", 99.into()), ("/7/0", serde_json::json!([2.0]))] {
        assert_eq!(
            with(at, value).expect("read"),
            Err(Unkept::Nonsense),
            "{at}"
        );
    }
    for at in ["/1", "/2", "/3", "/4", "/5", "/6", "/7/3"] {
        assert!(with(at, "no".into()).is_err(), "{at}");
        assert!(with(at, serde_json::Value::Null).is_err(), "{at}");
    }
}
