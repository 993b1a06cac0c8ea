//! The shim's program, ready to be executed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags};

/// The program itself, compiled by build.rs.
static SHIM: &[u8] = include_bytes!(env!("SUPERVISOR_SHIM"));

/// Where the program is executed from.
#[derive(Debug)]
pub(super) struct ShimImage {
    path: PathBuf,
    /// Keeps the memfd: shared by all shims, its pages are the kernel's only copy.
    memory: Option<OwnedFd>,
}

impl ShimImage {
    /// A sealed memfd: nothing to install, nothing to delete, nobody can change it. Where the
    /// machine refuses that, a file in the data directory.
    pub(super) fn new(data_dir: &Path) -> io::Result<Self> {
        match memfd() {
            Ok(memory) => Ok(Self {
                path: format!("/proc/self/fd/{}", memory.as_raw_fd()).into(),
                memory: Some(memory),
            }),
            Err(_) => Self::on_disk(data_dir),
        }
    }

    /// A file, for machines that forbid executable memfds or have no /proc.
    pub(super) fn on_disk(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join("supervisor-shim");
        if fs::read(&path).ok().as_deref() != Some(SHIM) {
            let temporary = data_dir.join("supervisor-shim.new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o700)
                .open(&temporary)?;
            file.write_all(SHIM)?;
            drop(file);
            fs::rename(&temporary, &path)?;
        }
        Ok(Self { path, memory: None })
    }

    /// What to execute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the memfd.
    pub(super) fn is_memory(&self) -> bool {
        self.memory.is_some()
    }
}

fn memfd() -> io::Result<OwnedFd> {
    const NAME: &str = "supervisor-shim";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know EXEC and need none.
    let memory = rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(NAME, flags))?;
    let mut file = File::from(memory);
    file.write_all(SHIM)?;
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, all)?;
    Ok(file.into())
}
