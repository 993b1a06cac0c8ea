//! Processes, each under a shim of its own: see `src/shim` for the shim's side.
//!
//! A start: resolve users and environment ([`environment`]), and send them to a shim that was
//! mostly spawned ahead of time ([`spare`]) from its memfd ([`image`]), whose directory then
//! becomes that of the generation ([`records`]). From then on a small task turns what it reports
//! into events ([`link`]), and sees the main process end should the shim not say so
//! ([`vigil`]).
//!
//! The spawn uses nothing but redirections, so that std takes posix_spawn: `pre_exec`, `uid`
//! or a working directory would make it fork, which costs with our size.
//!
//! After our own death the next supervisor finds what runs by the shims' files alone
//! ([`adopt`]). A shim that is killed leaves a tree without a parent, ended in [`lost`]. What
//! cannot be looked at is never taken for gone ([`doubt`]).

mod adopt;
mod census;
mod cgroup;
pub(crate) mod command;
mod doubt;
mod environment;
mod failure;
mod image;
mod link;
mod lost;
mod output;
mod proc_fs;
mod records;
mod resident;
mod spare;
mod strays;
#[cfg(test)]
mod tests;
mod vigil;

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::net::UnixStream;

use supervisor_actors::ports::output::Hearing;
use supervisor_actors::ports::{
    Adoption, Kept, Launch, Process, ProcessEvent, ProcessSink, Processes,
};
use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;
use supervisor_core::event::StartFailure;
use supervisor_shim::protocol::Frame;

use self::adopt::{Found, inspect};
use self::census::Registry;
use self::doubt::Doubt;
use self::environment::{Common, TOKEN_VARIABLE};
use self::link::{Life, Shared};
use self::lost::Orphans;
use self::records::{GenerationDir, StartRecord};
use self::spare::{NoShim, Nursery, Sent};
use self::vigil::Vigil;
use crate::adapters::child_env::Usual;
use crate::adapters::child_token::{ChildKey, child_token};
use crate::adapters::data_dir::DataDirLock;
use crate::adapters::descriptors::{self, GivenLimit};
use crate::adapters::stand_in;

pub(crate) use self::proc_fs::{age_of_process, boot_id};

/// In a data directory, or its stand-in: the directories of lives.
const SHIMS: &str = "shim";

/// Starts, adopts and stops processes by their shims.
pub(crate) struct ShimProcesses {
    /// `data_dir/shim`.
    shims: PathBuf,
    /// The data directory that was named: its stand-in, or it where we are in that, may hold
    /// processes, too.
    given: PathBuf,
    /// Whether we are in its stand-in.
    stands_in: bool,
    /// `data_dir/log`.
    logs: PathBuf,
    /// What children find in their environment.
    usual: Usual,
    key: ChildKey,
    boot_id: String,
    cgroups: Option<PathBuf>,
    nursery: Nursery,
    registry: Registry,
}

/// Why processes cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessesError {
    /// A directory cannot be made.
    #[error("cannot create {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The shim's program can be put neither into memory nor into the data directory.
    #[error("cannot make the shim's program ready")]
    Image(#[source] io::Error),
    /// The boot's id cannot be read, without which no process could be told from a stranger.
    #[error("cannot read /proc/sys/kernel/random/boot_id; is /proc mounted?")]
    BootId(#[source] io::Error),
}

impl ShimProcesses {
    /// Processes of this data directory, with this in their environment and this limit of
    /// descriptors.
    ///
    /// # Errors
    /// Where the data directory cannot be written or `/proc` is not there.
    pub(crate) fn new(
        data_dir: &DataDirLock,
        usual: Usual,
        descriptors: GivenLimit,
    ) -> Result<Self, ProcessesError> {
        let key = data_dir.key().clone();
        Self::at(data_dir.path(), data_dir.given(), key, usual, descriptors)
    }

    fn at(
        data_dir: &Path,
        given: &Path,
        key: ChildKey,
        usual: Usual,
        descriptors: GivenLimit,
    ) -> Result<Self, ProcessesError> {
        let directory = |name: &str| {
            let path = data_dir.join(name);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            match made {
                Ok(()) => Ok(path),
                Err(source) => Err(ProcessesError::Directory { path, source }),
            }
        };
        let shims = directory(SHIMS)?;
        Ok(Self {
            nursery: Nursery::new(data_dir, &shims, descriptors).map_err(ProcessesError::Image)?,
            shims,
            given: given.to_owned(),
            stands_in: data_dir != given,
            logs: directory("log")?,
            usual,
            key,
            boot_id: boot_id().map_err(ProcessesError::BootId)?,
            cgroups: cgroup::root(given),
            registry: Registry::default(),
        })
    }

    /// Starts the shim and tells it what to start.
    fn begin(&self, launch: &Launch) -> Result<Begun, StartFailure> {
        let common = self.common();
        let frame = environment::start_frame(launch, &common)?;
        let socket = launch.socket.as_deref();
        let dir_in = |shims: &Path| GenerationDir::new(shims, &launch.name, launch.generation);
        let mut dir = dir_in(&self.shims);
        let mut started = self.nursery.start(&frame, socket, &dir);
        if let Err(NoShim::NoDirectory(why)) = &started
            && stand_in::would_help(why)
            && let Ok(place) = stand_in::make(&self.given)
        {
            let shims = place.join(SHIMS);
            dir = dir_in(&shims);
            started = self.nursery.start_in(&shims, &frame, socket, &dir);
        }
        let sent = started.map_err(|why| failure::no_shim(&why, &dir.path))?;
        let cgroup = environment::cgroup(&launch.name, launch.generation, &common);
        Ok(Begun {
            sent,
            dir,
            cgroup: cgroup.map(PathBuf::from),
        })
    }

    /// Wherever there may be directories of lives: a disk may have been full or read-only.
    fn places(&self) -> Vec<PathBuf> {
        let mut places = vec![self.shims.clone()];
        let others = stand_in::existing(&self.given);
        for other in others.iter().chain([&self.given]) {
            let shims = other.join(SHIMS);
            if !places.contains(&shims) {
                places.push(shims);
            }
        }
        places
    }

    /// All that there is of a service's lives, the newest first.
    fn lives_of(&self, name: &ServiceName) -> io::Result<Vec<GenerationDir>> {
        let mut lives = Vec::new();
        for shims in self.places() {
            lives.append(&mut GenerationDir::all(&shims, name)?);
        }
        lives.sort_by_key(|dir| std::cmp::Reverse(dir.generation));
        Ok(lives)
    }

    fn common(&self) -> Common<'_> {
        Common {
            usual: &self.usual,
            key: &self.key,
            boot_id: &self.boot_id,
            log_dir: &self.logs,
            logs_in_memory: self.stands_in,
            cgroups: self.cgroups.as_deref(),
        }
    }

    /// Where what a service prints ends up.
    fn log_of(&self, name: &ServiceName) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn orphans(&self, name: &ServiceName) -> Orphans {
        Orphans {
            main: None,
            cgroup: None,
            token: format!("{TOKEN_VARIABLE}={}", child_token(&self.key, name.as_str())),
            boot_id: self.boot_id.clone(),
            registry: self.registry.clone(),
        }
    }

    /// Takes one generation over; `None` where nothing of it lives and no exit is on record.
    async fn take_over(
        &self,
        name: &ServiceName,
        dir: GenerationDir,
        process: &ProcessSpec,
        hearing: Option<Hearing>,
        sink: ProcessSink,
        doubt: &mut Doubt,
    ) -> Option<Adoption> {
        let generation = dir.generation;
        let mut life = Life {
            sink,
            process: Arc::new(process.clone()),
            orphans: self.orphans(name),
            shim_pid: 0,
            started: true,
            exit: None,
            over: false,
            vigil: Vigil::default(),
            hearing,
            log: self.log_of(name),
            tailing: None,
            dir,
        };
        doubt.ask(descriptors::has_room).await;
        match inspect(&life.dir, &self.boot_id, doubt).await {
            Found::Connected {
                stream,
                hello,
                rest,
                socket,
            } => {
                let record = doubt.ask(|| life.dir.start_record()).await;
                Some(self.resume(life, record, stream, &hello, rest, socket))
            }
            Found::Ended(exit) => Some(Adoption::Ended { generation, exit }),
            Found::Lost { record, exit } => {
                life.orphans.learn(&record);
                if !some_live(&life.orphans, doubt).await {
                    return exit.map(|exit| Adoption::Ended {
                        generation,
                        exit: exit.exit(),
                    });
                }
                life.exit = exit.map(|exit| exit.exit());
                Some(end_orphans(life))
            }
            Found::Nothing => {
                let record = doubt.ask(|| life.dir.start_record()).await;
                match record {
                    // Whatever ran in another boot has ended with it.
                    Some(record) if record.boot_id != self.boot_id => return None,
                    Some(record) => life.orphans.learn(&record),
                    // Its shim may have been killed, with us, before it wrote down whom it
                    // started.
                    None => {
                        let cgroup = environment::cgroup(name, generation, &self.common());
                        life.orphans.cgroup = cgroup.map(PathBuf::from);
                    }
                }
                some_live(&life.orphans, doubt)
                    .await
                    .then(|| end_orphans(life))
            }
        }
    }

    fn resume(
        &self,
        mut life: Life,
        record: Option<StartRecord>,
        stream: UnixStream,
        hello: &[u8],
        rest: Vec<u8>,
        socket: Option<OwnedFd>,
    ) -> Adoption {
        // Its next start may come at any time.
        self.nursery.prepare();
        let frame = Frame::parse(hello);
        let generation = life.dir.generation;
        if let Some(record) = &record {
            life.orphans.learn(record);
        }
        life.orphans.main = frame.and_then(link::main_of).or(life.orphans.main);
        life.shim_pid = frame
            .and_then(|frame| frame.number(supervisor_shim::protocol::key::SHIM_PID))
            .and_then(|pid| i32::try_from(pid).ok())
            .or(record.map(|record| record.shim_pid))
            .unwrap_or_default();
        let pid = life.orphans.main.map_or(0, |main| main.pid);
        life.exit = frame.and_then(link::exit_of);
        let exit = life.exit.clone();
        let (process, shared) = Shared::new(exit.is_none());
        life.listen(frame, &shared);
        actix_rt::spawn(link::tend(shared, life, stream, rest));
        match exit {
            Some(exit) => Adoption::Remains {
                generation,
                exit,
                process,
            },
            None => Adoption::Living {
                generation,
                pid,
                process,
                kept: Kept {
                    socket: socket.map(Arc::new),
                    note: frame.map(link::note_of).unwrap_or_default(),
                },
            },
        }
    }
}

/// A start that is under way.
struct Begun {
    sent: Sent,
    dir: GenerationDir,
    /// Its cgroup, where it gets one.
    cgroup: Option<PathBuf>,
}

/// Whether somebody of a service lives that has no shim any more.
async fn some_live(orphans: &Orphans, doubt: &mut Doubt) -> bool {
    loop {
        match orphans.find().await {
            Ok(living) => return !living.is_empty(),
            Err(error) => doubt.of(&error).await,
        }
    }
}

/// Ends what has no shim any more. That it is lost is the answer itself: the sink hears only
/// what follows.
fn end_orphans(mut life: Life) -> Adoption {
    let generation = life.dir.generation;
    let (process, shared) = Shared::new(false);
    life.exit.get_or_insert_with(unknown_exit);
    actix_rt::spawn(async move { link::lose(&mut life, &shared).await });
    Adoption::ShimLost {
        generation,
        process,
    }
}

/// Stands for an exit that nobody saw, so that none is told.
fn unknown_exit() -> supervisor_core::Exit {
    supervisor_core::Exit {
        code: None,
        signal: None,
        oom: false,
        at: supervisor_core::Timestamp(0),
    }
}

impl Processes for ShimProcesses {
    fn launch(&self, launch: Launch, sink: ProcessSink) -> Box<dyn Process> {
        let (process, shared) = Shared::new(false);
        match self.begin(&launch) {
            Ok(Begun { sent, dir, cgroup }) => {
                let mut orphans = self.orphans(&launch.name);
                orphans.cgroup = cgroup;
                shared.send(&sent.rest);
                let life = Life {
                    sink,
                    hearing: launch.hearing,
                    log: self.log_of(&launch.name),
                    tailing: None,
                    process: launch.process,
                    dir,
                    orphans,
                    shim_pid: sent.pid,
                    started: false,
                    exit: None,
                    over: false,
                    vigil: Vigil::default(),
                };
                actix_rt::spawn(link::tend(shared, life, sent.stream, Vec::new()));
            }
            Err(failure) => {
                // Not from within the call: its caller is not ready to hear yet.
                actix_rt::spawn(async move { sink(ProcessEvent::StartFailed(failure)) });
            }
        }
        process
    }

    fn adopt<'a>(
        &'a self,
        name: &'a ServiceName,
        process: &'a ProcessSpec,
        hearing: Option<Hearing>,
        sink: ProcessSink,
    ) -> LocalBoxFuture<'a, Option<Adoption>> {
        async move {
            let mut doubt = Doubt::new(Rc::clone(&sink));
            let mut lives = doubt.ask(|| self.lives_of(name)).await.into_iter();
            while let Some(dir) = lives.next() {
                let sink = Rc::clone(&sink);
                let found = self
                    .take_over(name, dir.clone(), process, hearing, sink, &mut doubt)
                    .await;
                if found.is_some() {
                    // One whose shim still writes its record is left for the next time.
                    lives
                        .filter(|older| !older.is_locked())
                        .for_each(|older| older.remove());
                    return found;
                }
                if !dir.is_locked() {
                    dir.remove();
                }
            }
            None
        }
        .boxed_local()
    }

    fn forget(&self, name: &ServiceName) {
        // What cannot be looked at now is looked at when a service has that name again.
        for dir in self.lives_of(name).unwrap_or_default() {
            if !dir.is_locked() {
                dir.remove();
            }
        }
        for shims in self.places() {
            // Empty now, unless a shim that we could not reach still holds a lock in it.
            let _ = std::fs::remove_dir(shims.join(name.as_str()));
        }
    }

    fn weigh(&self, mains: Vec<i32>) -> LocalBoxFuture<'static, Vec<Option<u64>>> {
        let count = mains.len();
        let weighed = actix_rt::task::spawn_blocking(move || {
            mains.into_iter().map(resident::resident).collect()
        });
        // What cannot be weighed now is weighed the next time.
        async move { weighed.await.unwrap_or_else(|_| vec![None; count]) }.boxed_local()
    }
}
