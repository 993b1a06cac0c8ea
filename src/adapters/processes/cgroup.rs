//! Where services' cgroups go, if this machine lets us have some. Always optional.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The cgroup v2 directory under which each process gets its own. `None` where there is no
/// cgroup v2, or none that we may write. The shims make it and remove it again; here it is
/// only tried.
pub(super) fn root(data_dir: &Path) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let root = own_directory(&mounts, &own)?.join(name(data_dir));
    let usable = fs::create_dir(&root).is_ok() || root.is_dir();
    remove_empty(&root);
    usable.then_some(root)
}

/// Removes what shims that were killed could not remove, and the directory itself where that
/// was all. Whoever lives in one keeps it.
fn remove_empty(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    remove(root);
}

/// Removes an empty one; one with members or others in it stays.
pub(super) fn remove(cgroup: &Path) {
    let _ = fs::remove_dir(cgroup);
}

/// One per data directory: two supervisors on one machine do not meet.
fn name(data_dir: &Path) -> String {
    use std::fmt::Write as _;

    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let mut name = "supervisor-".to_owned();
    for byte in &digest[..4] {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Our own cgroup's directory.
fn own_directory(mounts: &str, own: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    // Fields 4 and 5 of proc_pid_mountinfo(5): the root within the file system, the mount point.
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

/// Its members; none where it is gone, or of a kind that has no list of them.
///
/// # Errors
/// Where they cannot be read.
pub(super) fn members(cgroup: &Path) -> io::Result<Vec<i32>> {
    let procs = match fs::read_to_string(cgroup.join("cgroup.procs")) {
        Ok(procs) => procs,
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::EOPNOTSUPP)
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    Ok(procs.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Kills all of its members at once.
pub(super) fn kill(cgroup: &Path) {
    // Where it cannot be (an older kernel), the members are killed one by one.
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_directory_is_found_wherever_cgroups_are_mounted() {
        let hybrid =
            "30 20 0:26 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let found = own_directory(hybrid, "9:pids:/x\n0::/system.slice/s.service\n");
        let expected = Path::new("/sys/fs/cgroup/unified/system.slice/s.service");
        assert_eq!(found.as_deref(), Some(expected));

        let container = "30 20 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let found = own_directory(container, "0::/docker/abc\n");
        assert_eq!(found.as_deref(), Some(Path::new("/sys/fs/cgroup")));

        assert_eq!(
            own_directory("1 1 0:1 / / rw - ext4 /dev/vda rw\n", "0::/\n"),
            None
        );
    }
}
