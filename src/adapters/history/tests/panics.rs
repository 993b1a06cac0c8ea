//! Faults of our own, and how they are told of.

use super::*;

/// A log that a test reads.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl slog::Drain for Said {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        let line = format!("{} {}", record.level(), record.msg());
        self.0.lock().unwrap().push(line);
        Ok(())
    }
}

impl Said {
    fn logger(&self) -> Logger {
        Logger::root(self.clone(), slog::o!())
    }

    fn lines(&self, part: &str) -> Vec<String> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.retain(|line| line.contains(part));
        lines
    }
}

/// Whoever asks it for the wall clock panics, as often as it was told to.
struct Faulty {
    clock: Arc<SetClock>,
    faults: AtomicU64,
}

impl Clock for Faulty {
    fn mono(&self) -> Mono {
        self.clock.mono()
    }

    fn uptime(&self) -> Mono {
        self.clock.uptime()
    }

    fn wall(&self) -> Timestamp {
        let faults = self.faults.load(Ordering::Relaxed);
        self.faults
            .store(faults.saturating_sub(1), Ordering::Relaxed);
        assert!(faults == 0, "told to");
        self.clock.wall()
    }
}

fn minute(n: i64) -> Minutes {
    let at = |n: i64| Timestamp((FIRST + n) * MINUTE_MICROS);
    Minutes {
        minute: FIRST + n,
        since: at(n),
        until: at(n + 1),
        slices: vec![(name("a"), steady())],
    }
}

#[actix_web::test]
async fn a_fault_of_our_own_costs_a_minute_and_is_said_once() {
    let world = World::new();
    let said = Said::default();
    let clock = Arc::new(Faulty {
        clock: world.clock.clone(),
        faults: AtomicU64::new(0),
    });
    let home = world.home.path();
    let history = HistoryDatabase::new(home, KEEP, clock.clone(), said.logger()).unwrap();
    clock.faults.store(2, Ordering::Relaxed);
    for n in 0..4 {
        history.keep(minute(n));
    }
    let query = HistoryQuery {
        service: name("a"),
        from: FIRST,
        to: FIRST + 10,
        step: 1,
        now: FIRST + 4,
    };
    let page = history.read(query).await.unwrap();
    let minutes: Vec<_> = page.points.iter().map(|point| point.0 - FIRST).collect();
    assert_eq!(minutes, [2, 3]);
    let gap = &page.gaps[0];
    assert_eq!((gap.from, gap.to), (minute(0).since, minute(2).since));
    assert!(gap.reason.contains("fault"), "{gap:?}");
    assert_eq!(said.lines("cannot be kept").len(), 1);
    assert_eq!(said.lines("kept again").len(), 1);
}

#[test]
fn that_nothing_is_kept_any_more_is_said_once_and_blames_no_disk() {
    let said = Said::default();
    let (jobs, _) = sync_channel(1);
    let history = HistoryDatabase {
        jobs,
        lost: Arc::default(),
        over: AtomicBool::new(false),
        log: said.logger(),
    };
    for n in 0..3 {
        history.keep(minute(n));
    }
    assert_eq!(said.lines("").len(), 1);
    assert!(said.lines("ERRO")[0].contains("its thread has ended"));
}
