//! The names under which we may be addressed. A page of a stranger's that has pointed its own
//! name at our address (DNS rebinding) sends that name, and is refused.

use std::net::{IpAddr, SocketAddr};

/// What a `Host` header may say.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    names: Vec<String>,
    port: u16,
    any_address: bool,
}

impl Hosts {
    /// `localhost`, the loopback addresses, the address that we listen on and what the owner
    /// allows, each with our port or without one. Where we listen on all addresses, any
    /// address is one of ours: what is no name cannot be rebound.
    pub(super) fn new(listen: SocketAddr, allowed: &[String]) -> Self {
        let hosts = ["localhost", "127.0.0.1", "[::1]"]
            .into_iter()
            .map(str::to_owned)
            .chain([bracketed(listen.ip())])
            .chain(allowed.iter().map(|host| host.to_ascii_lowercase()));
        let mut names = Vec::new();
        for host in hosts {
            // With the port first: that is what clients send.
            names.push(format!("{host}:{}", listen.port()));
            names.push(host);
        }
        Self {
            names,
            port: listen.port(),
            any_address: listen.ip().is_unspecified(),
        }
    }

    /// Whether a `Host` header of this value is meant for us.
    pub(super) fn allow(&self, host: &str) -> bool {
        self.names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(host))
            || (self.any_address && self.is_address(host))
    }

    fn is_address(&self, host: &str) -> bool {
        match host.parse::<SocketAddr>() {
            Ok(address) => address.port() == self.port,
            Err(_) => host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
                .is_ok(),
        }
    }
}

/// An address as a `Host` header writes it.
fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, allowed: &[&str]) -> Hosts {
        let allowed: Vec<String> = allowed.iter().map(|&host| host.to_owned()).collect();
        Hosts::new(listen.parse().unwrap(), &allowed)
    }

    #[test]
    fn our_names_are_allowed_with_our_port_or_without() {
        let hosts = hosts("127.0.0.1:5001", &["Box.Example"]);
        for host in [
            "localhost",
            "LOCALHOST:5001",
            "127.0.0.1",
            "127.0.0.1:5001",
            "[::1]",
            "[::1]:5001",
            "box.example",
            "box.example:5001",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn f66_a_foreign_name_is_refused_whatever_it_looks_like() {
        let hosts = hosts("127.0.0.1:5001", &[]);
        for host in [
            "",
            "evil.example",
            "evil.example:5001",
            "localhost.evil.example",
            "localhost:80",
            "127.0.0.1.nip.io:5001",
            "127.0.0.1:5001.evil.example",
            "user@localhost:5001",
            "localhost:5001:5001",
            "0.0.0.0:5001",
            "10.0.0.1",
            "2130706433",
            "localhost, evil.example",
            " localhost",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn on_all_addresses_any_address_is_ours_but_no_name_is() {
        let hosts = hosts("0.0.0.0:5001", &[]);
        for host in ["10.0.0.7", "10.0.0.7:5001", "[fe80::1]:5001", "[fe80::1]"] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in ["10.0.0.7:80", "evil.example", "10.0.0.7.nip.io"] {
            assert!(!hosts.allow(host), "{host}");
        }
    }
}
