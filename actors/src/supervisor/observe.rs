//! What is observed of services besides judging them: their rhythm, and the minutes of their
//! history.

use super::*;

use supervisor_core::ServiceName;
use supervisor_core::beats::Beat;
use supervisor_core::event::Generation;
use supervisor_core::history::Slice;
use supervisor_core::policy::{Policy, Watch as Watching};
use supervisor_core::rhythm::{Kept, Noticed, Rhythm, Trend};
use supervisor_core::service::Now;
use supervisor_core::track::Promised;

use crate::ports::history::Minutes;
use crate::registration::MOST_REGISTERED;

/// How many services' minutes end at one turn: more would hold up deadlines.
const SOME: usize = 4_096;
const MINUTE_MICROS: i64 = 60_000_000;
/// By how much wall time goes on without us, at once, before the history lacks it: the machine
/// was suspended, or its clock set.
const LEAP_MICROS: i64 = 5_000_000;

/// What an event found of a service.
#[derive(Debug)]
pub(super) struct Before {
    is_run: bool,
    pub(super) generation: Generation,
    pub(super) level: Level,
    pulses: u64,
    errors: u64,
}

/// The present minute of the history.
#[derive(Debug)]
pub(super) struct Observing {
    /// Which.
    minute: i64,
    /// When it began.
    since: Timestamp,
    /// How far the wall clock was ahead of the one by which time is counted, in microseconds.
    ahead: i64,
    /// Its part of those who left while it was under way; so many register at most.
    left: Vec<(ServiceName, Slice)>,
    /// The one that is being ended, and how far that has come.
    ending: Option<(Minutes, usize)>,
}

impl Observing {
    pub(super) fn new(now: Present) -> Self {
        Self {
            minute: now.wall.0.div_euclid(MINUTE_MICROS),
            since: now.wall,
            ahead: ahead(now),
            left: Vec::new(),
            ending: None,
        }
    }

    /// Whether a minute is being ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }
}

/// The interval that its owner has given it; none where it is to be learnt.
pub(super) fn given(policy: &Policy) -> Option<Duration> {
    (!policy.learns()).then_some(policy.interval)
}

/// A rhythm that knows nothing yet.
pub(super) fn rhythm(policy: &Policy) -> Rhythm {
    match given(policy) {
        Some(_) => Rhythm::default(),
        None => Rhythm::learning(),
    }
}

fn ahead(now: Present) -> i64 {
    let mono = i64::try_from(now.mono.0 / 1_000).unwrap_or(i64::MAX);
    now.wall.0.saturating_sub(mono)
}

impl Entry {
    /// What it promises, where its silence says something.
    fn promised(&self) -> Option<Promised> {
        let policy = self.service.policy();
        let promises = policy.watch != Watching::Alive && !policy.on_demand;
        promises.then_some(Promised {
            interval: policy.interval,
            grace: policy.grace,
        })
    }

    /// What of its rhythm outlives us.
    pub(super) fn kept(&self) -> Option<Kept> {
        let policy = &self.spec.policy;
        let keeps = policy.watch != Watching::Alive && !self.spec.name.is_internal();
        keeps.then(|| self.track.keep(given(policy)))
    }

    /// Goes on with a rhythm that outlived us, if it is still of the same interval.
    ///
    /// # Errors
    /// Why that cannot be: it is learnt anew.
    pub(super) fn recall(&mut self, kept: Option<Result<Kept, String>>) -> Result<(), String> {
        let policy = &self.spec.policy;
        let known = match kept {
            Some(Ok(kept)) => Rhythm::go_on(&kept, given(policy)).map_err(|why| why.to_string()),
            Some(Err(why)) => Err(why),
            None => Ok(None),
        };
        let (known, done) = match known {
            Ok(known) => (known, Ok(())),
            Err(why) => (None, Err(why)),
        };
        self.track.go_on(known.unwrap_or_else(|| rhythm(policy)));
        self.service.recall(self.track.interval());
        done
    }

    /// Takes plain pulses into what is observed.
    pub(super) fn observe_beat(&mut self, beat: Beat) -> Noticed {
        let promised = self.promised();
        self.track
            .pulse(beat.count, beat.first, beat.last.time, promised)
    }

    /// Takes an event into what is observed, before it is judged.
    pub(super) fn observe(&mut self, event: &Event, at: Moment) -> Noticed {
        let generation = self.service.generation();
        let present = |told: Generation| self.spec.process.is_none() || told == generation;
        let promised = self.promised();
        if let Event::Pulse {
            generation,
            count,
            note,
        } = event
            && present(*generation)
        {
            for (name, value) in note.iter().flat_map(|note| &note.metrics) {
                self.track.figure(name, *value);
            }
            return self.track.pulses(*count, at.time, promised);
        }
        if let Event::ProbePassed { generation } = event
            && present(*generation)
        {
            return self.track.pulses(1, at.time, promised);
        }
        if let Event::Clear = event
            && given(&self.spec.policy).is_none()
        {
            // It may be what was learnt that is wrong: the machine forgets it, too.
            self.track.go_on(Rhythm::learning());
        }
        Noticed::default()
    }

    /// An event has been judged: what that says, and whether it still beats as before.
    pub(super) fn observed(&mut self, before: &Before, at: Moment) -> Noticed {
        let (pulses, errors) = self.service.memory().totals();
        let promised = self.promised();
        let noticed = match (pulses > before.pulses, errors > before.errors) {
            // The end of a run is a beat, however it went.
            (true, _) if before.is_run => self.track.pulses(1, at.time, promised),
            (_, true) if before.is_run => self.track.failed(at.time, promised),
            (_, true) => self.track.error(),
            (_, false) => Noticed::default(),
        };
        if self.service.generation() != before.generation {
            self.track.begin_anew();
        } else if !self.service.beats() && !self.service.is_resumed() {
            self.track.rest();
        }
        let reached = self.service.level();
        if reached != before.level {
            self.track.level(reached, at.mono);
        }
        noticed
    }

    /// What an event finds.
    pub(super) fn before(&self, event: &Event) -> Before {
        let (pulses, errors) = self.service.memory().totals();
        Before {
            is_run: matches!(event, Event::Run { .. }),
            generation: self.service.generation(),
            level: self.service.level(),
            pulses,
            errors,
        }
    }

    /// What its rhythm says, into what the API shows.
    pub(super) fn add_outlook(&self, view: &mut View, now: &Now) {
        let deadline = self.service.policy().thresholds.warning;
        let outlook = self.track.outlook(now.at.time, deadline);
        if self.promised().is_none() {
            // Its gaps say nothing; its errors do.
            view.trend = (self.errs(outlook.trend)).then_some(Trend::Erring);
            return;
        }
        view.trend = Some(outlook.trend);
        view.suspicion = outlook.suspicion.filter(|_| self.service.beats());
        view.predicted_miss_at = outlook.predicted_miss_at.map(|at| {
            let ahead = at.since(now.at.time).as_micros();
            let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
            Timestamp(now.at.wall.0.saturating_add(ahead))
        });
    }

    /// Whether that trend is one of a service whose errors say something: one that pulses by
    /// living has nothing that they could be compared with.
    fn errs(&self, trend: Trend) -> bool {
        trend == Trend::Erring && self.spec.policy.watch != Watching::Alive
    }

    /// What there is to warn of before anything is wrong.
    pub(super) fn foreboding(&self, now: &Now) -> Option<String> {
        if self.spec.name.is_internal() {
            return None;
        }
        let deadline = self.service.policy().thresholds.warning;
        let outlook = self.track.outlook(now.at.time, deadline);
        if self.errs(outlook.trend) {
            return Some(format!(
                "it reports errors more often than it used to: until now {:.1} % of its pulses were some",
                outlook.errors * 100.0
            ));
        }
        self.promised()?;
        let gap = outlook.gap?.as_secs_f64();
        let deadline = deadline.as_secs_f64();
        match outlook.trend {
            Trend::Learning | Trend::Steady | Trend::Erring => None,
            Trend::Slowing => {
                let soon = match outlook.predicted_miss_at {
                    Some(at) => format!(
                        ", which will be so in about {} s",
                        at.since(now.at.time).as_secs()
                    ),
                    None => String::new(),
                };
                Some(format!(
                    "it slows down: a pulse every {gap:.3} s by now, and late after {deadline} s{soon}"
                ))
            }
            Trend::Hurrying => Some(format!(
                "it beats too fast: a pulse every {gap:.3} s, less than half of what it was"
            )),
        }
    }
}

impl Supervisor {
    /// Its rhythm goes elsewhere than before: that may concern somebody. What was learnt of it
    /// is for its machine.
    pub(super) fn noticed(&mut self, id: u32, noticed: Noticed) {
        if noticed.trend.is_some() {
            self.concern(id);
            self.changed(id);
        }
        if let Some(interval) = noticed.interval {
            self.queue.push_back((id, Event::Learnt { interval }));
        }
    }

    /// Ends the minute when the next one has begun, or when time was left out.
    pub(super) fn minute(&mut self) {
        let wall = self.present.wall;
        let ahead = ahead(self.present);
        let leap = ahead.saturating_sub(std::mem::replace(&mut self.observing.ahead, ahead));
        if leap > LEAP_MICROS {
            while self.observing.is_ending() {
                self.end_some();
            }
            // What was counted belongs to the time before.
            self.begin_minute(Timestamp(wall.0.saturating_sub(leap)));
        } else if wall.0.div_euclid(MINUTE_MICROS) != self.observing.minute
            && self.observing.ending.is_none()
        {
            self.begin_minute(wall);
        }
    }

    /// Begins the present minute; what comes to the one before was counted until then.
    fn begin_minute(&mut self, until: Timestamp) {
        let wall = self.present.wall;
        let minute = wall.0.div_euclid(MINUTE_MICROS);
        let observing = &mut self.observing;
        let ended = Minutes {
            minute: std::mem::replace(&mut observing.minute, minute),
            since: std::mem::replace(&mut observing.since, wall),
            until,
            slices: std::mem::take(&mut observing.left),
        };
        observing.ending = Some((ended, 0));
    }

    /// A service leaves: what is known of its minute stays.
    pub(super) fn end_of(&mut self, id: u32) {
        self.catch_up(id);
        let now = self.now();
        let now = self.around(now);
        let ended = self.entries.get_mut(id as usize);
        if let Some(ended) = ended.and_then(|entry| entry.end(&now))
            && self.observing.left.len() < MOST_REGISTERED
        {
            self.observing.left.push(ended);
        }
    }

    /// Ends it for some services at a time.
    pub(super) fn end_some(&mut self) {
        let Some((mut minutes, from)) = self.observing.ending.take() else {
            return;
        };
        if from == 0 {
            minutes.slices.reserve(self.entries.count());
        }
        let to = from.saturating_add(SOME).min(self.entries.len());
        let now = self.now();
        let now = self.around(now);
        for id in from..to {
            self.catch_up(id as u32);
            if let Some(ended) = self.entries.get_mut(id).and_then(|entry| entry.end(&now)) {
                minutes.slices.push(ended);
            }
        }
        if to < self.entries.len() {
            self.observing.ending = Some((minutes, to));
        } else {
            // Also where nobody is watched: that is known of this minute.
            self.guard.world().ports.history.keep(minutes);
        }
    }

    /// Ends the minute before its time, for all: the program ends.
    pub(super) fn end_minute(&mut self) {
        while self.observing.is_ending() {
            self.end_some();
        }
        self.begin_minute(self.present.wall);
        while self.observing.is_ending() {
            self.end_some();
        }
    }
}

impl Entry {
    fn end(&mut self, now: &Now) -> Option<(ServiceName, Slice)> {
        if self.spec.name.is_internal() {
            return None;
        }
        let memory = self.service.memory();
        let missed = if self.service.beats() {
            self.service.missed_by(now)
        } else {
            0
        };
        let (pulses, errors) = memory.totals();
        let slice = self.track.close(now.at.mono, pulses, errors, missed);
        Some((self.spec.name.clone(), slice))
    }
}
