//! A test for each cell of the diagram, and histories against a target that takes whatever it
//! is sent, late, twice or not at all.

use super::*;

use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000);
const ALL: [OnDelete; 3] = [OnDelete::Keep, OnDelete::Delete, OnDelete::Tombstone];

fn content(number: u8) -> Content {
    Content {
        hash: ContentHash([number; 32]),
        stat: Stat {
            size: number.into(),
            ..Stat::default()
        },
        settled: true,
    }
}

fn taken(key: &str, number: u8) -> Taken {
    Taken {
        table: "t".into(),
        key: key.into(),
        file_path: key.into(),
        hash: content(number).hash,
        stat: content(number).stat,
        settled: true,
        mapping: 1,
    }
}

fn upsert(number: u8, from: Option<&str>) -> Task {
    Task::Upsert {
        content: content(number),
        mapping: 1,
        from: from.map(str::to_owned),
    }
}

fn task(key: &str, task: Task, state: State) -> Pending {
    Pending {
        seq: 0,
        table: "t".into(),
        key: key.into(),
        file_path: key.into(),
        task,
        state,
        since: NOW,
    }
}

fn parked() -> State {
    State::Parked {
        scope: Scope::Rows,
        reason: "no".into(),
    }
}

fn place(taken: Option<Taken>, pending: Option<Pending>) -> Place {
    Place {
        table: "t".into(),
        key: "a".into(),
        file_path: "a".into(),
        mapping: 1,
        taken,
        pending,
        elsewhere: Vec::new(),
        claimed_by: None,
    }
}

fn queue(key: &str, what: Task) -> Step {
    Step::Queue(task(key, what, State::Due))
}

#[test]
fn new_and_changed_files_are_queued_and_unchanged_ones_are_not() {
    let plan = |taken, number| {
        here(
            &place(taken, None),
            content(number),
            None,
            OnDelete::Keep,
            NOW,
        )
    };
    assert_eq!(
        plan(None, 1),
        (vec![queue("a", upsert(1, None))], Outcome::Queued)
    );
    assert_eq!(
        plan(Some(taken("a", 1)), 2),
        (vec![queue("a", upsert(2, None))], Outcome::Queued)
    );
    assert_eq!(plan(Some(taken("a", 1)), 1), (vec![], Outcome::Unchanged));
}

#[test]
fn a_row_of_other_columns_is_sent_again() {
    let mut row = taken("a", 1);
    row.mapping = 9;
    let (steps, _) = here(
        &place(Some(row), None),
        content(1),
        None,
        OnDelete::Keep,
        NOW,
    );
    assert_eq!(steps, [queue("a", upsert(1, None))]);
}

#[test]
fn the_same_content_with_another_stat_is_only_noted() {
    let mut row = taken("a", 1);
    row.settled = false;
    let (steps, outcome) = here(
        &place(Some(row), None),
        content(1),
        None,
        OnDelete::Keep,
        NOW,
    );
    assert_eq!(
        (steps, outcome),
        (vec![Step::Take(taken("a", 1))], Outcome::Unchanged)
    );
}

#[test]
fn content_that_is_queued_already_is_not_queued_twice() {
    let waiting = task("a", upsert(2, None), State::Due);
    let plan = here(
        &place(Some(taken("a", 1)), Some(waiting)),
        content(2),
        None,
        OnDelete::Keep,
        NOW,
    );
    assert_eq!(plan, (vec![], Outcome::Unchanged));
}

#[test]
fn content_taken_back_is_sent_for_the_other_may_be_on_its_way() {
    let waiting = task("a", upsert(2, None), State::Due);
    let (steps, _) = here(
        &place(Some(taken("a", 1)), Some(waiting)),
        content(1),
        None,
        OnDelete::Keep,
        NOW,
    );
    assert_eq!(steps, [queue("a", upsert(1, None))]);
}

#[test]
fn a_parked_row_is_tried_again_when_its_file_changes_and_not_before() {
    let waiting = task("a", upsert(2, None), parked());
    let place = place(None, Some(waiting));
    let plan = |content| here(&place, content, None, OnDelete::Keep, NOW);
    assert_eq!(plan(content(2)), (vec![], Outcome::Unchanged));
    assert_eq!(plan(content(3)).0, [queue("a", upsert(3, None))]);
    let mut touched = content(2);
    touched.stat.ctime = 5;
    assert_eq!(plan(touched).1, Outcome::Queued);
}

#[test]
fn a_file_that_comes_back_ends_its_deletion() {
    let row = Some(taken("a", 1));
    let held = task("a", Task::Remove, State::Held);
    let plan = |pending, number| {
        here(
            &place(row.clone(), Some(pending)),
            content(number),
            None,
            OnDelete::Delete,
            NOW,
        )
    };
    let unqueue = vec![unqueue("t", "a")];
    assert_eq!(plan(held.clone(), 1), (unqueue, Outcome::Unchanged));
    assert_eq!(plan(held, 2).0, [queue("a", upsert(2, None))]);
    // It may have been done.
    for state in [State::Due, State::Confirmed, parked()] {
        let due = task("a", Task::Remove, state);
        assert_eq!(plan(due, 1).0, [queue("a", upsert(1, None))]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_parked_once_and_keeps_its_row() {
    let stat = content(1).stat;
    let (steps, outcome) = unreadable(&place(Some(taken("a", 1)), None), stat, "no", NOW);
    let Some(Step::Queue(waiting)) = steps.first() else {
        panic!("{steps:?}");
    };
    assert_eq!(
        (waiting, outcome),
        (
            &task("a", Task::Unreadable { stat }, parked()),
            Outcome::Parked
        )
    );
    let place = place(Some(taken("a", 1)), Some(waiting.clone()));
    assert_eq!(
        unreadable(&place, stat, "no", NOW),
        (vec![], Outcome::Unchanged)
    );
    assert_eq!(unreadable(&place, stat, "other", NOW).1, Outcome::Parked);
    // Readable again, and as the target has it.
    let plan = here(&place, content(1), None, OnDelete::Keep, NOW);
    assert_eq!(plan, (vec![unqueue("t", "a")], Outcome::Unchanged));
}

#[test]
fn the_row_of_a_file_that_is_gone_becomes_what_on_delete_says() {
    for on_delete in ALL {
        let (steps, _) = gone(&place(Some(taken("a", 1)), None), on_delete, NOW);
        let expected = match on_delete {
            OnDelete::Keep => forget("t", "a"),
            OnDelete::Delete | OnDelete::Tombstone => queue("a", Task::Remove),
        };
        assert_eq!(steps, [expected]);
    }
}

#[test]
fn a_file_that_went_before_it_was_sent_is_not_sent() {
    let waiting = task("a", upsert(2, None), State::Due);
    let (steps, _) = gone(&place(None, Some(waiting.clone())), OnDelete::Keep, NOW);
    assert_eq!(steps, [unqueue("t", "a")]);
    let (steps, _) = gone(
        &place(Some(taken("a", 1)), Some(waiting.clone())),
        OnDelete::Keep,
        NOW,
    );
    assert_eq!(steps, [unqueue("t", "a"), forget("t", "a")]);
    // It may have been sent.
    let (steps, _) = gone(&place(None, Some(waiting)), OnDelete::Delete, NOW);
    assert_eq!(steps, [queue("a", Task::Remove)]);
}

#[test]
fn a_deletion_is_queued_once() {
    for state in [State::Due, State::Held, State::Confirmed, parked()] {
        let waiting = task("a", Task::Remove, state);
        let plan = gone(
            &place(Some(taken("a", 1)), Some(waiting)),
            OnDelete::Delete,
            NOW,
        );
        assert_eq!(plan, (vec![], Outcome::Unchanged));
    }
}

#[test]
fn nothing_is_done_about_a_file_that_nobody_knew() {
    for on_delete in ALL {
        let plan = gone(&place(None, None), on_delete, NOW);
        assert_eq!(plan, (vec![], Outcome::Unchanged));
        // Its row is another file's by now.
        let mut row = taken("a", 1);
        row.file_path = "other".into();
        let plan = gone(&place(Some(row), None), on_delete, NOW);
        assert_eq!(plan, (vec![], Outcome::Unchanged));
    }
}

#[test]
fn a_rename_moves_the_row_and_nobody_else_removes_it() {
    let (steps, _) = here(
        &place(None, None),
        content(1),
        Some("old".into()),
        OnDelete::Delete,
        NOW,
    );
    assert_eq!(steps, [queue("a", upsert(1, Some("old")))]);
    // The old path's own end.
    let mut old = place(Some(taken("a", 1)), None);
    old.claimed_by = Some("new".into());
    for on_delete in ALL {
        assert_eq!(gone(&old, on_delete, NOW), (vec![], Outcome::Unchanged));
    }
}

#[test]
fn a_renamed_file_that_is_edited_before_it_is_sent_still_moves_its_row() {
    let waiting = task("a", upsert(1, Some("old")), State::Due);
    let (steps, _) = here(
        &place(None, Some(waiting)),
        content(2),
        None,
        OnDelete::Keep,
        NOW,
    );
    assert_eq!(steps, [queue("a", upsert(2, Some("old")))]);
}

#[test]
fn a_file_that_comes_back_to_its_old_name_keeps_its_row() {
    let mut old = place(Some(taken("a", 1)), None);
    old.claimed_by = Some("new".into());
    let (steps, _) = here(&old, content(2), None, OnDelete::Keep, NOW);
    let unclaim = Step::Unclaim {
        table: "t".into(),
        key: "new".into(),
    };
    assert_eq!(steps, [unclaim.clone(), queue("a", upsert(2, None))]);
    // Even unchanged: the move may have been done without our knowing.
    let (steps, _) = here(&old, content(1), None, OnDelete::Keep, NOW);
    assert_eq!(steps, [unclaim, queue("a", upsert(1, None))]);
}

#[test]
fn a_renamed_file_that_is_deleted_before_it_is_sent_takes_its_old_row_along() {
    let waiting = task("a", upsert(1, Some("old")), State::Due);
    let (steps, _) = gone(&place(None, Some(waiting.clone())), OnDelete::Keep, NOW);
    assert_eq!(steps, [forget("t", "old"), unqueue("t", "a")]);
    let (steps, _) = gone(&place(None, Some(waiting)), OnDelete::Delete, NOW);
    let mut remove_old = task("old", Task::Remove, State::Due);
    remove_old.file_path = "a".into();
    assert_eq!(steps, [Step::Queue(remove_old), queue("a", Task::Remove)]);
}

#[test]
fn a_file_that_belongs_elsewhere_now_leaves_its_old_row_to_on_delete() {
    let mut moved = place(None, None);
    let mut row = taken("a", 1);
    row.table = "before".into();
    moved.elsewhere.push(row);
    let (steps, _) = here(&moved, content(1), None, OnDelete::Keep, NOW);
    assert_eq!(steps, [forget("before", "a"), queue("a", upsert(1, None))]);
    let (steps, _) = here(&moved, content(1), None, OnDelete::Delete, NOW);
    let mut remove = task("a", Task::Remove, State::Due);
    remove.table = "before".into();
    assert_eq!(steps, [Step::Queue(remove), queue("a", upsert(1, None))]);
}

#[test]
fn f81_more_than_twenty_rows_and_a_tenth_of_a_table_are_held() {
    for (removals, rows, held) in [
        (20, 20, false),
        (21, 21, true),
        (21, 209, true),
        (21, 210, false),
        (500, 5_001, false),
        (501, 5_000, true),
        (0, 0, false),
    ] {
        assert_eq!(brakes(removals, rows), held, "{removals} of {rows}");
    }
}

// === histories ===

#[derive(Debug, Clone)]
enum Act {
    /// Somebody writes this content into a file.
    Write(usize, u8),
    Delete(usize),
    /// Somebody renames a file.
    Rename(usize, usize),
    /// The file is looked at.
    Look(usize),
    /// The oldest task is sent: the target does it, and answers or not.
    Send {
        answered: bool,
    },
}

/// Three files, the manifest, the outbox, and a target.
#[derive(Debug, Default)]
struct World {
    files: [Option<u8>; 3],
    taken: std::collections::BTreeMap<String, Taken>,
    outbox: std::collections::BTreeMap<String, Pending>,
    target: std::collections::BTreeMap<String, u8>,
    seq: u64,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl World {
    fn place(&self, at: usize) -> Place {
        let key = NAMES[at];
        let claims = |pending: &&Pending| matches!(&pending.task, Task::Upsert { from: Some(from), .. } if from == key);
        Place {
            key: key.into(),
            file_path: key.into(),
            claimed_by: self
                .outbox
                .values()
                .find(claims)
                .map(|pending| pending.key.clone()),
            ..place(self.taken.get(key).cloned(), self.outbox.get(key).cloned())
        }
    }

    fn apply(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Queue(mut pending) => {
                    self.seq += 1;
                    pending.seq = self.seq;
                    self.outbox.insert(pending.key.clone(), pending);
                }
                Step::Unqueue { key, .. } => drop(self.outbox.remove(&key)),
                Step::Take(taken) => drop(self.taken.insert(taken.key.clone(), taken)),
                Step::Forget { key, .. } => drop(self.taken.remove(&key)),
                Step::Unclaim { key, .. } => {
                    let mut pending = self.outbox.remove(&key).expect("a claim");
                    if let Task::Upsert { from, .. } = &mut pending.task {
                        *from = None;
                    }
                    self.apply(vec![Step::Queue(pending)]);
                }
            }
        }
    }

    fn look(&mut self, at: usize, on_delete: OnDelete) {
        let place = self.place(at);
        let (steps, _) = match self.files[at] {
            None => gone(&place, on_delete, NOW),
            Some(number) => {
                // A row whose file is gone and had this content has become this file.
                let moved = (0..3).find(|other| {
                    let key = NAMES[*other];
                    let row = self.taken.get(key);
                    place.taken.is_none()
                        && *other != at
                        && self.files[*other].is_none()
                        && row.is_some_and(|row| row.hash == content(number).hash)
                        && self.place(*other).claimed_by.is_none()
                        && !self.outbox.contains_key(key)
                });
                let from = moved.map(|other| NAMES[other].to_owned());
                here(&place, content(number), from, on_delete, NOW)
            }
        };
        self.apply(steps);
    }

    fn send(&mut self, answered: bool, on_delete: OnDelete) {
        let Some(pending) = self
            .outbox
            .values()
            .min_by_key(|pending| pending.seq)
            .cloned()
        else {
            return;
        };
        let key = pending.key.clone();
        match &pending.task {
            Task::Upsert { content, from, .. } => {
                if let Some(from) = from {
                    self.target.remove(from);
                }
                self.target.insert(key.clone(), content.hash.0[0]);
            }
            Task::Remove => drop(self.target.remove(&key)),
            Task::Unreadable { .. } => unreachable!("never due"),
        }
        if !answered {
            return;
        }
        self.outbox.remove(&key);
        match pending.task {
            Task::Upsert { content, from, .. } => {
                if let Some(from) = from {
                    self.taken.remove(&from);
                }
                let row = Taken {
                    key: key.clone(),
                    file_path: key.clone(),
                    ..taken("", content.hash.0[0])
                };
                self.taken.insert(key, row);
            }
            Task::Remove => drop(self.taken.remove(&key)),
            Task::Unreadable { .. } => {}
        }
        let _ = on_delete;
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0_usize..3, 1_u8..4).prop_map(|(at, number)| Act::Write(at, number)),
        (0_usize..3).prop_map(Act::Delete),
        (0_usize..3, 0_usize..3).prop_map(|(from, to)| Act::Rename(from, to)),
        (0_usize..3).prop_map(Act::Look),
        any::<bool>().prop_map(|answered| Act::Send { answered }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// Whatever is written, deleted, renamed, looked at and sent in whatever order: once all
    /// files are looked at and the outbox is empty, the target has every file's last content,
    /// and under `delete` nothing besides.
    #[test]
    fn whatever_happens_the_target_ends_with_the_last_content(
        acts in proptest::collection::vec(act(), 0..40),
        deletes in any::<bool>(),
    ) {
        let on_delete = if deletes { OnDelete::Delete } else { OnDelete::Keep };
        let mut world = World::default();
        for act in acts {
            match act {
                Act::Write(at, number) => world.files[at] = Some(number),
                Act::Delete(at) => world.files[at] = None,
                Act::Rename(from, to) => {
                    if from != to && world.files[from].is_some() {
                        world.files[to] = world.files[from].take();
                    }
                }
                Act::Look(at) => world.look(at, on_delete),
                Act::Send { answered } => world.send(answered, on_delete),
            }
        }
        for _ in 0..2 {
            for at in 0..3 {
                world.look(at, on_delete);
            }
            while !world.outbox.is_empty() {
                world.send(true, on_delete);
            }
        }
        for (file, name) in world.files.iter().zip(NAMES) {
            let row = world.target.get(name).copied();
            match (*file, on_delete) {
                (Some(number), _) => prop_assert_eq!(row, Some(number)),
                (None, OnDelete::Keep) => {}
                (None, _) => prop_assert_eq!(row, None),
            }
        }
    }
}
