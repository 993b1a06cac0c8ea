//! Who holds a port that we want: so that "address in use" names somebody.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A process that listens where we want to, as far as we may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    uid: u32,
    process: Option<(i32, String)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, name)) => write!(f, "pid {pid} ({name})"),
            None => write!(
                f,
                "a process of user {} that we may not look into",
                self.uid
            ),
        }
    }
}

/// A listening socket of /proc/net/tcp or tcp6.
#[derive(Debug, PartialEq, Eq)]
struct Listening {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

/// Finds out who listens on that address, or on all of its port. Blocking: it walks /proc.
pub(super) fn holder(wanted: SocketAddr) -> Option<Holder> {
    let found = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table))
        .find(|socket| in_the_way(socket.address, wanted))?;
    Some(Holder {
        uid: found.uid,
        process: process_of(found.inode),
    })
}

fn in_the_way(held: SocketAddr, wanted: SocketAddr) -> bool {
    let (held_ip, wanted_ip) = (held.ip().to_canonical(), wanted.ip().to_canonical());
    held.port() == wanted.port()
        && (held_ip == wanted_ip || held_ip.is_unspecified() || wanted_ip.is_unspecified())
}

fn listening(table: &str) -> Vec<Listening> {
    /// TCP_LISTEN of the kernel's tcp_states.h.
    const LISTEN: &str = "0A";
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if *fields.get(3)? != LISTEN {
            return None;
        }
        Some(Listening {
            address: address(fields.get(1)?)?,
            uid: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// `0100007F:1389`: the kernel prints each 32-bit word of an address in the machine's order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The process that has a socket open: its descriptor links to `socket:[inode]`.
fn process_of(inode: u64) -> Option<(i32, String)> {
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?;
        let holds = descriptors.any(|descriptor| {
            descriptor
                .and_then(|descriptor| fs::read_link(descriptor.path()))
                .is_ok_and(|target| target.as_os_str() == link.as_str())
        });
        let name = || fs::read_to_string(entry.path().join("comm")).ok();
        holds.then(|| (pid, name().unwrap_or_default().trim_end().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1389 0100007F:A3C2 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 00000000000000000000000001000000:1389 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1 0 100 0 0 10 0
";
        let sockets = listening(table);
        assert_eq!(sockets.len(), 2);
        assert_eq!(sockets[0].address, "127.0.0.1:5001".parse().unwrap());
        assert_eq!((sockets[0].uid, sockets[0].inode), (1000, 4711));
        assert_eq!(sockets[1].address, "[::1]:5001".parse().unwrap());
    }

    #[test]
    fn whoever_listens_is_named_with_pid_and_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(listener.local_addr().unwrap()).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let (pid, name) = found.process.clone().unwrap();
        assert_eq!(pid, me);
        assert!(!name.is_empty());
        assert_eq!(found.to_string(), format!("pid {me} ({name})"));
    }

    #[test]
    fn one_on_all_addresses_is_in_the_way_and_one_on_another_port_is_not() {
        let at = |text: &str| text.parse().unwrap();
        assert!(in_the_way(at("0.0.0.0:5001"), at("127.0.0.1:5001")));
        assert!(in_the_way(at("[::]:5001"), at("127.0.0.1:5001")));
        assert!(in_the_way(at("10.0.0.1:5001"), at("0.0.0.0:5001")));
        assert!(!in_the_way(at("127.0.0.2:5001"), at("127.0.0.1:5001")));
        assert!(!in_the_way(at("127.0.0.1:5002"), at("127.0.0.1:5001")));
    }
}
