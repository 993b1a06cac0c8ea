//! Runs a command of the owner's on behalf of a service, to its end and with all that it
//! starts: a probe's. As the service's user, in its directory and environment.
//!
//! A shim is its parent, so that whatever it leaves behind is found and killed: when it has
//! ended, when its time is up, and when we are gone. It costs one tiny process more a run, and
//! spares us a fork.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;
use supervisor_core::event::{StartFailure, StartFault};
use supervisor_shim::protocol::{self, Frame, Stage, key, kind};

use super::image::ShimImage;
use super::spare::Shim;
use super::{environment, failure};
use crate::adapters::child_env::Usual;
use crate::adapters::descriptors::GivenLimit;
use crate::adapters::output::{Output, ended};

/// How often we look for the end of a shim, and how often if that takes longer than this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOK_SELDOM: Duration = Duration::from_secs(1);
const LONG: u32 = 1_200;

/// More than a shim says of a command.
const MOST_BYTES: usize = 4096;

/// Runs commands. Cheap to clone; usable on any thread. Nothing exists before the first.
#[derive(Debug, Clone)]
pub(crate) struct Commands(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    /// What they find in their environment.
    usual: Usual,
    /// Their limit of descriptors.
    descriptors: OnceLock<GivenLimit>,
    image: Mutex<Option<ShimImage>>,
}

/// What a command's run came to, besides success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It failed, for this reason: a sentence that begins with its program.
    Failed(String),
    /// It could not be run, for a reason of our machine's.
    NoRoom(String),
}

/// Whether something of a command still lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remains(Rc<Cell<bool>>);

impl Remains {
    /// Something does.
    pub(crate) fn are_left(&self) -> bool {
        self.0.get()
    }
}

impl Commands {
    /// Commands of a supervisor with this data directory, at this address.
    pub(crate) fn new(data_dir: PathBuf, url: String) -> Self {
        let usual = Usual::new(url);
        Self(Arc::new(Inner {
            data_dir,
            usual,
            descriptors: OnceLock::new(),
            image: Mutex::default(),
        }))
    }

    /// They get this limit of descriptors, not the one that we have raised.
    pub(crate) fn limit(&self, descriptors: GivenLimit) {
        // A second word changes nothing: the limit that we were given stays the same.
        let _set_before = self.0.descriptors.set(descriptors);
    }

    /// As on a machine that forbids executable memory.
    #[cfg(test)]
    pub(super) fn use_disk(&self) {
        let on_disk = ShimImage::on_disk(&self.0.data_dir);
        *self.0.image.lock().unwrap_or_else(PoisonError::into_inner) = on_disk.ok();
    }

    /// Runs the command of a process's specification to its end. Dropped, it is killed with
    /// all that it has started; `remains` tells until when something of it lives.
    ///
    /// # Errors
    /// Why it failed, with the end of its output.
    pub(crate) async fn run(
        &self,
        service: &ServiceName,
        process: &ProcessSpec,
        patience: Duration,
        remains: &Remains,
    ) -> Result<(), Trouble> {
        let program = process.command.first().map_or("", String::as_str);
        let frame =
            environment::run_frame(service, process, &self.0.usual).map_err(|why| sorted(&why))?;
        let no_room = |error: io::Error| Trouble::NoRoom(format!("{program}: {error}"));
        let output = Output::new().map_err(no_room)?;
        let writer = output.writer().map_err(no_room)?;
        let shim = self.0.spawn().map_err(no_room)?;
        remains.0.set(true);
        actix_rt::spawn(reap(shim.pid(), remains.clone()));
        let mut sent = shim.send(&frame, Some(writer.as_fd())).map_err(no_room)?;
        drop(writer);
        let told = async {
            sent.stream.write_all(&sent.rest).await?;
            read_end(&mut sent.stream).await
        };
        let told = match timeout(patience, told).await {
            Ok(told) => told,
            Err(_elapsed) => {
                let within = humantime::format_duration(patience);
                let tail = output.tail();
                return Err(Trouble::Failed(format!(
                    "{program} did not end within {within} and was killed{tail}"
                )));
            }
        };
        match told {
            Ok(End::Code(0)) => Ok(()),
            Ok(End::Code(code)) => Err(Trouble::Failed(format!(
                "{program} {}{}",
                ended(Some(code), None),
                output.tail()
            ))),
            Ok(End::Signal(signal)) => Err(Trouble::Failed(format!(
                "{program} {}{}",
                ended(None, Some(signal)),
                output.tail()
            ))),
            Ok(End::NotStarted(stage, errno)) => {
                Err(sorted(&failure::explain(stage, errno, process)))
            }
            // Somebody has killed its shim, and with it what it was parent of goes on.
            Err(error) => Err(Trouble::NoRoom(format!("{program}: its shim: {error}"))),
        }
    }
}

impl Inner {
    fn spawn(&self) -> io::Result<Shim> {
        let mut image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        let image = match &mut *image {
            Some(image) => image,
            none => none.insert(ShimImage::new(&self.data_dir)?),
        };
        let descriptors = *self.descriptors.get_or_init(GivenLimit::present);
        Shim::spawn(image, &self.data_dir, descriptors, None)
    }
}

/// Whose fault it is that a command could not be started.
fn sorted(failure: &StartFailure) -> Trouble {
    match failure.fault {
        StartFault::NoResources => Trouble::NoRoom(failure.detail.clone()),
        StartFault::NotFound
        | StartFault::NotPermitted
        | StartFault::NotExecutable
        | StartFault::Busy
        | StartFault::NoDirectory
        | StartFault::NoUser
        | StartFault::Other => Trouble::Failed(failure.detail.clone()),
    }
}

/// How a command ended.
enum End {
    Code(i32),
    Signal(i32),
    NotStarted(Stage, i32),
}

/// Reads the one frame that a shim says of a command.
async fn read_end(stream: &mut UnixStream) -> io::Result<End> {
    let mut bytes = Vec::new();
    loop {
        let frame = protocol::first_frame(&bytes).map_err(|_| garbled())?;
        if let Some((payload, _)) = frame {
            return end_of(payload).ok_or_else(garbled);
        }
        if bytes.len() > MOST_BYTES {
            return Err(garbled());
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn end_of(payload: &[u8]) -> Option<End> {
    let frame = Frame::parse(payload)?;
    let number = |key| frame.number(key).and_then(|n| i32::try_from(n).ok());
    if frame.kind == kind::START_FAILED.as_bytes() {
        let stage = Stage::from_word(frame.get(key::STAGE)?)?;
        return Some(End::NotStarted(stage, number(key::ERRNO)?));
    }
    if frame.kind != kind::EXITED.as_bytes() {
        return None;
    }
    let code = number(key::CODE).map(End::Code);
    code.or_else(|| number(key::SIGNAL).map(End::Signal))
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it speaks something else")
}

/// Waits for a shim's end, which is that of all that it was parent of.
async fn reap(pid: i32, remains: Remains) {
    let Some(pid) = Pid::from_raw(pid) else {
        return;
    };
    let mut pause = Duration::from_millis(1);
    let mut looks = 0_u32;
    while let Ok(None) = waitpid(Some(pid), WaitOptions::NOHANG) {
        sleep(pause).await;
        looks = looks.saturating_add(1);
        pause = if looks < LONG {
            (pause * 2).min(LOOK_AGAIN)
        } else {
            LOOK_SELDOM
        };
    }
    remains.0.set(false);
}
