//! The two doors: a socket in `data_dir` and a TCP address.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The socket's name in `data_dir`.
const SOCKET: &str = "supervisor.sock";
/// Where it is made: a directory that nobody else can enter.
const CRADLE: &str = ".sock";
/// What fits into `sockaddr_un`, with the byte that ends it.
const MAX_SOCKET_PATH: usize = 107;
/// Connections that wait to be accepted: a burst of pulses must not meet a closed door.
const BACKLOG: i32 = 1024;

/// Where the socket lies.
pub(super) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// Listens on the socket, mode 0600. What lies there is replaced: the caller holds the lock of
/// `data_dir`, so it is a dead supervisor's.
///
/// Between `bind` and `chmod` a socket has whatever mode the umask leaves, and the umask is the
/// whole process's; so it is made in a private directory and moved out when it is safe.
pub(super) fn unix(data_dir: &Path) -> io::Result<UnixListener> {
    let cradle = data_dir.join(CRADLE);
    let unborn = cradle.join("s");
    discard(fs::remove_file(&unborn))?;
    discard(fs::remove_dir(&cradle))?;
    DirBuilder::new().mode(0o700).create(&cradle)?;
    let listener = if unborn.as_os_str().len() > MAX_SOCKET_PATH {
        let directory = File::open(&cradle)?;
        UnixListener::bind(format!("/proc/self/fd/{}/s", directory.as_raw_fd()))?
    } else {
        UnixListener::bind(&unborn)?
    };
    fs::set_permissions(&unborn, Permissions::from_mode(0o600))?;
    fs::rename(&unborn, socket_path(data_dir))?;
    fs::remove_dir(&cradle)?;
    Ok(listener)
}

/// Not being there is what was wanted.
fn discard(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Listens on a TCP address.
pub(super) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_socket_is_private_and_replaces_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let listener = unix(dir.path()).unwrap();
            let there = fs::symlink_metadata(socket_path(dir.path())).unwrap();
            assert!(there.file_type().is_socket());
            assert_eq!(there.permissions().mode() & 0o777, 0o600);
            let _client = UnixStream::connect(socket_path(dir.path())).unwrap();
            listener.accept().unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_leftovers_of_a_killed_start_are_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(CRADLE)).unwrap();
        let _dead = UnixListener::bind(dir.path().join(CRADLE).join("s")).unwrap();
        unix(dir.path()).unwrap();
    }

    #[test]
    fn a_data_dir_with_a_long_path_has_a_socket_too() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let _listener = unix(&deep).unwrap();
        assert!(socket_path(&deep).exists());
    }
}
