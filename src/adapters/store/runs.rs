//! Runs of services: written when they have ended, read by their service, forgotten by number
//! and by age.
//!
//! Of each service the youngest [`MOST_RUNS`] are kept, of the youngest [`MOST_OUTPUTS`] also
//! what they printed: one that is run every minute must not push out another's month.

use std::collections::BTreeSet;

use supervisor_actors::messages::NewRun;

use super::*;

/// How many runs of a service are kept.
pub(super) const MOST_RUNS: i64 = 1_000;
/// Of how many of them what they printed is kept, too: 10 kB each at most.
pub(super) const MOST_OUTPUTS: i64 = 50;
/// How old a run may become: that of a service that is gone would stay for ever.
pub(super) const KEEP: Duration = Duration::from_secs(366 * 24 * 3600);

/// Writes runs, and forgets those that they push out.
pub(super) fn write(transaction: &Transaction<'_>, runs: &[NewRun]) -> Result<(), rusqlite::Error> {
    let services: BTreeSet<_> = runs.iter().map(|run| run.service.as_str()).collect();
    for service in services {
        let before: i64 = transaction
            .prepare_cached(schema::LAST_RUN)?
            .query_row([service], |row| {
                Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0))
            })?;
        let mut statement = transaction.prepare_cached(schema::RECORD_RUN)?;
        let mut n = before;
        for new in runs.iter().filter(|new| new.service.as_str() == service) {
            n += 1;
            let run = &new.run;
            statement.execute(params![
                service,
                n,
                run.rid.as_ref().map(ToString::to_string),
                run.outcome.as_str(),
                run.exit_code,
                run.began.map(|began| began.0),
                run.ended.0,
                run.took
                    .map(|took| i64::try_from(took.as_micros()).unwrap_or(i64::MAX)),
                run.message,
                run.output,
            ])?;
        }
        // All before were forgotten then.
        let forgotten = before - MOST_OUTPUTS;
        transaction
            .prepare_cached(schema::FORGET_OUTPUT)?
            .execute(params![service, forgotten, n - MOST_OUTPUTS])?;
        transaction
            .prepare_cached(schema::FORGET_RUNS)?
            .execute(params![service, n - MOST_RUNS])?;
    }
    Ok(())
}

/// Forgets what ended before that.
pub(super) fn forget_ended(
    connection: &Connection,
    before: Timestamp,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(schema::FORGET_RUNS_ENDED)?
        .execute([before.0])
        .map(drop)
}

/// Reads the runs of a service, the youngest first.
pub(super) fn read(
    connection: &Connection,
    query: &RunQuery,
) -> Result<Vec<RunRow>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(if query.output {
        schema::RUNS_WITH_OUTPUT
    } else {
        schema::RUNS
    })?;
    let mut found = statement.query(params![
        query.service,
        query.before.unwrap_or(i64::MAX),
        query.number,
        query.limit,
    ])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        // A garbled column hides no other.
        let number = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_i64().ok());
        let date = |micros: i64| Timestamp(micros).rfc3339_micros();
        rows.push(RunRow {
            id: row.get(0)?,
            rid: optional_text(row, 1)?,
            outcome: text(row, 2)?,
            exit_code: number(3)?,
            started_at: number(4)?.map(date),
            ended_at: date(number(5)?.unwrap_or(0)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "exact to the microsecond for 285 years"
            )]
            duration: number(6)?.map(|micros| micros as f64 / 1e6),
            message: optional_text(row, 7)?,
            output: if query.output {
                optional_text(row, 8)?
            } else {
                None
            },
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use supervisor_core::run::{Outcome, Run, RunId};

    use super::super::tests::{WEEK, World, name};
    use super::*;

    impl World {
        fn run(&self, service: &str, output: &str) -> NewRun {
            NewRun {
                service: name(service),
                run: Box::new(Run {
                    rid: Some(RunId::new("a-run").expect("an id")),
                    outcome: Outcome::Failure,
                    exit_code: Some(3),
                    began: Some(Timestamp(self.clock.wall().0 - 2_500_000)),
                    ended: self.clock.wall(),
                    took: Some(Duration::from_millis(2_500)),
                    message: Some("disk full".to_owned()),
                    output: Some(output.to_owned()),
                }),
            }
        }
    }

    fn commit(store: &mut SqliteStore, runs: Vec<NewRun>) {
        let batch = Batch {
            runs,
            ..Batch::default()
        };
        store.commit(&batch).expect("committed");
    }

    fn ask(service: &str) -> RunQuery {
        RunQuery {
            service: service.to_owned(),
            number: None,
            before: None,
            limit: 10,
            output: false,
        }
    }

    fn numbers(rows: &[RunRow]) -> Vec<i64> {
        rows.iter().map(|row| row.id).collect()
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let world = World::new();
        commit(&mut world.store(), vec![world.run("a", "ünï\0\n")]);
        let mut store = world.store();
        let with_output = RunQuery {
            output: true,
            ..ask("a")
        };
        let row = RunRow {
            id: 1,
            rid: Some("a-run".to_owned()),
            outcome: "failure".to_owned(),
            exit_code: Some(3),
            started_at: Some("2026-11-22T01:02:00.504005Z".to_owned()),
            ended_at: "2026-11-22T01:02:03.004005Z".to_owned(),
            duration: Some(2.5),
            message: Some("disk full".to_owned()),
            output: Some("ünï\0\n".to_owned()),
        };
        assert_eq!(store.runs(&with_output), Ok(vec![row.clone()]));
        let without = RunRow {
            output: None,
            ..row
        };
        assert_eq!(store.runs(&ask("a")), Ok(vec![without]));
        assert_eq!(store.runs(&ask("b")), Ok(Vec::new()));
    }

    #[test]
    fn runs_are_numbered_within_their_service_and_read_from_the_youngest_on() {
        let world = World::new();
        let mut store = world.store();
        for _ in 0..3 {
            let runs = ["a", "b", "a"].map(|service| world.run(service, ""));
            commit(&mut store, runs.into());
        }
        let mut page = |query: RunQuery| numbers(&store.runs(&query).expect("read"));
        assert_eq!(page(ask("a")), [6, 5, 4, 3, 2, 1]);
        assert_eq!(page(ask("b")), [3, 2, 1]);
        let two = RunQuery {
            limit: 2,
            before: Some(5),
            ..ask("a")
        };
        assert_eq!(page(two), [4, 3]);
        let one = RunQuery {
            number: Some(4),
            ..ask("a")
        };
        assert_eq!(page(one), [4]);
    }

    #[test]
    fn of_a_service_so_many_runs_are_kept_and_of_fewer_their_output() {
        let world = World::new();
        let mut store = world.store();
        commit(&mut store, vec![world.run("weekly", "kept")]);
        let mut left = MOST_RUNS + 70;
        // One at a time, and many at once.
        for count in [1, 1, 60, 1].into_iter().chain(std::iter::repeat(200)) {
            let count = count.min(left);
            if count == 0 {
                break;
            }
            left -= count;
            commit(
                &mut store,
                (0..count).map(|_| world.run("often", "out")).collect(),
            );
        }
        let all = RunQuery {
            limit: 10_000,
            output: true,
            ..ask("often")
        };
        let rows = store.runs(&all).expect("read");
        assert_eq!(
            (rows.len() as i64, rows.last().map(|row| row.id)),
            (MOST_RUNS, Some(71))
        );
        let with_output = rows.iter().filter(|row| row.output.is_some()).count();
        assert_eq!(with_output as i64, MOST_OUTPUTS);
        assert!(rows[0].output.is_some(), "the youngest have it");
        let weekly = RunQuery {
            output: true,
            ..ask("weekly")
        };
        let weekly = store.runs(&weekly).expect("read");
        assert_eq!(weekly[0].output.as_deref(), Some("kept"));
    }

    #[test]
    fn what_a_service_ran_long_ago_is_forgotten_and_what_is_deleted_is_gone() {
        let world = World::new();
        let mut store = world.store();
        commit(&mut store, vec![world.run("gone", ""), world.run("a", "")]);
        world.clock.pass(KEEP - WEEK);
        commit(&mut store, vec![world.run("a", "")]);
        world.clock.pass(WEEK + Duration::from_secs(1));
        commit(&mut store, vec![world.run("a", "")]);
        assert_eq!(store.runs(&ask("gone")), Ok(Vec::new()));
        assert_eq!(numbers(&store.runs(&ask("a")).expect("read")), [3, 2]);
        let bygone = Bygone {
            service: name("a"),
            before: world.clock.wall(),
            from: 0,
        };
        assert_eq!(store.delete(&bygone).expect("deleted").records, 1);
        assert_eq!(numbers(&store.runs(&ask("a")).expect("read")), [3]);
    }
}
