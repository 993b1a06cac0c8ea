//! What is done about a service that hangs or dies: nudges, restarts and their limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use supervisor_actors::spec::Nudge;
use supervisor_core::backoff::{Backoff, Intensity};
use supervisor_core::policy::PokeOn;

use super::address;
use super::duration::{self, show};
use super::reader::{Sink, Table, Taken};
use super::signals;
use super::value::Value;
use super::words;

/// The delays of a series unless the file says otherwise.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);
const BACKOFF_FACTOR: f64 = 2.0;
const MOST_FACTOR: f64 = 1_000.0;
const BACKOFF_JITTER: f64 = 0.1;
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(60);

/// How many restarts a window may hold unless the file says otherwise.
const MAX_RESTARTS: u32 = 10;
const RESTART_WINDOW: Duration = Duration::from_secs(15 * 60);
const QUARANTINE_FOR: Duration = Duration::from_secs(30 * 60);

/// What the file says about poking and restarting.
pub(super) struct LadderKeys {
    backoff: Taken<Backoff>,
    max_restarts: Taken<u32>,
    restart_window: Taken<Duration>,
    quarantine_for: Taken<Duration>,
    poke_on: Taken<PokeOn>,
    poke: Taken<Poke>,
    nudge: Taken<Nudge>,
    nudge_wait: Taken<Duration>,
    restart_command: Taken<Vec<String>>,
}

/// The steps of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Poke {
    nudge: bool,
    restart: bool,
}

/// The same, all told.
pub(super) struct Ladder {
    pub(super) backoff: Backoff,
    pub(super) intensity: Intensity,
    pub(super) quarantine_for: Duration,
    pub(super) poke_on: PokeOn,
    /// Whether the ladder begins with a nudge.
    pub(super) nudges: bool,
    /// Whether it ends in a restart.
    pub(super) restarts: bool,
    pub(super) nudge: Option<Nudge>,
    pub(super) nudge_wait: Duration,
    pub(super) restart_command: Option<Vec<String>>,
}

/// Takes the keys.
pub(super) fn read(table: &mut Table<'_>) -> LadderKeys {
    LadderKeys {
        backoff: table.take("backoff", backoff),
        max_restarts: table.take("max_restarts", |v| v.whole(0..=Intensity::MOST)),
        restart_window: table.take("restart_window", duration::positive),
        quarantine_for: table.take("quarantine_for", duration::positive),
        poke_on: table.take("poke_on", poke_on),
        poke: table.take("poke", poke),
        nudge: table.take("nudge", nudge),
        nudge_wait: table.take("nudge_wait", duration::positive),
        restart_command: table.take("restart_command", words::command),
    }
}

impl LadderKeys {
    /// The ladder of a service that we run (`ours`) or only watch.
    pub(super) fn build(
        self,
        service: &str,
        ours: bool,
        interval: Duration,
        sink: &Sink,
    ) -> Option<Ladder> {
        if let (Some(command), true) = (self.restart_command.as_given(), ours) {
            sink.say(
                sink.at(
                    command.key.clone(),
                    "only for a service that others run",
                    format!("`restart_command` besides `command` in [{service}]"),
                )
                .help("a service with `command` is restarted by stopping and starting it"),
            );
        }
        if let (Some(nudge), false) = (self.nudge.as_given(), ours)
            && matches!(nudge.value, Nudge::Signal(_))
        {
            sink.say(
                sink.at(
                    nudge.span.clone(),
                    "whose process is not known",
                    format!("a signal cannot nudge the external service [{service}]"),
                )
                .help("use { exec = […] }, { http = \"POST http://…\" } or { tmux = …, text = … }"),
            );
        }
        if let Some(poke) = self.poke.as_given()
            && !poke.value.restart
            && !self.nudge.is_present()
        {
            sink.say(
                sink.at(
                    poke.span.clone(),
                    "with nothing to nudge by",
                    format!("`poke` in [{service}] only nudges, and there is no `nudge`"),
                )
                .help("for example: nudge = { signal = \"SIGUSR1\" }"),
            );
        }
        let poke = self.poke.or(Poke {
            nudge: true,
            restart: true,
        });
        let restart_command = self.restart_command.value();
        let nudge = self.nudge.value();
        let window = self.restart_window.or(RESTART_WINDOW);
        // Both are in range by how they are read.
        let intensity = Intensity::new(self.max_restarts.or(MAX_RESTARTS), window).ok()?;
        Some(Ladder {
            backoff: self.backoff.value().or_else(default_backoff)?,
            intensity,
            quarantine_for: self.quarantine_for.or(QUARANTINE_FOR),
            poke_on: self.poke_on.or(PokeOn {
                stale: true,
                probe: true,
                errors: false,
            }),
            nudges: poke.nudge && nudge.is_some(),
            restarts: poke.restart && (ours || restart_command.is_some()),
            nudge,
            nudge_wait: self.nudge_wait.or(interval),
            restart_command,
        })
    }
}

fn default_backoff() -> Option<Backoff> {
    Backoff::new(
        BACKOFF_MIN,
        BACKOFF_MAX,
        BACKOFF_FACTOR,
        BACKOFF_JITTER,
        BACKOFF_RESET_AFTER,
    )
    .ok()
}

/// The delays of a series.
fn backoff(value: &Value<'_>) -> Option<Backoff> {
    let Some(mut table) = value.is_table().then(|| value.table()).flatten() else {
        return value.expected("a table", "{ min = \"500ms\", max = \"5m\", factor = 2.0 }");
    };
    let min = table.take("min", duration::positive);
    let max = table.take("max", duration::positive);
    let factor = table.take("factor", |v| {
        number(
            v,
            1.0..=MOST_FACTOR,
            "delays neither shrink nor explode",
            "2.0",
        )
    });
    let jitter = table.take("jitter", |v| {
        number(
            v,
            0.0..=1.0,
            "the share of a delay by which it may differ",
            "0.1",
        )
    });
    let reset_after = table.take("reset_after", duration::positive);
    let wrong = min.is_wrong()
        || max.is_wrong()
        || factor.is_wrong()
        || jitter.is_wrong()
        || reset_after.is_wrong();
    if wrong {
        return None;
    }
    let span = max
        .as_given()
        .or(min.as_given())
        .map(|given| given.span.clone());
    let (min, max) = (min.or(BACKOFF_MIN), max.or(BACKOFF_MAX));
    if min > max {
        return value.wrong_at(
            span.unwrap_or_else(|| value.span.clone()),
            "has a max below its min",
            "the longest delay is shorter than the shortest",
            format!("min is {}, max is {}", show(min), show(max)),
        );
    }
    let (factor, jitter) = (factor.or(BACKOFF_FACTOR), jitter.or(BACKOFF_JITTER));
    match Backoff::new(
        min,
        max,
        factor,
        jitter,
        reset_after.or(BACKOFF_RESET_AFTER),
    ) {
        Ok(backoff) => Some(backoff),
        Err(error) => value.wrong("is no backoff", error.to_string()),
    }
}

/// A number within a range, or said.
fn number(
    value: &Value<'_>,
    range: RangeInclusive<f64>,
    meaning: &str,
    example: &str,
) -> Option<f64> {
    match value.number() {
        Some(number) if range.contains(&number) => Some(number),
        Some(_) => {
            let (least, most) = (range.start(), range.end());
            let problem = format!("is not between {least} and {most}");
            value.wrong(problem, format!("{meaning}; for example {example}"))
        }
        None => value.expected("a number", example),
    }
}

/// A list of different words.
fn words_once<'w>(value: &Value<'_>, all: &[&'w str], example: &str) -> Option<Vec<&'w str>> {
    let words: Vec<(&str, &str)> = all.iter().map(|word| (*word, *word)).collect();
    let found = value.list(example, |word| word.one_of(&words))?;
    for (at, word) in found.iter().enumerate() {
        if found[..at].contains(word) {
            return value.wrong(format!("names \"{word}\" twice"), format!("like {example}"));
        }
    }
    Some(found)
}

fn poke_on(value: &Value<'_>) -> Option<PokeOn> {
    let found = words_once(
        value,
        &["stale", "probe", "errors"],
        "[\"stale\", \"probe\"]",
    )?;
    Some(PokeOn {
        stale: found.contains(&"stale"),
        probe: found.contains(&"probe"),
        errors: found.contains(&"errors"),
    })
}

fn poke(value: &Value<'_>) -> Option<Poke> {
    const EXAMPLE: &str = "[\"nudge\", \"restart\"]";
    let found = words_once(value, &["nudge", "restart"], EXAMPLE)?;
    if found == ["restart", "nudge"] {
        return value.wrong(
            "restarts before it nudges",
            format!("the gentler step comes first: {EXAMPLE}"),
        );
    }
    Some(Poke {
        nudge: found.contains(&"nudge"),
        restart: found.contains(&"restart"),
    })
}

/// The one way to nudge that a table names.
fn nudge(value: &Value<'_>) -> Option<Nudge> {
    const EXAMPLE: &str = "{ signal = \"SIGUSR1\" }";
    let Some(mut table) = value.is_table().then(|| value.table()).flatten() else {
        return value.expected("a table", EXAMPLE);
    };
    let signal = table.take("signal", signals::nudge_signal);
    let exec = table.take("exec", words::command);
    let http = table.take("http", |v| {
        address::call(v, "POST", "\"POST http://127.0.0.1:8080/wake\"")
    });
    let tmux = table.take("tmux", |v| {
        v.need_some_text("\"session\"").map(str::to_owned)
    });
    let text = table.take("text", |v| {
        v.need_some_text("\"wake up\"").map(str::to_owned)
    });
    let ways = [
        signal.is_present(),
        exec.is_present(),
        http.is_present(),
        tmux.is_present(),
    ];
    let help = "one of { signal = \"SIGUSR1\" }, { exec = [\"command\"] }, \
                { http = \"POST http://…\" } and { tmux = \"session\", text = \"…\" }";
    match ways.iter().filter(|way| **way).count() {
        0 => return value.wrong("names no way to nudge", help),
        1 => {}
        _ => return value.wrong("names more than one way to nudge", help),
    }
    match (tmux.is_present(), text.is_present()) {
        (true, false) => return value.wrong("has no `text` to type", help),
        (false, true) => return value.wrong("has a `text`, but no tmux session", help),
        (true, true) | (false, false) => {}
    }
    let typed = tmux.value().zip(text.value());
    signal
        .value()
        .map(Nudge::Signal)
        .or_else(|| exec.value().map(Nudge::Exec))
        .or_else(|| http.value().map(|(method, url)| Nudge::Http(method, url)))
        .or_else(|| typed.map(|(session, text)| Nudge::Tmux(session, text)))
}
