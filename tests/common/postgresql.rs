//! A real PostgreSQL as a service of the world under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::script::command;
use super::world::{Plan, free_port};

/// Where Debian's server programs are: in no PATH.
pub fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut bins: Vec<_> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    bins.sort();
    bins.pop().expect("PostgreSQL is installed")
}

/// Adds it as the service `db`, with these keys besides; and the port on which it listens.
/// It says by itself when it is ready.
pub fn postgresql(plan: Plan, keys: &str) -> (Plan, u16) {
    let bin = binaries();
    let root = nix::unistd::getuid().is_root();
    let home = plan.dir().join("home");
    fs::create_dir(&home).expect("a directory");
    fs::set_permissions(&home, PermissionsExt::from_mode(0o777)).expect("for all");
    let data = home.join("data");
    let mut init = if root {
        let mut init = Command::new("setpriv");
        init.args(["--reuid", "postgres", "--regid", "postgres"]);
        init.arg("--clear-groups").arg(bin.join("initdb"));
        init
    } else {
        Command::new(bin.join("initdb"))
    };
    init.arg("-D").arg(&data).args(["-A", "trust", "--no-sync"]);
    let made = init.output().expect("initdb runs");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "{said}");
    let port = free_port();
    let text = |path: PathBuf| path.to_str().expect("a path").to_owned();
    let (program, data, home) = (text(bin.join("postgres")), text(data), text(home));
    let number = port.to_string();
    let words = [&program, "-D", &data, "-p", &number, "-k", &home, "-F"];
    let user = if root { "user = 'postgres'\n" } else { "" };
    let keys = format!("{}{user}ready = 'notify'\n{keys}", command(&words));
    (plan.service("db", &keys), port)
}
