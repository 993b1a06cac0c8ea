//! What is observed of services besides judging them: their rhythm, and the minutes of their
//! history.

use super::*;

use supervisor_core::ServiceName;
use supervisor_core::beats::Beat;
use supervisor_core::event::Generation;
use supervisor_core::history::Slice;
use supervisor_core::rhythm::Trend;
use supervisor_core::service::Now;
use supervisor_core::track::Promised;

use crate::ports::history::Minutes;

/// How many services' minutes end at one turn: more would hold up deadlines.
const SOME: usize = 4_096;
const MINUTE_MICROS: i64 = 60_000_000;

/// The present minute of the history.
#[derive(Debug)]
pub(super) struct Observing {
    /// Which.
    minute: i64,
    /// When it began.
    since: Timestamp,
    /// The one that is being ended, and how far that has come.
    ending: Option<(Minutes, usize)>,
}

impl Observing {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            minute: now.0.div_euclid(MINUTE_MICROS),
            since: now,
            ending: None,
        }
    }

    /// Whether a minute is being ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }
}

impl Entry {
    /// What it promises, where its silence says something.
    fn promised(&self) -> Option<Promised> {
        let policy = &self.spec.policy;
        let promises = policy.watch != supervisor_core::policy::Watch::Alive && !policy.on_demand;
        promises.then_some(Promised {
            interval: policy.interval,
            grace: policy.grace,
        })
    }

    /// Takes plain pulses into what is observed. Gives the trend if it is another than before.
    pub(super) fn observe_beat(&mut self, beat: Beat) -> Option<Trend> {
        let promised = self.promised();
        self.track
            .pulse(beat.count, beat.first, beat.last.time, promised)
    }

    /// Takes an event into what is observed, before it is judged.
    pub(super) fn observe(&mut self, event: &Event, at: Moment) -> Option<Trend> {
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
        if let Event::Error { .. } = event {
            self.track.error();
        }
        None
    }

    /// An event has been judged: whether it still beats as before.
    pub(super) fn observed(&mut self, before: Generation, level: Level, at: Moment) {
        if self.service.generation() != before || !self.service.beats() {
            self.track.rest();
        }
        let reached = self.service.level();
        if reached != level {
            self.track.level(reached, at.mono);
        }
    }

    /// What its rhythm says, into what the API shows.
    pub(super) fn add_outlook(&self, view: &mut View, now: &Now) {
        if self.promised().is_none() {
            return;
        }
        let deadline = self.spec.policy.thresholds.warning;
        let outlook = self.track.outlook(now.at.time, deadline);
        view.trend = Some(outlook.trend);
        view.suspicion = outlook.suspicion.filter(|_| self.service.beats());
        view.predicted_miss_at = outlook.predicted_miss_at.map(|at| {
            let ahead = at.since(now.at.time).as_micros();
            let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
            Timestamp(now.at.wall.0.saturating_add(ahead))
        });
    }

    /// What there is to warn of before anything is wrong.
    pub(super) fn foreboding(&self, now: &Now) -> Option<String> {
        if self.promised().is_none() || self.spec.name.is_internal() {
            return None;
        }
        let deadline = self.spec.policy.thresholds.warning;
        let outlook = self.track.outlook(now.at.time, deadline);
        let gap = outlook.gap?.as_secs_f64();
        let deadline = deadline.as_secs_f64();
        match outlook.trend {
            Trend::Learning | Trend::Steady => None,
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
    /// Its rhythm goes elsewhere than before: that may concern somebody.
    pub(super) fn trend_changed(&mut self, id: u32, trend: Option<Trend>) {
        if trend.is_some() {
            self.concern(id);
            self.changed(id);
        }
    }

    /// Ends the minute when the next one has begun.
    pub(super) fn minute(&mut self) {
        let minute = self.present.wall.0.div_euclid(MINUTE_MICROS);
        if minute != self.observing.minute && self.observing.ending.is_none() {
            self.begin_minute(minute);
        }
    }

    fn begin_minute(&mut self, minute: i64) {
        let wall = self.present.wall;
        let observing = &mut self.observing;
        let ended = Minutes {
            minute: std::mem::replace(&mut observing.minute, minute),
            since: std::mem::replace(&mut observing.since, wall),
            until: wall,
            slices: Vec::with_capacity(self.entries.count()),
        };
        observing.ending = Some((ended, 0));
    }

    /// Ends it for some services at a time.
    pub(super) fn end_some(&mut self) {
        let Some((mut minutes, from)) = self.observing.ending.take() else {
            return;
        };
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
        } else if !minutes.slices.is_empty() {
            self.guard.world().ports.history.keep(minutes);
        }
    }

    /// Ends the minute before its time, for all: the program ends.
    pub(super) fn end_minute(&mut self) {
        while self.observing.is_ending() {
            self.end_some();
        }
        self.begin_minute(self.present.wall.0.div_euclid(MINUTE_MICROS));
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
