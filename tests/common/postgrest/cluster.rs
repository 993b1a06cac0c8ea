//! PostgreSQL for one test: a copy of a cluster that was prepared once, with Supabase's roles.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use super::{PATIENCE, cache};

/// Supabase's roles and rights: what the owner makes in `public` all three may use, so that
/// only row security stands between them and a table.
const ROLES: &str = "
    create role anon nologin noinherit;
    create role authenticated nologin noinherit;
    create role service_role nologin noinherit bypassrls;
    create role authenticator login noinherit;
    grant anon, authenticated, service_role to authenticator;
    grant usage on schema public to anon, authenticated, service_role;
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
    alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
";

/// Nothing of it must outlive a test, so nothing is waited for on the disk.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "full_page_writes=off",
    "listen_addresses=",
    "shared_buffers=16MB",
    "deadlock_timeout=100ms",
    "max_connections=40",
];

/// One PostgreSQL in a directory of its own.
pub(super) struct Cluster {
    data: PathBuf,
    server: Option<Child>,
}

impl Cluster {
    /// Copies the prepared cluster; starts nothing.
    pub(super) fn copy_into(dir: &Path) -> Self {
        let data = dir.join("cluster");
        copy(&prepared(), &data);
        Self { data, server: None }
    }

    /// Starts it, waits until it takes connections, and says its pid.
    pub(super) fn start(&mut self) -> u32 {
        assert!(self.server.is_none(), "it runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.with_extension("log"))
            .expect("a log");
        let mut command = as_owner("postgres");
        command.arg("-D").arg(&self.data).arg("-k").arg(&self.data);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let server = command
            .current_dir(&self.data)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("PostgreSQL starts");
        let pid = server.id();
        self.server = Some(server);
        let begin = Instant::now();
        while !self.is_ready(pid) {
            assert!(
                begin.elapsed() < PATIENCE,
                "PostgreSQL was never ready: {}",
                fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        pid
    }

    /// What `pg_ctl -w` looks at: the last line of the pid file.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
    }

    /// Ends it at once, its clients cut off; says which pid is free again.
    pub(super) fn stop(&mut self) -> Option<u32> {
        let mut server = self.server.take()?;
        let pid = server.id();
        // It may have ended by itself.
        let _sent = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGQUIT);
        let _status = server.wait();
        Some(pid)
    }

    /// How a role reaches it.
    pub(super) fn uri(&self, role: &str) -> String {
        format!("postgres://{role}@/postgres?host={}", self.data.display())
    }

    pub(super) fn sql(&self, sql: &str) -> Result<String, String> {
        let output = Command::new("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.uri("postgres"))
            .stdin(Stdio::null())
            .output()
            .expect("psql");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

/// The cluster that is copied, made by whoever is first.
fn prepared() -> PathBuf {
    let (bin, user) = (binaries(), owner());
    let version = bin.parent().and_then(Path::file_name).expect("a version");
    let name = format!("cluster-{}-{}", version.display(), user.name);
    let (place, cache) = (cache().join(&name), cache());
    fs::create_dir_all(&cache).expect("a cache");
    let lock = File::create(cache.join(format!("{name}.lock"))).expect("a lock");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).expect("the lock");
    if place.exists() {
        return place;
    }
    // Made elsewhere: not every directory above the cache need be open to the owner.
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let data = dir.path().join("cluster");
    let output = as_owner("initdb")
        .args(["-D"])
        .arg(&data)
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8"])
        .args(["--locale=C", "--no-sync", "--wal-segsize=1"])
        .current_dir(dir.path())
        .output()
        .expect("initdb");
    assert!(
        output.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut cluster = Cluster { data, server: None };
    cluster.start();
    cluster.sql(ROLES).expect("the roles");
    // Two thirds of what would be copied each time.
    cluster
        .sql("update pg_database set datistemplate = false where datname <> 'postgres'")
        .expect("no templates");
    for template in ["template0", "template1"] {
        cluster
            .sql(&format!("drop database {template}"))
            .expect("one database");
    }
    let server = cluster.server.take().expect("it runs");
    kill(Pid::from_raw(server.id().cast_signed()), Signal::SIGINT).expect("it runs");
    let mut server = server;
    server.wait().expect("it ends");
    let part = cache.join(format!("{name}.part"));
    let _older = fs::remove_dir_all(&part);
    copy(&cluster.data, &part);
    fs::rename(&part, &place).expect("the cluster in its place");
    place
}

/// Copies a cluster and hands it to the user who may run it.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
    if geteuid().is_root() {
        let owner = owner();
        run(Command::new("chown")
            .arg("-R")
            .arg(format!("{}:{}", owner.uid, owner.gid))
            .arg(to));
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("a command of every system");
    assert!(status.success(), "{command:?}: {status}");
}

/// One of PostgreSQL's programs, run by the user who may: PostgreSQL refuses root.
fn as_owner(program: &str) -> Command {
    let mut command = Command::new(binaries().join(program));
    if geteuid().is_root() {
        let owner = owner();
        command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
    }
    command
}

fn owner() -> User {
    let user = if geteuid().is_root() {
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::from_name(name).expect("the users"))
    } else {
        User::from_uid(geteuid()).expect("the users")
    };
    user.expect("a user for PostgreSQL")
}

/// Where the newest PostgreSQL of Debian's packages is.
fn binaries() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    installed
        .filter_map(|entry| {
            let bin = entry.ok()?.path().join("bin");
            let version: u32 = bin.parent()?.file_name()?.to_str()?.parse().ok()?;
            bin.join("postgres").exists().then_some((version, bin))
        })
        .max()
        .map(|(_, bin)| bin)
        .expect("PostgreSQL is missing: tests/run installs it")
}
