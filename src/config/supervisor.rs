//! `[supervisor]`: the program itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::reader::{Given, Table, Taken};
use super::secret;
use super::value::Value;
use crate::adapters::stand_in::seat;
use crate::token::Token;

/// Where the API listens unless the file says otherwise.
const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5001);

/// The program's own settings.
#[derive(Debug, Clone)]
pub(crate) struct SupervisorSettings {
    /// What this machine is called in messages.
    pub(crate) name: String,
    /// Where the API listens over TCP; none: only on the Unix socket.
    pub(crate) listen: Option<SocketAddr>,
    /// Where state, sockets and logs live; absolute.
    pub(crate) data_dir: PathBuf,
    /// The directory for that which the file names: the same, unless it cannot be written.
    pub(crate) given_data_dir: PathBuf,
    /// The owner's token; none: one is generated into `data_dir/token`.
    pub(crate) token: Option<Token>,
    /// The environment variable that it came from, which nobody else gets.
    pub(crate) token_env: Option<String>,
    /// Host names that requests may carry, besides the loopback's and `listen`.
    pub(crate) allowed_hosts: Vec<String>,
    /// Whether health is open to anybody beyond loopback.
    pub(crate) public_status: bool,
    /// Whether services may register themselves.
    pub(crate) allow_registration: bool,
    /// What becomes of the services when the program ends.
    pub(crate) on_exit: OnExit,
    /// How long everything together may take to stop.
    pub(crate) shutdown_timeout: Duration,
}

impl SupervisorSettings {
    /// Where processes of ours find the API over TCP; empty for nowhere.
    pub(crate) fn url(&self) -> String {
        self.listen
            .map_or_else(String::new, |address| format!("http://{address}"))
    }
}

/// What becomes of the services when the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnExit {
    /// They are stopped, in reverse dependency order.
    Stop,
    /// They run on for the next supervisor.
    Leave,
}

/// Reads the table; `env` is the environment.
pub(super) fn read(
    table: &mut Table<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> SupervisorSettings {
    let name = table.take("name", |v| {
        v.need_some_text("\"host-1\"").map(str::to_owned)
    });
    let listen = table.take("listen", listen);
    let (token, token_env) = token(table, env);
    if let Taken::Given(Given {
        value: Some(address),
        span,
        ..
    }) = &listen
        && !address.ip().is_loopback()
        && !token.is_present()
    {
        let sink = table.sink();
        sink.say(
            sink.at(
                span.clone(),
                "beyond loopback",
                format!("`supervisor.listen` opens {address} to other machines without a token"),
            )
            .help("name a token with `token_env` or `token_file`, or listen on 127.0.0.1"),
        );
    }
    let listen = listen.or(Some(LISTEN));
    let given_data_dir = given_data_dir(table);
    let allow_registration = table.take("allow_registration", Value::flag);
    SupervisorSettings {
        name: name.value().unwrap_or_else(host_name),
        listen,
        data_dir: seat(given_data_dir.clone()),
        given_data_dir,
        token: token.value(),
        allowed_hosts: table
            .take("allowed_hosts", |v| v.list("[\"status.example\"]", host))
            .or(Vec::new()),
        public_status: table.take("public_status", Value::flag).or(false),
        allow_registration: allow_registration
            .or(listen.is_none_or(|address| address.ip().to_canonical().is_loopback())),
        on_exit: table
            .take("on_exit", |v| {
                v.one_of(&[("stop", OnExit::Stop), ("leave", OnExit::Leave)])
            })
            .or(OnExit::Stop),
        shutdown_timeout: table
            .take("shutdown_timeout", duration::duration)
            .or(Duration::from_secs(30)),
        token_env,
    }
}

/// Reads `data_dir` alone.
pub(super) fn given_data_dir(table: &mut Table<'_>) -> PathBuf {
    let sink = table.sink();
    let path = |v: &Value<'_>| {
        v.need_some_text("\".supervisor\"")
            .map(|text| sink.path(text))
    };
    table
        .take("data_dir", path)
        .value()
        .unwrap_or_else(|| sink.path(".supervisor"))
}

/// The host's name, from the kernel.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// An address, or nothing for no TCP.
fn listen(value: &Value<'_>) -> Option<Option<SocketAddr>> {
    const EXAMPLE: &str = "\"127.0.0.1:5001\"";
    let text = value.need_text(EXAMPLE)?.trim();
    if text.is_empty() {
        return Some(None);
    }
    // The only name that means the same everywhere; others would need a resolver at start.
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    match numeric.parse() {
        Ok(address) => Some(Some(address)),
        Err(_) => value.wrong(
            format!("is no address: {text:?}"),
            format!("an IP address and a port, like {EXAMPLE} or \"[::1]:5001\"; \"\" for no TCP"),
        ),
    }
}

/// A host name as a request's Host header carries it.
fn host(value: &Value<'_>) -> Option<String> {
    const EXAMPLE: &str = "\"status.example\"";
    let text = value.need_some_text(EXAMPLE)?.trim();
    if text.contains("//") || text.contains(|c: char| c.is_whitespace() || "/@*?#".contains(c)) {
        return value.wrong(
            format!("holds {text:?}, which is no host name"),
            format!("a name without scheme and path, like {EXAMPLE}"),
        );
    }
    Some(text.to_ascii_lowercase())
}

/// The token, from the environment or from a file that only its owner reads.
fn token(
    table: &mut Table<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Taken<Token>, Option<String>) {
    for key in ["token", "key", "secret", "password"] {
        table.refuse_secret(
            key,
            "put it into an environment variable and name that: token_env = \"SUPERVISOR_TOKEN\"; \
             or into a file of mode 0600: token_file = \"token\". Without either one is generated",
        );
    }
    let mut variable = None;
    let from_env = table.take("token_env", |value| {
        let name = value.need_some_text("\"SUPERVISOR_TOKEN\"")?;
        variable = Some(name.to_owned());
        check(
            value,
            &secret::of_env(
                value,
                env,
                "\"SUPERVISOR_TOKEN\"",
                "set it, or leave token_env out: then a token is generated in data_dir",
            )?,
        )
    });
    let from_file = table.take("token_file", |value| {
        check(value, &secret::of_file(value, "\"token\"")?)
    });
    table.not_both(("token_env", &from_env), ("token_file", &from_file));
    (from_env.or_take(from_file), variable)
}

/// A token that can be sent and cannot be guessed.
fn check(value: &Value<'_>, secret: &str) -> Option<Token> {
    let secret = secret.trim();
    if secret.is_empty() {
        return value.wrong("leads to an empty token", "any long random text will do");
    }
    match Token::new(secret) {
        Ok(token) => Some(token),
        Err(error) => value.wrong(
            format!("leads to a token that cannot be used: {error}"),
            "a long random text, such as `openssl rand -hex 32` prints",
        ),
    }
}
