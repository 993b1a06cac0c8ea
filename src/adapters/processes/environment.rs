//! What a service's process starts with: its environment, its user, its limits, turned into
//! the frame that its shim gets.

use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

use supervisor_actors::ports::Launch;
use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;
use supervisor_core::event::{Generation, StartFailure, StartFault};
use supervisor_shim::protocol::{self, VERSION, key, kind};

use super::output;
use crate::adapters::child_env::{Identity, Usual, Variables};
use crate::adapters::child_token::{ChildKey, child_token};

/// The variable that identifies a service's processes, wherever they have gone.
pub(super) const TOKEN_VARIABLE: &str = "SUPERVISOR_TOKEN";

/// What all processes have in common.
#[derive(Debug)]
pub(super) struct Common<'a> {
    pub(super) usual: &'a Usual,
    pub(super) key: &'a ChildKey,
    pub(super) boot_id: &'a str,
    pub(super) log_dir: &'a Path,
    /// Whether that is in memory, where the logs of many services must not fill it.
    pub(super) logs_in_memory: bool,
    pub(super) cgroups: Option<&'a Path>,
}

/// Whom a process becomes. `None`: it stays what we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    uid: Option<Uid>,
    gid: Option<Gid>,
    groups: Vec<Gid>,
    name: Option<String>,
    home: Option<String>,
}

fn failure(fault: StartFault, detail: String) -> StartFailure {
    StartFailure { fault, detail }
}

/// The frame that tells the shim what to start.
pub(super) fn start_frame(launch: &Launch, common: &Common<'_>) -> Result<Vec<u8>, StartFailure> {
    let process = &launch.process;
    let account = account(process)?;
    let variables = variables(launch, &account, common)?;
    let mut fields = Fields::new(kind::START);

    // Settings first: the shim gives the pages of what follows back.
    fields.number(key::PROTOCOL, VERSION);
    fields.text(key::SERVICE, launch.name.as_str());
    fields.number(key::GENERATION, launch.generation);
    fields.text(key::BOOT_ID, common.boot_id);
    let log = common.log_dir.join(format!("{}.log", launch.name));
    fields.path(key::LOG, &log);
    let (size, keep) = log_limits(process, common.logs_in_memory);
    fields.number(key::LOG_MAX_SIZE, size.min(i64::MAX as u64));
    fields.number(key::LOG_KEEP, keep);
    if let Some(cgroup) = cgroup(&launch.name, launch.generation, common) {
        fields.text(key::CGROUP, &cgroup);
    }
    fields.number(key::STOP_SIGNAL, process.stop_signal);
    let timeout = u64::try_from(process.stop_timeout.as_millis()).unwrap_or(u64::MAX);
    fields.number(key::STOP_TIMEOUT_MS, timeout.min(i64::MAX as u64));
    if let Some(hearing) = launch.hearing {
        let (word, frames) = output::wish(hearing);
        fields.text(key::LISTEN, word);
        fields.number(key::FRAMES, frames);
    }

    fields.child(process, &account, &variables)?;
    fields.into_frame()
}

/// How large a log may become, and how many older ones are kept.
fn log_limits(process: &ProcessSpec, in_memory: bool) -> (u64, u32) {
    /// A service has two of them at most.
    const MOST_IN_MEMORY: u64 = 1 << 20;
    match (process.log_max_size, process.log_keep) {
        limits if !in_memory => limits,
        // Without end.
        (0, keep) => (MOST_IN_MEMORY, keep.min(1)),
        (size, keep) => (size.min(MOST_IN_MEMORY), keep.min(1)),
    }
}

/// The frame that tells a shim what to run to its end on behalf of a service, as its user and
/// in its environment, but for what makes a process one of the service: its token, its notify
/// socket.
pub(super) fn run_frame(
    service: &ServiceName,
    process: &ProcessSpec,
    usual: &Usual,
) -> Result<Vec<u8>, StartFailure> {
    let account = account(process)?;
    let variables = account.variables(service, process, usual)?;
    let mut fields = Fields::new(kind::RUN);
    fields.text(key::SERVICE, &format!("{service} (probe)"));
    fields.child(process, &account, &variables)?;
    fields.into_frame()
}

/// The cgroup of one life. Each has its own: the one before may still be going away.
pub(super) fn cgroup(
    name: &ServiceName,
    generation: Generation,
    common: &Common<'_>,
) -> Option<String> {
    let cgroup = common.cgroups?.join(format!("{name}.{generation}"));
    cgroup.to_str().map(ToOwned::to_owned)
}

/// A frame under construction.
struct Fields {
    kind: &'static str,
    all: Vec<(&'static str, Vec<u8>)>,
}

impl Fields {
    fn new(kind: &'static str) -> Self {
        let all = Vec::new();
        Self { kind, all }
    }

    /// What the child needs.
    fn child(
        &mut self,
        process: &ProcessSpec,
        account: &Account,
        variables: &Variables,
    ) -> Result<(), StartFailure> {
        self.path(key::CWD, &process.cwd);
        if let Some(uid) = account.uid {
            self.number(key::UID, uid);
        }
        if let Some(gid) = account.gid {
            self.number(key::GID, gid);
            for group in &account.groups {
                self.number(key::GROUP, group);
            }
        }
        if let Some(umask) = process.umask {
            self.number(key::UMASK, umask);
        }
        if let Some(nice) = process.nice {
            self.number(key::NICE, nice);
        }
        for (name, value) in &process.limits {
            self.text(key::LIMIT, &format!("{}:{value}", limit_number(name)?));
        }
        for argument in &process.command {
            self.text(key::ARG, argument);
        }
        for (name, value) in variables.iter() {
            self.text(key::ENV, &format!("{name}={value}"));
        }
        Ok(())
    }

    fn text(&mut self, key: &'static str, value: &str) {
        self.all.push((key, value.as_bytes().to_vec()));
    }

    fn path(&mut self, key: &'static str, value: &Path) {
        self.all
            .push((key, value.as_os_str().as_encoded_bytes().to_vec()));
    }

    fn number(&mut self, key: &'static str, value: impl std::fmt::Display) {
        self.text(key, &format!("{value}"));
    }

    fn into_frame(self) -> Result<Vec<u8>, StartFailure> {
        if let Some((key, _)) = self.all.iter().find(|(_, value)| value.contains(&0)) {
            let what = match *key {
                key::ARG => "an argument of `command`",
                key::ENV => "a variable of its environment",
                other => other,
            };
            let detail = format!("{what} holds a NUL byte, which no program can be given");
            return Err(failure(StartFault::Other, detail));
        }
        let fields: Vec<(&str, &[u8])> = self
            .all
            .iter()
            .map(|(key, value)| (*key, value.as_slice()))
            .collect();
        let mut frame = Vec::new();
        protocol::encode(self.kind, &fields, &mut |piece| {
            frame.extend_from_slice(piece);
        });
        if frame.len() > protocol::MAX_FRAME {
            let detail = "its arguments and environment are larger than 16 MiB".to_owned();
            return Err(failure(StartFault::Other, detail));
        }
        Ok(frame)
    }
}

/// The environment, later ones outranking earlier ones of the same name.
fn variables(
    launch: &Launch,
    account: &Account,
    common: &Common<'_>,
) -> Result<Variables, StartFailure> {
    let process = &launch.process;
    let mut all = account.variables(&launch.name, process, common.usual)?;
    all.set(
        TOKEN_VARIABLE,
        child_token(common.key, launch.name.as_str()),
    );
    if let Some(watchdog) = process.watchdog {
        // The shim adds WATCHDOG_PID, which only the child itself knows.
        all.set("WATCHDOG_USEC", watchdog.as_micros().to_string());
    }
    for (name, value) in &launch.environment {
        all.set(name, value.clone());
    }
    Ok(all)
}

impl Account {
    /// What every process of a service, or on its behalf, finds in its environment.
    fn variables(
        &self,
        service: &ServiceName,
        process: &ProcessSpec,
        usual: &Usual,
    ) -> Result<Variables, StartFailure> {
        let who = Identity {
            name: self.name.as_deref(),
            home: self.home.as_deref(),
        };
        usual
            .of(service, Some(process), who)
            .map_err(|bad| failure(StartFault::Other, bad.to_string()))
    }
}

/// Looks users and groups up, before anything is started.
fn account(process: &ProcessSpec) -> Result<Account, StartFailure> {
    let mut account = Account::default();
    if let Some(wanted) = &process.user {
        let user = find_user(wanted)?;
        account.uid = Some(user.uid);
        account.gid = Some(user.gid);
        account.name = Some(user.name.clone());
        account.home = Some(user.dir.display().to_string());
        let name = std::ffi::CString::new(user.name).unwrap_or_default();
        account.groups = nix::unistd::getgrouplist(&name, user.gid).unwrap_or(vec![user.gid]);
    }
    if let Some(wanted) = &process.group {
        let gid = find_group(wanted)?;
        account.gid = Some(gid);
        account.groups.retain(|group| *group != gid);
        account.groups.insert(0, gid);
    }
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let other_user = account.uid.is_some_and(|wanted| wanted != uid);
    let other_group = account.gid.is_some_and(|wanted| wanted != gid);
    if !uid.is_root() && (other_user || other_group) {
        let who = process
            .user
            .as_deref()
            .or(process.group.as_deref())
            .unwrap_or_default();
        let detail = format!(
            "it cannot become `{who}`: the supervisor runs as uid {uid}, only root may change \
             users; run the supervisor as root, or leave `user` and `group` out"
        );
        return Err(failure(StartFault::NoUser, detail));
    }
    if !uid.is_root() {
        // We are that user: an ordinary user may not even set the groups that it has.
        account.uid = None;
        account.gid = None;
    }
    Ok(account)
}

fn find_user(wanted: &str) -> Result<User, StartFailure> {
    let found = match wanted.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)).map(|user| {
            // A number needs no entry: containers run so.
            user.or_else(|| numbered_user(uid))
        }),
        Err(_) => User::from_name(wanted),
    };
    match found {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(failure(
            StartFault::NoUser,
            format!("there is no user `{wanted}` on this machine; create it or correct `user`"),
        )),
        Err(errno) => Err(failure(
            StartFault::NoUser,
            format!("the user `{wanted}` cannot be looked up: {}", errno.desc()),
        )),
    }
}

fn numbered_user(uid: u32) -> Option<User> {
    Some(User {
        name: uid.to_string(),
        uid: Uid::from_raw(uid),
        gid: Gid::from_raw(uid),
        dir: "/".into(),
        ..User::from_uid(Uid::from_raw(0)).ok().flatten()?
    })
}

fn find_group(wanted: &str) -> Result<Gid, StartFailure> {
    if let Ok(gid) = wanted.parse() {
        return Ok(Gid::from_raw(gid));
    }
    match Group::from_name(wanted) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(failure(
            StartFault::NoUser,
            format!("there is no group `{wanted}` on this machine; create it or correct `group`"),
        )),
        Err(errno) => Err(failure(
            StartFault::NoUser,
            format!("the group `{wanted}` cannot be looked up: {}", errno.desc()),
        )),
    }
}

/// The kernel's number of a limit.
fn limit_number(name: &str) -> Result<u32, StartFailure> {
    let number = match name {
        "cpu" => libc::RLIMIT_CPU,
        "fsize" => libc::RLIMIT_FSIZE,
        "data" => libc::RLIMIT_DATA,
        "stack" => libc::RLIMIT_STACK,
        "core" => libc::RLIMIT_CORE,
        "rss" => libc::RLIMIT_RSS,
        "nproc" => libc::RLIMIT_NPROC,
        "nofile" => libc::RLIMIT_NOFILE,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "as" => libc::RLIMIT_AS,
        "locks" => libc::RLIMIT_LOCKS,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        _ => {
            let detail = format!(
                "there is no limit `{name}`; there are as, core, cpu, data, fsize, locks, \
                 memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack"
            );
            return Err(failure(StartFault::Other, detail));
        }
    };
    #[allow(
        clippy::useless_conversion,
        reason = "the type differs between C libraries"
    )]
    Ok(u32::from(number))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn logs_in_memory_are_small() {
        let limits = |log_max_size, log_keep, in_memory| {
            let process = ProcessSpec {
                command: Vec::new(),
                cwd: "/".into(),
                env: Vec::new(),
                pass_env: Vec::new(),
                user: None,
                group: None,
                umask: None,
                nice: None,
                limits: Vec::new(),
                stop_signal: libc::SIGTERM,
                stop_timeout: Duration::ZERO,
                watchdog: None,
                log_max_size,
                log_keep,
            };
            log_limits(&process, in_memory)
        };
        assert_eq!(limits(10 << 20, 5, false), (10 << 20, 5));
        assert_eq!(limits(10 << 20, 5, true), (1 << 20, 1));
        assert_eq!(limits(0, 5, true), (1 << 20, 1), "0 is without end");
        assert_eq!(limits(1000, 0, true), (1000, 0));
    }
}
