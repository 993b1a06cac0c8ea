//! Where a life's socket is: a path, or an abstract name.
//!
//! A path is what every client of the protocol understands, as systemd's own is one. It must
//! be one that any child of ours reaches, whatever user it becomes: of a supervisor that runs
//! as root it is in `/run/supervisor/notify` (below RUNTIME_DIRECTORY, where that is set, as by
//! systemd), which others may pass through and not list; of any other one in our data
//! directory, since its children are of its own user. Its last part is an HMAC under the key
//! in our data directory, which nobody else can guess (128 bits).
//!
//! An abstract name reaches a child in another root directory, too, and no client that knows
//! only paths. It takes the place of a path that cannot be had.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use supervisor_core::event::Generation;

use super::receive::Socket;
use crate::adapters::child_token::{ChildKey, notify_name};

/// What kind of address services are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A path, where one can be had.
    Path,
    /// An abstract name.
    Abstract,
}

/// The addresses of one service's sockets.
#[derive(Debug)]
pub(super) struct Places {
    key: ChildKey,
    service: String,
    form: Form,
    directory: PathBuf,
}

/// A socket and where it is.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: Socket,
    /// As NOTIFY_SOCKET says it.
    pub(super) address: String,
    /// Why it is not the path that was wanted.
    pub(super) no_path: Option<io::Error>,
}

impl Places {
    pub(super) fn new(key: ChildKey, service: &str, form: Form, data_dir: &Path) -> Self {
        Self {
            key,
            service: service.to_owned(),
            form,
            directory: directory(data_dir),
        }
    }

    /// A socket for a life.
    ///
    /// # Errors
    /// Where none can be had.
    pub(super) fn bind(&self, generation: Generation) -> io::Result<Bound> {
        let no_path = match self.form {
            Form::Abstract => None,
            Form::Path => match self.bind_path() {
                Ok(bound) => return Ok(bound),
                Err(why) => Some(why),
            },
        };
        // Of each life another one: the shim of the last holds its own for a moment yet.
        let secret = notify_name(&self.key, &format!("{}\0{generation}", self.service));
        let mut bound = bind_abstract(&secret)?;
        bound.no_path = no_path;
        Ok(bound)
    }

    /// The one that a life without a socket of its own was given: by a supervisor of version
    /// 0.1, which had one for each service.
    ///
    /// # Errors
    /// Where it cannot be had.
    pub(super) fn bind_older(&self) -> io::Result<Bound> {
        bind_abstract(&notify_name(&self.key, &self.service))
    }

    fn bind_path(&self) -> io::Result<Bound> {
        make(&self.directory)?;
        let path = self.directory.join(notify_name(&self.key, &self.service));
        let Some(address) = path.to_str() else {
            return Err(io::Error::other("the path is no text"));
        };
        // The last life's is of no use to anybody: nothing of it is left when one begins.
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let socket = Socket::bind(&SocketAddr::from_pathname(&path)?)?;
        // Whoever knows the name may write: a child of whatever user. Senders are looked at.
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(Bound {
            socket,
            address: address.to_owned(),
            no_path: None,
        })
    }
}

impl Bound {
    /// One that a life has kept.
    pub(super) fn kept(socket: std::os::fd::OwnedFd) -> Self {
        let socket = Socket::kept(socket);
        let address = address_of(&socket);
        Self {
            socket,
            address,
            no_path: None,
        }
    }
}

fn bind_abstract(secret: &str) -> io::Result<Bound> {
    let name = format!("supervisor/notify/{secret}");
    Ok(Bound {
        socket: Socket::bind(&SocketAddr::from_abstract_name(&name)?)?,
        address: format!("@{name}"),
        no_path: None,
    })
}

/// As NOTIFY_SOCKET says it; only for the log, so it need not be exact.
fn address_of(socket: &Socket) -> String {
    let name = rustix::net::getsockname(socket.as_fd());
    let unix = name.and_then(rustix::net::SocketAddrUnix::try_from);
    let Ok(unix) = unix else {
        return String::new();
    };
    match (unix.path_bytes(), unix.abstract_name()) {
        (Some(path), _) => String::from_utf8_lossy(path).into_owned(),
        (None, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        (None, None) => String::new(),
    }
}

/// Where paths are.
fn directory(data_dir: &Path) -> PathBuf {
    if !nix::unistd::geteuid().is_root() {
        return data_dir.join("notify");
    }
    let given = env::var_os("RUNTIME_DIRECTORY");
    // Several are separated by colons.
    let first = given.and_then(|given| env::split_paths(&given).next());
    let runtime = first.filter(|path| path.is_absolute());
    let runtime = runtime.unwrap_or_else(|| PathBuf::from("/run/supervisor"));
    runtime.join("notify")
}

/// Makes the directory, or makes sure that it is ours alone: whoever else could write there
/// could put a socket of his in the place of ours.
fn make(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        // Of a data directory it is there already.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
        ours(parent)?;
    }
    match DirBuilder::new().mode(0o711).create(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => ours(directory),
        Err(error) => Err(error),
    }
}

fn ours(directory: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(directory)?;
    let mine = found.uid() == nix::unistd::geteuid().as_raw();
    if found.is_dir() && mine && found.mode() & 0o022 == 0 {
        Ok(())
    } else {
        let shown = directory.display();
        Err(io::Error::other(format!(
            "{shown} is not a directory that only we may write"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(form: Form, directory: &Path) -> Places {
        Places {
            key: ChildKey::new([7; ChildKey::BYTES]),
            service: format!("test-{}-{}", std::process::id(), directory.display()),
            form,
            directory: directory.to_owned(),
        }
    }

    #[test]
    fn a_path_is_open_to_who_knows_it_and_each_life_has_a_socket_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(Form::Path, &dir.path().join("notify"));
        let first = places.bind(Generation(1)).unwrap();
        let second = places.bind(Generation(2)).unwrap();
        assert_eq!(first.address, second.address);
        let path = Path::new(&second.address);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(path), 0o666);
        assert_eq!(mode(path.parent().unwrap()), 0o711);
        let secret = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(secret.len(), 32, "128 bits in hexadecimal");
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.send_to(b"x", path).unwrap();
        let mut came = 0;
        assert!(second.socket.receive(|_| came += 1).unwrap());
        assert!(!first.socket.receive(|_| came += 1).unwrap());
        assert_eq!(came, 1);
        let kept = Bound::kept(second.socket.descriptor().unwrap());
        assert_eq!(kept.address, second.address);
    }

    #[test]
    fn a_life_of_version_0_1_is_heard_by_the_name_that_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(Form::Path, dir.path());
        let older = places.bind_older().unwrap();
        let secret = notify_name(&places.key, &places.service);
        assert_eq!(older.address, format!("@supervisor/notify/{secret}"));
    }

    #[test]
    fn where_no_path_can_be_had_it_is_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(100));
        fs::create_dir(&deep).unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&deep, &link).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for parent in [&deep, &shared, &link, &file] {
            let places = places(Form::Path, &parent.join("notify"));
            let bound = places.bind(Generation(1)).unwrap();
            assert!(bound.address.starts_with("@supervisor/notify/"));
            assert!(bound.no_path.is_some(), "{}", parent.display());
            // The next life's while the last one's shim still holds its own.
            let next = places.bind(Generation(2)).unwrap();
            assert_ne!(bound.address, next.address);
            let kept = Bound::kept(next.socket.descriptor().unwrap());
            assert_eq!(kept.address, next.address);
        }
    }
}
