//! Leaving a stand-in, once the data directory can be written again: what must not be forgotten
//! goes home first, and what living processes still use of it stays as long as they live.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::MOST_BYTES;

/// The directories of lives.
const SHIMS: &str = "shim";
/// Where a life's output goes, for as long as it lasts.
const LOGS: &str = "log";
/// Whose sockets living processes know by their paths.
const SOCKETS: &str = "notify";
const ALERTS: &str = "alerts.db";

/// The secrets that tokens were made with, and the word that nothing be poked: by their absence
/// a new one would be made, or everything poked again.
const WORDS: [&str; 3] = ["key", "token", "ESTOP"];

/// Takes home what the data directory lacks, and removes the rest but what the living need.
/// Gives what people should know of it, a sentence each.
pub(crate) fn leave(stand_in: &Path, data_dir: &Path) -> Vec<String> {
    let mut said = Vec::new();
    let mut stays = Vec::new();
    let mut goes_home = |what: &str, done: io::Result<bool>| match done {
        Ok(came) => came,
        Err(error) => {
            said.push(format!(
                "{what} of {} could not be taken over into {}: {error}; it stays there until the \
                 next start",
                stand_in.display(),
                data_dir.display()
            ));
            stays.push(what.to_owned());
            false
        }
    };
    let mut came = Vec::new();
    for word in WORDS {
        if goes_home(word, take_word(stand_in, data_dir, word)) {
            came.push(word);
        }
    }
    if goes_home(ALERTS, take_alerts(stand_in, data_dir)) {
        came.push(ALERTS);
    }
    let lives = remove_empty_lives(&stand_in.join(SHIMS));
    goes_home(LOGS, take_logs(stand_in, data_dir, lives));
    let was_a_seat = stand_in.join("state.db").exists();
    if lives {
        stays.extend([SHIMS, LOGS, SOCKETS].map(str::to_owned));
    }
    remove_all_but(stand_in, &stays);
    if was_a_seat {
        let with = if came.is_empty() {
            String::new()
        } else {
            format!(" {} came along;", came.join(", "))
        };
        said.push(format!(
            "{} can be written again, and the stand-in {} is left:{with} the history of the time \
             between, and pauses set in it, are forgotten",
            data_dir.display(),
            stand_in.display()
        ));
    }
    said
}

/// Takes a small file that the data directory lacks. Whether it did.
fn take_word(stand_in: &Path, data_dir: &Path, name: &str) -> io::Result<bool> {
    let (from, to) = (stand_in.join(name), data_dir.join(name));
    if to.try_exists()? || !from.try_exists()? {
        return Ok(false);
    }
    copy_whole(&from, &to)?;
    Ok(true)
}

/// Takes the alerts, silences and what waits to be sent, if they are a later state of those of
/// the data directory. Whether they were.
fn take_alerts(stand_in: &Path, data_dir: &Path) -> io::Result<bool> {
    let (from, to) = (stand_in.join(ALERTS), data_dir.join(ALERTS));
    if !from.try_exists()? || age(&from) <= age(&to) {
        return Ok(false);
    }
    if fs::metadata(&to).is_ok_and(|file| file.len() > MOST_BYTES) {
        return Err(io::Error::other(
            "the older ones were too many to be copied",
        ));
    }
    // What stands beside it goes into it, so that one file is all.
    let whole = Connection::open(&from).and_then(|database| {
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, i64>(0)
        })
    });
    match whole {
        Ok(0) => {}
        Ok(_) => return Err(io::Error::other("somebody else has them open")),
        Err(error) => return Err(io::Error::other(error)),
    }
    // Those of an older state would be taken for a part of the new one.
    for beside in ["alerts.db-wal", "alerts.db-shm"] {
        match fs::remove_file(data_dir.join(beside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    copy_whole(&from, &to)?;
    Ok(true)
}

/// When a database was written last.
fn age(database: &Path) -> Option<SystemTime> {
    let mut beside = database.as_os_str().to_owned();
    beside.push("-wal");
    let written = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    written(database).max(written(Path::new(&beside)))
}

/// The new file is there whole or not at all.
fn copy_whole(from: &Path, to: &Path) -> io::Result<()> {
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.sync_all()?;
    fs::rename(&temporary, to)
}

/// Removes what ended lives have left, and cradles that were never anybody's. Whether there is
/// somebody still.
fn remove_empty_lives(shims: &Path) -> bool {
    for entry in fs::read_dir(shims).into_iter().flatten().flatten() {
        let _gone = if entry.file_name() == ".new" {
            fs::remove_dir_all(entry.path())
        } else {
            // Where somebody may live it is not empty.
            fs::remove_dir(entry.path())
        };
    }
    let _gone = fs::remove_dir(shims);
    !matches!(shims.try_exists(), Ok(false))
}

/// What was printed meanwhile is appended to the logs of the data directory; and for who goes on
/// printing into the stand-in, that is a way to there. Whether something was.
fn take_logs(stand_in: &Path, data_dir: &Path, lives: bool) -> io::Result<bool> {
    let (logs, home) = (stand_in.join(LOGS), data_dir.join(LOGS));
    let moved = stand_in.join("log.left");
    // Of an earlier time, when the disk had no room for it.
    if fs::symlink_metadata(&moved).is_ok_and(|found| found.is_dir()) {
        append_all(&moved, &home)?;
    }
    match fs::symlink_metadata(&logs) {
        Ok(found) if found.is_dir() => {
            fs::create_dir_all(&home)?;
            if lives {
                // At once, so that nobody finds no place to print to.
                let _older = fs::remove_file(&moved);
                symlink(&home, &moved)?;
                renameat_with(CWD, &moved, CWD, &logs, RenameFlags::EXCHANGE)?;
            } else {
                fs::rename(&logs, &moved)?;
            }
        }
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    append_all(&moved, &home)?;
    Ok(true)
}

/// Appends logs that were moved here to those at home, and removes them.
fn append_all(moved: &Path, home: &Path) -> io::Result<()> {
    let mut files: Vec<_> = fs::read_dir(moved)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // `web.log.1` is older than `web.log`.
    files.sort_by(|one, other| other.cmp(one));
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_number = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        let current = match name.rsplit_once('.') {
            Some((current, rest)) if is_number(rest) => current,
            Some(_) | None => &*name,
        };
        let mut open = OpenOptions::new();
        let mut to = open
            .append(true)
            .create(true)
            .mode(0o600)
            .open(home.join(current))?;
        to.write_all(&fs::read(&file)?)?;
        fs::remove_file(&file)?;
    }
    fs::remove_dir(moved)
}

fn remove_all_but(stand_in: &Path, stays: &[String]) {
    for entry in fs::read_dir(stand_in).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // With all that stands beside a database, and with logs on their way.
        if stays.iter().any(|stay| name.starts_with(stay.as_str())) {
            continue;
        }
        let path = entry.path();
        let _gone = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
            Ok(_) | Err(_) => fs::remove_file(path),
        };
    }
    let _gone = fs::remove_dir(stand_in);
}

#[cfg(test)]
mod tests {
    use super::super::fill;
    use super::*;

    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("home")).unwrap();
            fs::create_dir(dir.path().join("away")).unwrap();
            Self { dir }
        }

        fn home(&self) -> PathBuf {
            self.dir.path().join("home")
        }

        fn away(&self) -> PathBuf {
            self.dir.path().join("away")
        }

        fn leave(&self) -> Vec<String> {
            leave(&self.away(), &self.home())
        }
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
    }

    fn silences(path: &Path) -> i64 {
        let database = Connection::open(path).unwrap();
        database
            .query_row("SELECT count(*) FROM silence", [], |row| row.get(0))
            .unwrap()
    }

    fn silence(path: &Path) -> Connection {
        let database = Connection::open(path).unwrap();
        database
            .execute_batch(
                "PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS silence (id INTEGER);
                 INSERT INTO silence VALUES (1)",
            )
            .unwrap();
        database
    }

    #[test]
    fn secrets_and_the_emergency_stop_go_home_and_never_over_what_is_there() {
        let world = World::new();
        fs::write(world.home().join("token"), "at home").unwrap();
        for name in WORDS {
            fs::write(world.away().join(name), "away").unwrap();
        }
        world.leave();
        assert_eq!(read(&world.home().join("key")), "away");
        assert_eq!(read(&world.home().join("ESTOP")), "away");
        assert_eq!(read(&world.home().join("token")), "at home");
        assert!(!world.away().exists());
    }

    #[test]
    fn alerts_go_home_with_what_stands_beside_their_database() {
        let world = World::new();
        let (home, away) = (world.home().join(ALERTS), world.away().join(ALERTS));
        drop(silence(&home));
        fill(&world.away(), &world.home());
        let long_ago = SystemTime::UNIX_EPOCH;
        File::options()
            .append(true)
            .open(&home)
            .and_then(|file| file.set_modified(long_ago))
            .unwrap();
        // As of a supervisor that was killed: what it wrote last is not in the database itself.
        let killed = silence(&away);
        for name in [ALERTS, "alerts.db-wal"] {
            fs::copy(world.away().join(name), world.dir.path().join(name)).unwrap();
        }
        drop(killed);
        for name in [ALERTS, "alerts.db-wal"] {
            fs::copy(world.dir.path().join(name), world.away().join(name)).unwrap();
        }
        fs::write(world.away().join("state.db"), "").unwrap();
        let said = world.leave();
        assert_eq!(silences(&home), 2);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("alerts.db came along"), "{said:?}");

        // Older ones stay behind.
        fs::create_dir(world.away()).unwrap();
        drop(silence(&away));
        let away = File::options().append(true).open(&away).unwrap();
        away.set_modified(long_ago).unwrap();
        world.leave();
        assert_eq!(silences(&home), 2);
    }

    #[test]
    fn what_cannot_go_home_stays_and_is_said() {
        let world = World::new();
        fs::write(world.away().join(ALERTS), "no database").unwrap();
        let said = world.leave();
        assert!(said[0].contains("alerts.db"), "{said:?}");
        assert_eq!(read(&world.away().join(ALERTS)), "no database");
    }

    #[test]
    fn logs_go_home_and_who_lives_prints_there_from_then_on() {
        let world = World::new();
        let logs = world.away().join("log");
        fs::create_dir(&logs).unwrap();
        fs::create_dir(world.home().join("log")).unwrap();
        fs::write(world.home().join("log/web.log"), "one\n").unwrap();
        fs::write(logs.join("web.log.1"), "two\n").unwrap();
        fs::write(logs.join("web.log"), "three\n").unwrap();
        let life = world.away().join("shim/web/1");
        fs::create_dir_all(&life).unwrap();
        fs::create_dir_all(world.away().join("shim/.new/4")).unwrap();
        fs::write(world.away().join("shim/.new/4/lock"), "").unwrap();
        fs::create_dir(world.away().join("notify")).unwrap();
        for _ in 0..2 {
            world.leave();
            assert_eq!(read(&world.home().join("log/web.log")), "one\ntwo\nthree\n");
            assert!(
                world.away().join("notify").exists(),
                "it is known by its path"
            );
        }
        fs::write(logs.join("web.log"), "four\n").unwrap();
        assert_eq!(read(&world.home().join("log/web.log")), "four\n");

        fs::remove_dir_all(life.parent().unwrap()).unwrap();
        world.leave();
        assert!(!world.away().exists(), "nobody needs it any more");
        assert_eq!(read(&world.home().join("log/web.log")), "four\n");
    }
}
