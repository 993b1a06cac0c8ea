//! A Supabase of our own for tests, without docker: PostgreSQL, the real PostgREST and a
//! gateway in front of it that adds `/rest/v1`, the check of the `apikey` and scripted faults.
//!
//! ```text
//!  client ──TCP──▶ gateway ──Unix socket──▶ PostgREST ──Unix socket──▶ PostgreSQL
//!                  /rest/v1, apikey,        roles from the             fsync off, a copy of
//!                  faults, a record         key's JWT                  one prepared cluster
//! ```
//!
//! `tests/run` installs both programs. A stack starts in about half a second, is alone in its
//! directory, takes one port that the kernel chooses, and is gone with its owner: by drop, or
//! by a small shell that notices when the test was killed.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "a part of several test programs and a benchmark, each of which uses what it needs"
)]

mod cluster;
pub mod gateway;
mod wire;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use cluster::Cluster;
pub use gateway::{Fault, Gateway, Seen};

/// Signs the keys below (HS256).
const JWT_SECRET: &str = "a-secret-of-the-tests-and-of-nobody-else";
/// A service role key of the old kind: a JWT without an end.
pub const SERVICE_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.ml9XYiTaMdnXIYoTAf2lR5klUKAIJGave29yQVHlMuM";
/// The key that browsers get: role anon.
pub const ANON_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoiYW5vbiJ9.29hnEopJI9tOhc9iM-l3C6DZvtWPxTdKv6uSLHr4L7c";
/// Somebody who has logged in: role authenticated.
pub const USER_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoiYXV0aGVudGljYXRlZCIsInN1YiI6IjcifQ.Ev9Nk7kM-VTavfPIXbtG1rEoR31xJAwpTQGOnlXc4aE";
/// A service role key that ended in 2020.
pub const EXPIRED_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIiwiZXhwIjoxNjAwMDAwMDAwfQ.psFng7_plM4tcSGoSWEktPI1ESwhdPNatXHVDGjZynE";
/// A service role key under another secret.
pub const FORGED_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.6HYBm9vfemso3JYGZwP8ByPtGdNhGVG1HppeTUmcz2s";
/// A service role key of the new kind: no JWT, the gateway knows whom it stands for.
pub const SECRET_KEY: &str = "sb_secret_tests-0123456789abcdef";

/// Far more than anything here needs: it ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where `tests/run` puts PostgREST, and we the cluster that is copied.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/postgrest")
}

/// The running stack.
pub struct Stack {
    gateway: Gateway,
    server: Child,
    cluster: Cluster,
    reaper: Reaper,
    dir: TempDir,
}

impl Stack {
    /// Starts one with an empty schema `public`.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one whose PostgREST has these settings (`PGRST_…`) besides.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pg-")
            .tempdir()
            .expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let mut reaper = Reaper::new(dir.path());
        let mut cluster = Cluster::copy_into(dir.path());
        reaper.watch(cluster.start());
        let server = spawn_server(dir.path(), &cluster, settings);
        reaper.watch(server.id());
        let gateway = Gateway::before(&socket(dir.path()));
        let stack = Self {
            gateway,
            server,
            cluster,
            reaper,
            dir,
        };
        stack.wait_ready();
        stack
    }

    /// The address that stands for a project's: `/rest/v1` is below it.
    pub fn url(&self) -> String {
        self.gateway.url()
    }

    /// What stands in front of PostgREST.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Runs SQL as the database's owner: rows as lines, columns parted by `|`.
    ///
    /// # Panics
    /// With PostgreSQL's words where it fails.
    pub fn sql(&self, sql: &str) -> String {
        self.cluster
            .sql(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL that changes the schema, and waits until PostgREST knows the new one.
    pub fn schema(&self, sql: &str) {
        static MARKS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("mark_{}", MARKS.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!(
            "{sql};\ncreate table {mark} (a int); notify pgrst, 'reload schema';"
        ));
        let begin = Instant::now();
        // A read needs no schema, a write does.
        while self.status("POST", &format!("/{mark}?columns=a")) != Some(201) {
            assert!(begin.elapsed() < PATIENCE, "the schema was never reloaded");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.sql(&format!("drop table {mark}"));
    }

    /// Ends PostgreSQL at once, as a power cut would.
    pub fn stop_database(&mut self) {
        if let Some(pid) = self.cluster.stop() {
            self.reaper.forget(pid);
        }
    }

    /// Starts PostgreSQL again and waits until PostgREST has noticed.
    pub fn start_database(&mut self) {
        self.reaper.watch(self.cluster.start());
        self.wait_ready();
    }

    /// Waits until PostgREST answers with its schema loaded.
    fn wait_ready(&self) {
        let begin = Instant::now();
        // Whatever else it answers, 503 is what it says before.
        while matches!(self.status("GET", "/"), None | Some(503)) {
            assert!(
                begin.elapsed() < PATIENCE,
                "PostgREST was never ready: {}",
                fs::read_to_string(self.dir.path().join("postgrest.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What PostgREST itself answers to the service role, past the gateway.
    fn status(&self, method: &str, path: &str) -> Option<u16> {
        let mut stream = UnixStream::connect(socket(self.dir.path())).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SERVICE_KEY}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
        )
        .ok()?;
        let head = wire::read_head(&mut std::io::BufReader::new(stream)).ok()??;
        head.status()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.gateway.stop();
        // It may have ended by itself; then there is nothing to kill.
        let _ended = self.server.kill();
        let _status = self.server.wait();
        self.reaper.forget(self.server.id());
        self.stop_database();
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("postgrest.sock")
}

fn spawn_server(dir: &Path, cluster: &Cluster, settings: &[(&str, &str)]) -> Child {
    let program = cache().join("postgrest");
    assert!(
        program.exists(),
        "{} is missing: tests/run installs it",
        program.display()
    );
    let log = fs::File::create(dir.join("postgrest.log")).expect("a log");
    Command::new(&program)
        .env_clear()
        .env("PGRST_DB_URI", cluster.uri("authenticator"))
        .env("PGRST_DB_SCHEMAS", "public")
        .env("PGRST_DB_ANON_ROLE", "anon")
        .env("PGRST_JWT_SECRET", JWT_SECRET)
        .env("PGRST_DB_MAX_ROWS", "1000")
        .env("PGRST_SERVER_UNIX_SOCKET", socket(dir))
        .env("PGRST_LOG_LEVEL", "crit")
        .envs(settings.iter().copied())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("PostgREST starts")
}

/// Ends what a killed test leaves behind: a shell that reads pids from us until we are gone.
struct Reaper(Child);

impl Reaper {
    fn new(dir: &Path) -> Self {
        // QUIT first: PostgreSQL ends its own children by it.
        const SCRIPT: &str = r#"
            pids=
            while read -r sign pid; do
                case $sign in
                    +) pids="$pids $pid" ;;
                    -) left=; for one in $pids; do [ "$one" = "$pid" ] || left="$left $one"; done; pids=$left ;;
                esac
            done
            for pid in $pids; do kill -QUIT "$pid" 2>/dev/null; kill -KILL "$pid" 2>/dev/null; done
            rm -rf "$1"
        "#;
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "reaper"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh");
        Self(child)
    }

    fn watch(&mut self, pid: u32) {
        self.tell('+', pid);
    }

    fn forget(&mut self, pid: u32) {
        self.tell('-', pid);
    }

    fn tell(&mut self, sign: char, pid: u32) {
        let input = self.0.stdin.as_mut().expect("a pipe");
        writeln!(input, "{sign} {pid}").expect("the reaper lives");
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _status = self.0.wait();
    }
}
