//! `deacon touch` and `deacon status`: a town's heartbeat file, written and read as the
//! Deacon's own program does. No supervisor is needed.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;
use supervisor_actors::ports::DeaconFile;
use supervisor_core::deacon::{self, Heartbeat, NoHeartbeat};
use supervisor_core::{Freshness, Timestamp};

use super::Context;
use super::args::{DeaconArgs, DeaconCommand, DeaconTouchArgs};
use super::escape::escape;
use super::exit::{CliError, Exit};
use super::human;
use super::output::{put, put_json};
use crate::adapters::deacon_file::RealDeaconFile;

/// How often a file that cannot be read as a heartbeat is looked at …
const LOOKS: u32 = 5;
/// … and how long is waited between two looks: its writer needs microseconds.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What stands in the file.
#[derive(Debug)]
enum Stood {
    Heartbeat(Heartbeat),
    Missing,
    /// After several looks.
    Nothing(NoHeartbeat),
}

/// Carries out `deacon …`.
pub(super) fn run(context: &Context, args: &DeaconArgs) -> Result<Exit, CliError> {
    match &args.command {
        DeaconCommand::Touch(args) => touch(args, human::now()),
        DeaconCommand::Status(args) => {
            let file = deacon::heartbeat_file(&args.town);
            let stood = look(&file)?;
            let (text, exit) = report(&file, &stood, human::now(), context.look.json);
            if context.look.json {
                put_json(&text)?;
            } else {
                put(&text)?;
            }
            Ok(exit)
        }
    }
}

fn touch(args: &DeaconTouchArgs, now: Timestamp) -> Result<Exit, CliError> {
    let path = deacon::heartbeat_file(&args.town);
    let previous = match look(&path)? {
        Stood::Heartbeat(heartbeat) => Some(heartbeat),
        // As the original: what is no heartbeat is replaced by the first one.
        Stood::Missing | Stood::Nothing(_) => None,
    };
    let previous = previous.as_ref();
    let says = args.action.is_some() || args.healthy.is_some() || args.unhealthy.is_some();
    let heartbeat = if says {
        let action = args.action.as_deref().unwrap_or_default();
        let (healthy, unhealthy) = (args.healthy.unwrap_or(0), args.unhealthy.unwrap_or(0));
        deacon::touch_with_action(previous, now, action, healthy, unhealthy)
    } else {
        deacon::touch(previous, now)
    };
    RealDeaconFile::new(&args.town)
        .write(&deacon::write(&heartbeat))
        .map_err(|source| CliError::File { path, source })?;
    Ok(Exit::Fine)
}

/// Reads the file; one that is empty or cut is looked at again, for its writer may be at it.
fn look(file: &Path) -> Result<Stood, CliError> {
    let mut looks = 1;
    loop {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stood::Missing),
            Err(source) => {
                return Err(CliError::Unreadable {
                    path: file.to_owned(),
                    source,
                });
            }
        };
        match deacon::read(&bytes) {
            Ok(heartbeat) => return Ok(Stood::Heartbeat(heartbeat)),
            Err(why) if looks == LOOKS => return Ok(Stood::Nothing(why)),
            Err(_) => {
                looks += 1;
                thread::sleep(BETWEEN_LOOKS);
            }
        }
    }
}

/// What is said of it, and the exit code.
fn report(file: &Path, stood: &Stood, now: Timestamp, json: bool) -> (String, Exit) {
    let heartbeat = match stood {
        Stood::Heartbeat(heartbeat) => Some(heartbeat),
        Stood::Missing | Stood::Nothing(_) => None,
    };
    let age = deacon::age(heartbeat, now);
    let freshness = deacon::freshness(heartbeat, now);
    let exit = match freshness {
        Freshness::Fresh => Exit::Fine,
        Freshness::Stale => Exit::Failure,
        Freshness::VeryStale => Exit::Unhealthy,
    };
    let future = heartbeat.is_some_and(|heartbeat| heartbeat.age(now).future);
    if json {
        let object = json!({
            "file": file.display().to_string(),
            "freshness": freshness.as_str(),
            "age": age.map(|age| age.as_secs_f64()),
            "future": future,
            "timestamp": heartbeat.map(|heartbeat| heartbeat.timestamp.to_string()),
            "cycle": heartbeat.map(|heartbeat| heartbeat.cycle),
            "last_action": heartbeat.map(|heartbeat| &heartbeat.last_action),
            "healthy_agents": heartbeat.map(|heartbeat| heartbeat.healthy_agents),
            "unhealthy_agents": heartbeat.map(|heartbeat| heartbeat.unhealthy_agents),
            "problem": problem(stood),
        });
        return (object.to_string(), exit);
    }
    let word = freshness.as_str().replace('_', " ");
    let mut text = match (heartbeat, age) {
        (Some(heartbeat), Some(age)) => format!(
            "{word}: {} old, cycle {}, {} healthy, {} unhealthy",
            human::seconds(age.as_secs_f64()),
            heartbeat.cycle,
            heartbeat.healthy_agents,
            heartbeat.unhealthy_agents
        ),
        (Some(_), None) => format!("{word}: never written"),
        (None, _) => format!("{word}: {}", problem(stood).unwrap_or_default()),
    };
    if let Some(heartbeat) = heartbeat
        && !heartbeat.last_action.is_empty()
    {
        text.push_str(", last: ");
        text.push_str(&escape(&heartbeat.last_action));
    }
    if future {
        text.push_str("; its timestamp is ahead of our clock");
    }
    text.push('\n');
    (text, exit)
}

/// Why there is no heartbeat.
fn problem(stood: &Stood) -> Option<String> {
    match stood {
        Stood::Heartbeat(_) => None,
        Stood::Missing => Some("there is no heartbeat file".to_owned()),
        Stood::Nothing(why) => Some(escape(&why.to_string()).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T18:30:00Z.
    const NOON: Timestamp = Timestamp(1_767_378_600_000_000);

    fn later(seconds: i64) -> Timestamp {
        Timestamp(NOON.0 + seconds * 1_000_000)
    }

    fn args(town: &Path) -> DeaconTouchArgs {
        DeaconTouchArgs {
            town: town.to_owned(),
            action: None,
            healthy: None,
            unhealthy: None,
        }
    }

    #[test]
    fn touches_write_what_the_original_writes_byte_for_byte() {
        let town = tempfile::tempdir().unwrap();
        let file = deacon::heartbeat_file(town.path());
        assert_eq!(touch(&args(town.path()), NOON).unwrap(), Exit::Fine);
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "{\n  \"timestamp\": \"2026-01-02T18:30:00Z\",\n  \"cycle\": 1,\n  \
             \"healthy_agents\": 0,\n  \"unhealthy_agents\": 0\n}"
        );
        let said = DeaconTouchArgs {
            action: Some("health-scan <a> & b".to_owned()),
            healthy: Some(3),
            unhealthy: Some(1),
            ..args(town.path())
        };
        touch(&said, Timestamp(NOON.0 + 500_000)).unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            "{\n  \"timestamp\": \"2026-01-02T18:30:00.5Z\",\n  \"cycle\": 2,\n  \
             \"last_action\": \"health-scan \\u003ca\\u003e \\u0026 b\",\n  \
             \"healthy_agents\": 3,\n  \"unhealthy_agents\": 1\n}"
        );
        touch(&args(town.path()), later(60)).unwrap();
        let third = deacon::read(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!((third.cycle, third.last_action.as_str()), (3, ""));
    }

    #[test]
    fn what_is_no_heartbeat_is_replaced_by_the_first_one() {
        let town = tempfile::tempdir().unwrap();
        let file = deacon::heartbeat_file(town.path());
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "{\"cycle\":\"5\"}").unwrap();
        touch(&args(town.path()), NOON).unwrap();
        let first = deacon::read(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(first.cycle, 1);
    }

    #[test]
    fn the_status_says_age_and_word_and_exits_by_it() {
        let file = Path::new("/town/deacon/heartbeat.json");
        let stood = Stood::Heartbeat(deacon::touch_with_action(None, NOON, "scan\u{1b}", 3, 1));
        for (seconds, exit, begins) in [
            (
                12,
                Exit::Fine,
                "fresh: 12 s old, cycle 1, 3 healthy, 1 unhealthy",
            ),
            (180, Exit::Failure, "stale: 3m old"),
            (300, Exit::Unhealthy, "very stale: 5m old"),
            (-60, Exit::Fine, "fresh: 0 s old"),
        ] {
            let (text, code) = report(file, &stood, later(seconds), false);
            assert_eq!(code, exit, "{seconds}");
            assert!(text.starts_with(begins), "{text}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
            assert_eq!(text.contains("ahead of our clock"), seconds < 0, "{text}");
        }
        let (text, code) = report(file, &Stood::Missing, NOON, false);
        assert_eq!(code, Exit::Unhealthy);
        assert_eq!(text, "very stale: there is no heartbeat file\n");
        let never = Stood::Heartbeat(Heartbeat::default());
        assert_eq!(
            report(file, &never, NOON, false).0,
            "very stale: never written\n"
        );
    }

    #[test]
    fn programs_get_the_same_as_an_object() {
        let file = Path::new("/town/deacon/heartbeat.json");
        let stood = Stood::Heartbeat(deacon::touch(None, NOON));
        let (text, _) = report(file, &stood, later(150), true);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["freshness"], "stale");
        assert_eq!(object["age"], 150.0);
        assert_eq!(object["cycle"], 1);
        let (text, exit) = report(file, &Stood::Nothing(NoHeartbeat::Empty), NOON, true);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&object["age"], exit),
            (&serde_json::Value::Null, Exit::Unhealthy)
        );
        assert_eq!(object["problem"], "the heartbeat file is empty");
    }

    #[test]
    fn f43_a_file_that_is_being_written_is_looked_at_again() {
        let town = tempfile::tempdir().unwrap();
        let file = deacon::heartbeat_file(town.path());
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let whole = deacon::write(&deacon::touch(None, NOON));
        let stood = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(BETWEEN_LOOKS / 2);
                std::fs::write(&file, &whole).unwrap();
            });
            look(&file).unwrap()
        });
        assert!(matches!(stood, Stood::Heartbeat(_)), "{stood:?}");
    }
}
