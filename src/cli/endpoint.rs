//! Where the supervisor is: its socket, or (for a service's own pulses) its address.

use std::path::{Path, PathBuf};

use super::args::Common;
use crate::adapters::stand_in::seat;
use supervisor_core::ServiceName;

/// The name of the socket within the data directory.
const SOCKET: &str = "supervisor.sock";
/// The data directory where the configuration names none.
const DATA_DIR: &str = ".supervisor";

/// What of the environment decides, so that tests need not change the real one.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// `SUPERVISOR_SOCKET`
    pub(super) socket: Option<PathBuf>,
    /// `SUPERVISOR_URL`
    pub(super) url: Option<String>,
    /// `SUPERVISOR_TOKEN`
    pub(super) token: Option<String>,
    /// `SUPERVISOR_SERVICE`
    pub(super) service: Option<String>,
}

impl Environment {
    /// The real one; an empty variable counts as unset.
    pub(super) fn read() -> Self {
        let text = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        Self {
            socket: std::env::var_os("SUPERVISOR_SOCKET")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from),
            url: text("SUPERVISOR_URL"),
            token: text("SUPERVISOR_TOKEN"),
            service: text("SUPERVISOR_SERVICE"),
        }
    }
}

/// One way to a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Its Unix socket: whoever may open the file is trusted.
    Unix {
        /// The socket.
        path: PathBuf,
        /// What to start it with, where it is known.
        config: Option<PathBuf>,
    },
    /// Its TCP address, with the token of a service.
    Tcp {
        /// `host:port`
        authority: String,
        /// Good for that service's own pulses.
        token: String,
    },
}

/// The socket to ask: `--socket`, else `SUPERVISOR_SOCKET`, else the configuration's.
pub(super) fn socket(common: &Common, environment: &Environment) -> Endpoint {
    match common.socket.as_ref().or(environment.socket.as_ref()) {
        Some(path) => Endpoint::Unix {
            path: path.clone(),
            config: None,
        },
        None => Endpoint::Unix {
            path: seat(data_dir(&common.config)).join(SOCKET),
            config: Some(common.config.clone()),
        },
    }
}

/// The ways to a supervisor, in the order to try them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) first: Endpoint,
    /// Where nobody is at the first.
    pub(super) second: Option<Endpoint>,
}

/// The ways to send a sign of life of a service. Within a service
/// its own supervisor's address comes first: the working directory may hold the configuration
/// of another one, and the socket may not be open to the service's user.
pub(super) fn for_pulse(common: &Common, environment: &Environment, name: &ServiceName) -> Ways {
    let socket = socket(common, environment);
    let asked_for = common.socket.is_some() || environment.socket.is_some();
    let own = environment.service.as_deref() == Some(name.as_str());
    let authority = environment.url.as_deref().and_then(authority);
    match (authority, &environment.token) {
        (Some(authority), Some(token)) if own && !asked_for => {
            let token = token.clone();
            Ways {
                first: Endpoint::Tcp { authority, token },
                second: Some(socket),
            }
        }
        _ => Ways {
            first: socket,
            second: None,
        },
    }
}

/// `host:port` of an `http://` URL.
fn authority(url: &str) -> Option<String> {
    let uri: actix_http::Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    match (uri.scheme_str(), authority.port_u16()) {
        (Some("http"), Some(_)) => Some(authority.as_str().to_owned()),
        (Some("http"), None) => Some(format!("{}:80", authority.as_str())),
        _ => None,
    }
}

/// The data directory that a configuration names. A missing or broken configuration must not
/// keep anybody from asking the supervisor that runs already: then it is guessed.
fn data_dir(config: &Path) -> PathBuf {
    if let Ok(data_dir) = crate::config::data_dir(config) {
        return data_dir;
    }
    let named = std::fs::read_to_string(config)
        .ok()
        .and_then(|text| data_dir_in(&text));
    config
        .parent()
        .unwrap_or(Path::new(""))
        .join(named.as_deref().unwrap_or(DATA_DIR))
}

/// `[supervisor] data_dir` of a configuration, whatever else may be wrong with it.
fn data_dir_in(text: &str) -> Option<String> {
    let (table, _errors) = toml::de::DeTable::parse_recoverable(text);
    let supervisor = table.into_inner();
    let supervisor = supervisor.get("supervisor")?.get_ref().as_table()?;
    let data_dir = supervisor.get("data_dir")?.get_ref().as_str()?;
    (!data_dir.is_empty()).then(|| data_dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(config: &Path, socket: Option<&str>) -> Common {
        Common {
            config: config.to_owned(),
            socket: socket.map(PathBuf::from),
            json: false,
            no_color: true,
        }
    }

    fn path(endpoint: Endpoint) -> PathBuf {
        match endpoint {
            Endpoint::Unix { path, .. } => path,
            tcp @ Endpoint::Tcp { .. } => panic!("{tcp:?}"),
        }
    }

    #[test]
    fn the_socket_lies_in_the_configurations_data_dir() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("x.toml");
        let none = Environment::default();
        let default = dir.path().join(".supervisor/supervisor.sock");
        assert_eq!(path(socket(&common(&config, None), &none)), default);
        for (text, expected) in [
            ("[services.a]\ncommand = 'x'\n", ".supervisor"),
            ("[supervisor]\ndata_dir = 'state'\n", "state"),
            ("[supervisor]\ndata_dir = 7\n", ".supervisor"),
            ("[supervisor]\ndata_dir = '/var/lib/s'\n", "/var/lib/s"),
            // Wrong keys, wrong types and broken syntax elsewhere do not matter.
            (
                "[supervisor]\ndata_dir = 'state'\nbogus = true\n[services.a\ncommand = = 1\n",
                "state",
            ),
            ("\0\u{1}]]]", ".supervisor"),
        ] {
            std::fs::write(&config, text).unwrap();
            let expected = dir.path().join(expected).join("supervisor.sock");
            assert_eq!(
                path(socket(&common(&config, None), &none)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_option_outranks_the_environment_and_that_the_configuration() {
        let config = Path::new("nowhere.toml");
        let environment = Environment {
            socket: Some("/run/env.sock".into()),
            ..Environment::default()
        };
        assert_eq!(
            path(socket(&common(config, Some("/run/o.sock")), &environment)),
            Path::new("/run/o.sock")
        );
        assert_eq!(
            path(socket(&common(config, None), &environment)),
            Path::new("/run/env.sock")
        );
        assert_eq!(
            path(socket(&common(config, None), &Environment::default())),
            Path::new(".supervisor/supervisor.sock")
        );
    }

    #[test]
    fn a_service_sends_its_own_pulses_to_its_own_supervisor() {
        let config = Path::new("nowhere.toml");
        let environment = Environment {
            url: Some("http://127.0.0.1:5001".into()),
            token: Some("secret".into()),
            service: Some("worker".into()),
            ..Environment::default()
        };
        let worker = ServiceName::new("worker").unwrap();
        let tcp = Endpoint::Tcp {
            authority: "127.0.0.1:5001".into(),
            token: "secret".into(),
        };
        let ways = for_pulse(&common(config, None), &environment, &worker);
        assert_eq!(ways.first, tcp);
        assert!(ways.second.is_some());
        // Its token is good for nobody else, and an explicit socket is meant.
        let other = ServiceName::new("other").unwrap();
        assert_eq!(
            for_pulse(&common(config, None), &environment, &other).second,
            None
        );
        assert_eq!(
            for_pulse(&common(config, Some("/s")), &environment, &worker).second,
            None
        );
    }

    #[test]
    fn only_an_http_url_names_an_address() {
        assert_eq!(
            authority("http://127.0.0.1:5001/").as_deref(),
            Some("127.0.0.1:5001")
        );
        assert_eq!(authority("http://[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(authority("http://host").as_deref(), Some("host:80"));
        assert_eq!(authority("https://host"), None);
        assert_eq!(authority("not a url"), None);
    }
}
