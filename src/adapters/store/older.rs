//! State directories that older versions wrote still load.

use std::collections::BTreeMap;

use supervisor_actors::messages::{Mark, NewEvent};
use supervisor_actors::ports::Marks as _;
use supervisor_core::event::Exit;
use supervisor_core::time::Time;
use supervisor_core::{
    Action, Event, Generation, Level, Memory, Moment, Now, Service, ServiceName, StateWord, View,
};

use super::*;
use crate::adapters::clock::RealClock;
use crate::adapters::marks::FileMarks;

/// When the fixture was written: 2026-11-22T01:00:00Z, ten minutes after its machine's start.
const WRITTEN: Moment = Moment {
    time: Time(600_000_000_000),
    mono: Mono(600_000_000_000),
    wall: Timestamp(1_795_309_200_000_000),
};
const BOOT: &str = "0f0f0f0f-1111-2222-3333-444444444444";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-v1")
}

fn after(seconds: u64) -> Now {
    let passed = Duration::from_secs(seconds);
    let micros = i64::try_from(passed.as_micros()).expect("a few days");
    Now {
        at: Moment {
            time: WRITTEN.time + passed,
            mono: WRITTEN.mono + passed,
            wall: Timestamp(WRITTEN.wall.0 + micros),
        },
        amnesty: WRITTEN.time,
        roll: 0.5,
    }
}

/// The services of the fixture's configuration, as they were remembered.
fn services(memories: &BTreeMap<String, String>, now: &Now) -> BTreeMap<String, Service> {
    let settings = crate::config::load(&fixture().join("supervisor.toml"), &|_| None)
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    let services = settings.services.into_iter().map(|spec| {
        let memory = memories
            .get(spec.name.as_str())
            .map(|text| serde_json::from_str::<Memory>(text).expect("a memory"));
        let name = spec.name.as_str().to_owned();
        (name, Service::new(spec.policy, memory, now))
    });
    services.collect()
}

fn copy_of_the_fixture() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(fixture().join("data")).expect("the fixture") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    copy
}

#[test]
fn a_state_directory_of_version_1_with_unknown_fields_still_loads() {
    let home = copy_of_the_fixture();
    let mut store = SqliteStore::new(home.path(), Duration::MAX, Arc::new(RealClock));
    let memories: BTreeMap<_, _> = store.load().expect("loaded").into_iter().collect();
    assert_eq!(store.notices(), Vec::<String>::new());
    assert!(
        memories
            .values()
            .all(|memory| memory.contains("\"of_a_later_version\"")),
        "the fixture has unknown fields: {memories:?}"
    );

    // A day and an hour later, less a minute.
    let now = after(25 * 3600 - 60);
    let services = services(&memories, &now);
    let view = |name: &str| -> View {
        let full = ServiceName::new(name).expect("a name");
        services[name].view(&full, &now, &[], &[])
    };
    let worker = view("worker");
    assert_eq!((worker.generation, worker.total_pulses), (1, 1000));
    assert_eq!(worker.status, Level::Healthy);
    let crasher = view("crasher");
    assert_eq!(crasher.state, StateWord::Quarantined);
    assert_eq!((crasher.status, crasher.restarts), (Level::Critical, 3));
    assert_eq!(view("paused").state, StateWord::Paused);
    let backup = view("backup");
    assert_eq!(
        (backup.status, backup.state),
        (Level::Healthy, StateWord::External)
    );
    assert_eq!(backup.age, Some(25.0 * 3600.0 - 60.0));

    let all = EventQuery {
        limit: 1000,
        ..EventQuery::default()
    };
    let events = store.events(&all).expect("read");
    let of = |name: &str| events.iter().filter(|event| event.service == name).count();
    assert!(of("crasher") > 4 && of("worker") > 1, "{events:?}");
    assert!(events.iter().any(|event| event.kind == "quarantined"));

    let marks = FileMarks::new(home.path(), slog::Logger::root(slog::Discard, slog::o!()));
    let mark = marks.read().expect("a mark");
    assert_eq!(
        (mark.time, mark.mono, mark.boot.as_str()),
        (WRITTEN.time, WRITTEN.mono, BOOT)
    );

    // And it is written on.
    let batch = Batch {
        events: Vec::new(),
        memories: vec![(ServiceName::new("worker").expect("a name"), "{}".to_owned())],
        ..Batch::default()
    };
    store.commit(&batch).expect("committed");
    assert_eq!(store.load().expect("loaded").len(), 4);
}

#[test]
#[ignore = "writes the fixture; only to be run when a new version of the tables gets one"]
fn write_state_v1() {
    let data = fixture().join("data");
    for name in ["state.db", "mark"] {
        fs::remove_file(data.join(name)).ok();
    }
    let mut store = SqliteStore::new(&data, Duration::MAX, Arc::new(RealClock));
    let mut services = services(&BTreeMap::new(), &after(0));
    let mut batch = Batch::default();
    let mut tell = |name: &str, service: &mut Service, event: Event, now: &Now| {
        let actions = service.on(event, now);
        for action in &actions {
            if let Action::Tell(change) = action {
                batch.events.push(NewEvent {
                    time: now.at.wall,
                    service: ServiceName::new(name).expect("a name"),
                    change: change.clone(),
                });
            }
        }
        actions
    };
    for (name, service) in &mut services {
        let mut now = after(0);
        tell(name, service, Event::Begin, &now);
        let mut generation = service.generation();
        let pulses = |count| Event::Pulse {
            generation,
            count,
            note: None,
        };
        match name.as_str() {
            "backup" => {
                tell(name, service, pulses(1), &now);
            }
            "crasher" => {
                for _ in 0..20 {
                    let exit = Exit {
                        code: Some(1),
                        signal: None,
                        oom: false,
                        at: now.at.wall,
                    };
                    tell(
                        name,
                        service,
                        Event::Started {
                            generation,
                            pid: 4242,
                        },
                        &now,
                    );
                    tell(
                        name,
                        service,
                        Event::Exited {
                            generation,
                            exit,
                            left: false,
                        },
                        &now,
                    );
                    if service.state() == StateWord::Quarantined {
                        break;
                    }
                    // The first restart of a series has no delay.
                    if service.state() == StateWord::Backoff {
                        let wait = service.deadline(now.amnesty).since(WRITTEN.time);
                        now = after(wait.as_secs() + 1);
                        tell(name, service, Event::Tick, &now);
                    }
                    generation = service.generation();
                }
                assert_eq!(service.state(), StateWord::Quarantined);
            }
            _ => {
                tell(
                    name,
                    service,
                    Event::Started {
                        generation,
                        pid: 4242,
                    },
                    &now,
                );
                tell(name, service, pulses(1000), &now);
                if name == "paused" {
                    let why = "operator".to_owned();
                    tell(name, service, Event::Pause { until: None, why }, &now);
                }
            }
        }
        assert_ne!(service.generation(), Generation(0), "{name}");
    }
    for (name, service) in &services {
        let mut memory = serde_json::to_value(service.memory()).expect("JSON");
        let fields = memory.as_object_mut().expect("an object");
        fields.insert(
            "of_a_later_version".to_owned(),
            serde_json::json!({ "colour": ["red", 1.5, null] }),
        );
        // And one that an even older version did not write.
        assert!(fields.remove("error_count").is_some());
        batch
            .memories
            .push((ServiceName::new(name).expect("a name"), memory.to_string()));
    }
    store.commit(&batch).expect("committed");
    let marks = FileMarks::new(&data, slog::Logger::root(slog::Discard, slog::o!()));
    marks.leave(&Mark {
        time: WRITTEN.time,
        mono: WRITTEN.mono,
        boot: BOOT.to_owned(),
        stopping: None,
    });
}
