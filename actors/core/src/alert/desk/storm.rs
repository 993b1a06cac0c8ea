//! Storms: most services go bad together, and one alert speaks for them all.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Desk, Open};
use crate::alert::{Action, Alert, AlertId, Hold, Phase, Subject};
use crate::event::Moment;
use crate::level::Level;
use crate::name::ServiceName;
use crate::storm;
use crate::time::Time;

/// How many names a sentence lists.
const SOME: usize = 5;
/// How old what a storm's alert says of its members may be.
const REFRESH: Duration = Duration::from_secs(1);

impl Desk {
    /// Whether most services went bad together, so that one alert speaks for this one, too.
    pub(super) fn is_absorbed(&mut self, id: AlertId, at: Moment, out: &mut Vec<Action>) -> bool {
        let is_service = |open: &Open| match &open.alert.subject {
            Subject::Service(name) => !name.is_internal(),
            Subject::Storm | Subject::Sink(_) | Subject::Own(_) => false,
        };
        if !self.open.get(&id).is_some_and(is_service) {
            return false;
        }
        // Those that wait by a rule of their own do not count for one.
        let pending: Vec<AlertId> = self
            .open
            .values()
            .filter(|open| open.alert.phase == Phase::Pending && is_service(open))
            .filter(|open| open.alert.hold.is_none() && open.hold.is_none() && open.seen)
            .filter(|open| open.alert.clock.well.is_none())
            .filter(|open| at.time.since(open.alert.clock.pending) <= self.gathers())
            .map(|open| open.alert.id)
            .collect();
        let storm = match self.by_subject.get(&Subject::Storm) {
            Some(&storm) => storm,
            None if pending.len() >= storm::AT_LEAST && pending.len() * 2 > self.watched => {
                self.begin(Subject::Storm, Level::Warning, at, out)
            }
            None => return false,
        };
        for member in pending {
            if let Some(open) = self.open.get_mut(&member) {
                open.alert.hold = Some(Hold::Storm { alert: storm });
                self.touched.insert(member);
            }
            self.schedule(member);
        }
        self.refresh_storm(storm, at, out);
        true
    }

    /// How far apart the members of one storm may have gone bad: each waits for `group_wait`.
    pub(super) fn gathers(&self) -> Duration {
        self.policy.group_wait + storm::WITHIN
    }

    pub(super) fn members_of(&self, storm: AlertId) -> impl Iterator<Item = &Alert> {
        let of_it = move |alert: &&Alert| alert.hold == Some(Hold::Storm { alert: storm });
        self.alerts().filter(of_it)
    }

    pub(super) fn refresh_storm_of(&mut self, member: AlertId, at: Moment, out: &mut Vec<Action>) {
        let Some(alert) = self.open.get(&member).map(|open| &open.alert) else {
            return;
        };
        let Some(Hold::Storm { alert: storm }) = alert.hold else {
            return;
        };
        let known = self.open.get(&storm).map(|open| open.alert.level);
        if known.is_some_and(|known| alert.level > known) {
            self.refresh_storm(storm, at, out);
        } else {
            self.storm_refresh = self.storm_refresh.min(at.time + REFRESH);
        }
    }

    /// A storm is as bad as its worst member, and lists whom it ever held.
    pub(super) fn refresh_storm(&mut self, storm: AlertId, at: Moment, out: &mut Vec<Action>) {
        self.storm_refresh = Time::NEVER;
        let mut level = Level::Warning;
        let mut names: Vec<ServiceName> = Vec::new();
        for alert in self.members_of(storm) {
            level = level.max(alert.level);
            if let Subject::Service(name) = &alert.subject {
                names.push(name.clone());
            }
        }
        let watched = self.watched;
        let Some(open) = self.open.get_mut(&storm) else {
            return;
        };
        let now_bad = names.len();
        let known: BTreeSet<_> = open.alert.members.drain(..).chain(names).collect();
        open.alert.members = known.into_iter().collect();
        let listed: Vec<_> = open.alert.members.iter().take(SOME).collect();
        let listed: Vec<_> = listed.into_iter().map(ServiceName::as_str).collect();
        let more = open.alert.members.len().saturating_sub(SOME);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let all = open.alert.members.len();
        let reason = format!(
            "{all} of {watched} services went bad together, {now_bad} of them still are: {}{more}",
            listed.join(", ")
        );
        let quiet = open.alert.reason == reason && open.alert.level == level;
        if !quiet {
            open.alert.becomes(level, reason, at);
            self.touched.insert(storm);
        }
        self.again_if_worse(storm, out);
        let Some(open) = self.open.get_mut(&storm) else {
            return;
        };
        if open.alert.phase == Phase::Pending {
            // Its members have waited already.
            open.alert.clock.fired = Some(at.time);
            let reason = open.alert.reason.clone();
            open.alert.turn(Phase::Firing, reason, out);
        }
        self.look(storm, at, out);
    }
}
