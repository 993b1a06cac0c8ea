//! What the service prints: any line is a pulse, or each one that a regex finds.
//!
//! ```text
//!   stdout, stderr ──▶ shim ──▶ log file
//!                        └────▶ lines, so many frames as we take ──▶ pattern ──▶ pulses
//! ```
//!
//! The shim holds the service's output and tells us of it (see `src/shim/src/lines.rs`): only
//! how many lines there were, where any will do, or the lines. It sends no more than we ask
//! for, and we ask for more when a moment has passed for each that said something: a flood of
//! output costs a small share of one core, and what is beyond that is left out, counted, and in
//! the log all the same.

mod pattern;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use slog::warn;

use supervisor_actors::ports::output::{Hearing, More, Output};
use supervisor_actors::source::{Ear, Heard, Listening, MOST_HEARD, Source};
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::ServiceName;
use supervisor_core::time::Mono;

use self::pattern::{Pattern, Read};
use super::About;
use crate::config::reader::{Table, Taken};
use crate::config::value::Value;

/// How long counts fold in the shim.
const FOLD: Duration = Duration::from_millis(100);

/// How long after lines came more are asked for.
const PACE: Duration = Duration::from_millis(25);

/// And how much longer for each of them that said something.
const PACE_OF_ONE: Duration = Duration::from_micros(250);

/// How often it is said that a group is no number.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Which lines are pulses.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// None.
    Nothing,
    /// Any.
    Any,
    /// Those that it finds.
    Found(Arc<Pattern>),
}

/// stdout as the configuration has it.
#[derive(Debug, PartialEq)]
struct Stdout {
    /// `None`: any line.
    pattern: Option<Arc<Pattern>>,
}

/// At work for one service.
struct Listener {
    service: ServiceName,
    pattern: Option<Reader>,
    ear: Ear,
    said: Cell<Option<Mono>>,
}

/// A pattern with the room that it needs.
struct Reader {
    pattern: Arc<Pattern>,
    places: pattern::Places,
}

/// Takes `stdout_pulse`.
pub(super) fn read(table: &mut Table<'_>, about: &About<'_>) -> Option<Arc<dyn Source>> {
    let wanted = table.take("stdout_pulse", wanted);
    if !about.ours
        && let Taken::Given(given) = &wanted
    {
        let sink = table.sink();
        let message = format!("`stdout_pulse` without `command` in [{}]", table.shown());
        sink.say(
            sink.at(given.key.clone(), "only of a service that we run", message)
                .help("add `command`; what others run prints elsewhere"),
        );
        return None;
    }
    let pattern = match wanted.value()? {
        Wanted::Nothing => return None,
        Wanted::Any => None,
        Wanted::Found(pattern) => Some(pattern),
    };
    Some(Arc::new(Stdout { pattern }))
}

/// `true`, `false` or a regex.
fn wanted(value: &Value<'_>) -> Option<Wanted> {
    const EXAMPLE: &str = r"true, or '^progress (?P<progress>\d+)'";
    let Some(text) = value.text() else {
        return match value.as_flag() {
            Some(true) => Some(Wanted::Any),
            Some(false) => Some(Wanted::Nothing),
            None => value.expected("true, false or a regex", EXAMPLE),
        };
    };
    match Pattern::new(text) {
        Ok(pattern) => Some(Wanted::Found(Arc::new(pattern))),
        Err(bad) => bad.say(value),
    }
}

impl Source for Stdout {
    fn kind(&self) -> &'static str {
        "stdout"
    }

    fn open(&self, service: &ServiceSpec, ear: Ear) -> Box<dyn Listening> {
        let pattern = self.pattern.as_ref().map(|pattern| Reader {
            places: pattern.places(),
            pattern: Arc::clone(pattern),
        });
        Box::new(Listener {
            service: service.name.clone(),
            pattern,
            ear,
            said: Cell::default(),
        })
    }
}

impl Listening for Listener {
    fn hearing(&self) -> Option<Hearing> {
        Some(match self.pattern {
            None => Hearing::Count,
            Some(_) => Hearing::Lines,
        })
    }

    fn output(&mut self, output: &Output) -> Vec<Heard> {
        self.ear.lose_lines(output.lost.into());
        let Some(reader) = &mut self.pattern else {
            later(FOLD, output.more.clone());
            // More lines than are told are lines, too.
            let count = output.lines.saturating_add(output.lost);
            return (count > 0)
                .then_some(Heard::Pulse { count })
                .into_iter()
                .collect();
        };
        let mut found = Vec::new();
        let mut bad = None;
        for line in output.text.split_inclusive(|&byte| byte == b'\n') {
            match reader.pattern.read(line, &mut reader.places) {
                None => {}
                Some(Read { note, bad_group }) => {
                    found.push(note);
                    bad = bad_group.or(bad);
                }
            }
        }
        let says = found.iter().flatten().count();
        later(
            PACE + PACE_OF_ONE * u32::try_from(says).unwrap_or(u32::MAX),
            output.more.clone(),
        );
        if let Some(group) = bad {
            self.say_no_number(&group);
        }
        let silenced = says.saturating_sub(MOST_HEARD);
        self.ear.lose_lines(silenced as u64);
        fold(found, silenced)
    }
}

impl Listener {
    fn say_no_number(&self, group: &str) {
        let now = self.ear.clock().mono();
        if self
            .said
            .get()
            .is_none_or(|said| now.since(said) >= SAY_EVERY)
        {
            self.said.set(Some(now));
            warn!(self.ear.log(), "a group of stdout_pulse is no finite number, left out";
                "service" => %self.service, "group" => group);
        }
    }
}

/// Gives it back a moment later.
fn later(pause: Duration, more: More) {
    // Bounded: by how many frames may be under way.
    actix_rt::spawn(async move {
        tokio::time::sleep(pause).await;
        drop(more);
    });
}

/// Pulses in order: consecutive plain ones together, and as many of the first that say
/// something among the plain ones as there are too many.
fn fold(found: Vec<Option<supervisor_core::Note>>, mut silenced: usize) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut count = 0;
    for note in found {
        match note {
            Some(note) if silenced == 0 => {
                if count > 0 {
                    heard.push(Heard::Pulse { count });
                    count = 0;
                }
                heard.push(Heard::Note(note));
            }
            Some(_) => {
                silenced -= 1;
                count += 1;
            }
            None => count += 1,
        }
    }
    if count > 0 {
        heard.push(Heard::Pulse { count });
    }
    heard
}

#[cfg(test)]
mod tests {
    use supervisor_core::Note;

    use super::*;

    fn note(cycle: i64) -> Option<Note> {
        Some(Note {
            cycle: Some(cycle),
            ..Note::default()
        })
    }

    #[test]
    fn plain_pulses_fold_between_those_that_say_something() {
        let found = vec![None, None, note(1), None, note(2), note(3), None];
        let heard = fold(found, 0);
        let cycles: Vec<_> = heard
            .iter()
            .map(|heard| match heard {
                Heard::Pulse { count } => -i64::from(*count),
                Heard::Note(note) => note.cycle.unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(cycles, [-2, 1, -1, 2, 3, -1]);
        assert_eq!(fold(Vec::new(), 0), []);
    }

    #[test]
    fn of_too_many_the_last_say_what_they_say_and_all_are_counted() {
        let found: Vec<_> = (0..300).map(note).collect();
        let heard = fold(found, 44);
        assert_eq!(heard.len(), 257);
        assert_eq!(heard[0], Heard::Pulse { count: 44 });
        assert_eq!(heard[1], Heard::Note(note(44).unwrap()));
    }
}
