//! `[alerts]`: who is told of what, by which sinks, and how often.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::{Method, Uri};
use supervisor_core::alert::{Override, Policy, SinkName, Step};
use supervisor_core::{Level, ServiceName};

use super::duration;
use super::errors::Span;
use super::maintenance;
use super::reader::{Entry, Sink, Table, Taken};
use super::secret;
use super::value::{Value, suggest};
use super::words;
use crate::adapters::sinks::{
    Address, Email, Ntfy, PagerDuty, Secret, SinkKind, SinkSpec, Starttls, Template, Webhook,
};
use crate::maintenance::Window;
use crate::watched::Heartbeat;

const REPEAT: Duration = Duration::from_secs(3_600);
const GROUP_WAIT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Nobody is helped by a message more often.
const LEAST_REPEAT: Duration = Duration::from_secs(10);
/// How often an external monitor hears of us.
const BEAT: Duration = Duration::from_secs(60);
const LEAST_BEAT: Duration = Duration::from_secs(1);
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// Who is told of what, and how.
#[derive(Debug, Clone)]
pub(crate) struct AlertSettings {
    /// The rules.
    pub(crate) policy: Policy,
    /// The sinks besides the log.
    pub(crate) sinks: Vec<SinkSpec>,
    /// Their names, those of wrong ones among them.
    names: Vec<SinkName>,
    /// When services are neither poked nor told of.
    pub(crate) windows: Vec<Window>,
    /// Who outside expects to hear of us.
    pub(crate) heartbeat: Option<Heartbeat>,
}

/// `alerts = {…}` of one service, and where its sinks' names stand.
#[derive(Debug, Clone)]
pub(super) struct Own {
    repeat: Option<Duration>,
    to: Option<Vec<(SinkName, Span)>>,
}

/// Reads the table.
pub(super) fn read(table: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> AlertSettings {
    let repeat = table.take("repeat", repeat);
    let group_wait = table.take("group_wait", duration::duration);
    let resolved = table.take("resolved", Value::flag);
    let mut sinks: Vec<SinkSpec> = Vec::new();
    // Of those that are wrong, too: whoever names one is not at fault.
    let mut names: Vec<SinkName> = Vec::new();
    for entry in table.table("sinks").entries() {
        names.push(entry.key.into());
        sinks.extend(read_sink(&entry, env));
    }
    let mut windows = Vec::new();
    for entry in table.table("maintenance").entries() {
        windows.extend(maintenance::read(&entry));
    }
    let heartbeat = heartbeat(&mut table.table("heartbeat"), env);
    let steps = table.take("escalate", |v| steps(v, &names));
    let steps = match steps {
        Taken::Given(given) => given.value,
        Taken::Absent | Taken::Wrong => Policy::default_steps(&names),
    };
    AlertSettings {
        policy: Policy {
            steps,
            repeat: repeat.or(REPEAT),
            group_wait: group_wait.or(GROUP_WAIT),
            resolved: resolved.or(true),
            overrides: HashMap::new(),
        },
        sinks,
        names,
        windows,
        heartbeat,
    }
}

/// Reads `alerts = {…}` of a service. Whether its sinks exist is seen when all are known.
pub(super) fn read_own(table: &mut Table<'_>) -> Option<Own> {
    let own = table.take("alerts", |value| {
        let mut table = value.table()?;
        Some(Own {
            repeat: table.take("repeat", repeat).value(),
            to: table.take("to", |v| v.list("[\"ops\"]", named)).value(),
        })
    });
    own.value()
}

impl AlertSettings {
    /// Takes what a service wants otherwise.
    pub(super) fn own(&mut self, service: ServiceName, own: Option<Own>, sink: &Sink) {
        let Some(own) = own else { return };
        let names = &self.names;
        let to = own.to.map(|to| {
            let known = to.into_iter().filter(|(name, span)| {
                let known = is_known(name, names);
                if !known {
                    say_unknown(sink, name, span.clone(), names);
                }
                known
            });
            known.map(|(name, _)| name).collect()
        });
        let own = Override {
            to,
            repeat: own.repeat,
        };
        self.policy.overrides.insert(service, own);
    }
}

/// The dead-man's switch.
fn heartbeat(table: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Option<Heartbeat> {
    let every = table.take("every", |v| duration::at_least(v, LEAST_BEAT));
    let given = table.taken() > 0;
    let open = table.take("url", uri);
    let help = "set it before the supervisor starts";
    let by_env = table.take("url_env", |v| {
        parse_uri(v, &secret::of_env(v, env, "\"HEARTBEAT_URL\"", help)?, true)
    });
    table.not_both(("url", &open), ("url_env", &by_env));
    let url = open.or_take(by_env);
    let url = if given {
        needed(table, "url", "\"https://monitor.example/ping\"", url)
    } else {
        url.value()
    };
    Some(Heartbeat {
        url: url?.0,
        every: every.or(BEAT),
    })
}

fn repeat(value: &Value<'_>) -> Option<Duration> {
    duration::at_least(value, LEAST_REPEAT)
}

// === steps ===

fn steps(value: &Value<'_>, names: &[SinkName]) -> Option<Vec<Step>> {
    let steps = value.list("[{ level = \"critical\", to = [\"ops\"] }]", |element| {
        let mut table = element.table()?;
        let level = table.take("level", |v| {
            v.one_of(&[
                ("warning", Level::Warning),
                ("degraded", Level::Degraded),
                ("critical", Level::Critical),
            ])
        });
        let after = table.take("after", duration::duration);
        let to = table.take("to", |v| {
            let to = v.list("[\"ops\"]", |name| {
                let (sink, span) = named(name)?;
                if is_known(&sink, names) {
                    return Some(sink);
                }
                say_unknown(name.sink, &sink, span, names);
                None
            })?;
            if to.is_empty() {
                return v.wrong("is empty", "name a sink: to = [\"ops\"]");
            }
            Some(to)
        });
        for (key, absent) in [("level", !level.is_present()), ("to", !to.is_present())] {
            if absent {
                let message = format!("a step of [[alerts.escalate]] has no `{key}`");
                let mistake = element.sink.at(element.span.clone(), "here", message);
                element
                    .sink
                    .say(mistake.help("level = \"critical\"\nto = [\"ops\"]\nafter = \"0s\""));
            }
        }
        Some(Step {
            level: level.value()?,
            after: after.or(Duration::ZERO),
            to: to.value()?,
        })
    })?;
    if steps.len() > Policy::MOST_STEPS {
        return value.wrong(
            format!("has {} steps", steps.len()),
            format!("at most {}", Policy::MOST_STEPS),
        );
    }
    Some(steps)
}

fn named(value: &Value<'_>) -> Option<(SinkName, Span)> {
    let name = value.need_some_text("\"ops\"")?;
    Some((name.into(), value.span.clone()))
}

fn is_known(name: &SinkName, names: &[SinkName]) -> bool {
    **name == *Policy::LOG || names.contains(name)
}

fn say_unknown(sink: &Sink, name: &str, span: Span, names: &[SinkName]) {
    let all = names.iter().map(|name| &**name).chain([Policy::LOG]);
    let label = match suggest(name, all.clone()) {
        Some(best) => format!("did you mean \"{best}\"?"),
        None => "not known".to_owned(),
    };
    let list = all.collect::<Vec<_>>().join(", ");
    let mistake = sink.at(span, label, format!("there is no sink {name:?}"));
    sink.say(mistake.help(format!("sinks are [alerts.sinks.NAME]; there are: {list}")));
}

// === sinks ===

/// The words for the kinds of sinks.
const KINDS: [(&str, &str); 9] = [
    ("log", "log"),
    ("exec", "exec"),
    ("webhook", "webhook"),
    ("slack", "slack"),
    ("discord", "discord"),
    ("ntfy", "ntfy"),
    ("alertmanager", "alertmanager"),
    ("pagerduty", "pagerduty"),
    ("email", "email"),
];

fn read_sink(entry: &Entry<'_>, env: &dyn Fn(&str) -> Option<String>) -> Option<SinkSpec> {
    let mut table = entry.value.named_table("alerts.sinks")?;
    let sink = table.sink();
    let kind = table.take("kind", |v| v.one_of(&KINDS));
    if !kind.is_present() {
        let message = format!("[{}] has no `kind`", table.shown());
        let kinds = KINDS.map(|(word, _)| word).join(", ");
        sink.say(
            sink.at(entry.key_span.clone(), "of which kind?", message)
                .help(format!("kind is one of {kinds}")),
        );
    }
    let timeout = table.take("timeout", duration::positive);
    let allow_link_local = table.take("allow_link_local", Value::flag);
    let kind = match kind.value() {
        Some(word) => of_kind(word, &mut table, env),
        None => {
            // What it says of itself means something only with its kind.
            table.entries();
            None
        }
    };
    if entry.key == Policy::LOG {
        let message = "the sink \"log\" is always there";
        let mistake = sink.at(entry.key_span.clone(), "another name, please", message);
        sink.say(mistake);
        return None;
    }
    Some(SinkSpec {
        name: entry.key.to_owned(),
        kind: kind?,
        timeout: timeout.or(TIMEOUT),
        allow_link_local: allow_link_local.or(false),
    })
}

fn of_kind(
    word: &str,
    table: &mut Table<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Option<SinkKind> {
    let sink = table.sink();
    match word {
        "log" => Some(SinkKind::Log),
        "exec" => {
            let command = table.take("command", words::command);
            Some(SinkKind::Exec {
                command: needed(table, "command", "[\"notify-send\"]", command)?,
                cwd: sink.path("."),
            })
        }
        "slack" => address(table, env).map(SinkKind::Slack),
        "discord" => address(table, env).map(SinkKind::Discord),
        "alertmanager" => address(table, env).map(SinkKind::Alertmanager),
        "webhook" => webhook(table, env).map(SinkKind::Webhook),
        "ntfy" => {
            let server = table.take("server", uri);
            let topic = secret_or_open(table, env);
            let token = secret::take(
                table,
                ("token", "token_env", "token_file"),
                env,
                "\"NTFY_TOKEN\"",
            );
            let server = server.or(Address(Uri::from_static("https://ntfy.sh")));
            let topic = needed(table, "topic", "\"a-name-that-nobody-guesses\"", topic)?;
            Some(SinkKind::Ntfy(Ntfy {
                server,
                topic: Secret(topic),
                token: token.value().map(Secret),
            }))
        }
        "pagerduty" => {
            let url = table.take("url", uri);
            let keys = ("routing_key", "routing_key_env", "routing_key_file");
            let key = secret::take(table, keys, env, "\"PAGERDUTY_KEY\"");
            let routing_key = needed(table, "routing_key_env", "\"PAGERDUTY_KEY\"", key)?;
            Some(SinkKind::PagerDuty(PagerDuty {
                routing_key: Secret(routing_key),
                url: url.or(Address(Uri::from_static(PAGERDUTY))),
            }))
        }
        _ => email(table, env).map(|email| SinkKind::Email(Box::new(email))),
    }
}

/// The topic, which is no more secret than its owner makes it.
fn secret_or_open(table: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Taken<String> {
    let open = table.take("topic", |v| {
        v.need_some_text("\"alerts\"").map(str::to_owned)
    });
    let by_env = table.take("topic_env", |v| {
        secret::of_env(
            v,
            env,
            "\"NTFY_TOPIC\"",
            "set it before the supervisor starts",
        )
    });
    table.not_both(("topic", &open), ("topic_env", &by_env));
    open.or_take(by_env)
}

/// Where it is: in the open, or by the environment or a file where the address is a secret.
fn address(table: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Option<Address> {
    let open = table.take("url", uri);
    let help = "set it before the supervisor starts";
    let by_env = table.take("url_env", |v| {
        parse_uri(v, &secret::of_env(v, env, "\"SLACK_URL\"", help)?, true)
    });
    let by_file = table.take("url_file", |v| {
        parse_uri(v, &secret::of_file(v, "\"slack-url\"")?, true)
    });
    table.not_both(("url", &open), ("url_env", &by_env));
    table.not_both(("url", &open), ("url_file", &by_file));
    table.not_both(("url_env", &by_env), ("url_file", &by_file));
    let url = open.or_take(by_env).or_take(by_file);
    needed(table, "url_env", "\"SLACK_URL\"", url)
}

fn uri(value: &Value<'_>) -> Option<Address> {
    let text = value.need_some_text("\"https://hooks.example/alerts\"")?;
    parse_uri(value, text, false)
}

/// An address; one that is a secret is not shown.
fn parse_uri(value: &Value<'_>, text: &str, hidden: bool) -> Option<Address> {
    let good =
        text.trim().parse::<Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        });
    match good {
        Some(uri) => Some(Address(uri)),
        None => {
            let shown = if hidden {
                String::new()
            } else {
                format!(": {text:?}")
            };
            value.wrong(
                format!("is no address{shown}"),
                "it begins with https:// or http://",
            )
        }
    }
}

/// The value, or said that it is missing.
fn needed<T>(table: &Table<'_>, key: &str, example: &str, taken: Taken<T>) -> Option<T> {
    if !taken.is_present() {
        let sink = table.sink();
        let message = format!("[{}] has no `{key}`", table.shown());
        sink.say(
            sink.at(table.span(), "incomplete", message)
                .help(format!("for example: {key} = {example}")),
        );
    }
    taken.value()
}

fn webhook(table: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Option<Webhook> {
    let method = table.take("method", |v| {
        v.one_of(&[("POST", 0_u8), ("PUT", 1), ("PATCH", 2), ("GET", 3)])
    });
    let headers = table.take("headers", headers);
    let template = table.take("template", template);
    let keys = ("hmac_key", "hmac_key_env", "hmac_key_file");
    let hmac_key = secret::take(table, keys, env, "\"HOOK_KEY\"");
    let url = address(table, env);
    let method = match method.or(0) {
        0 => Method::POST,
        1 => Method::PUT,
        2 => Method::PATCH,
        _ => Method::GET,
    };
    Some(Webhook {
        url: url?,
        method,
        headers: headers.or(Vec::new()),
        template: template.value(),
        hmac_key: hmac_key.value().map(Secret),
    })
}

fn template(value: &Value<'_>) -> Option<Template> {
    let text = value.need_some_text("'{\"text\": \"{{title}}\"}'")?;
    match Template::new(text) {
        Ok(template) => Some(template),
        Err(problem) => value.wrong(
            problem,
            "fields are written {{title}}: id, serial, kind, about, service, level, title, \
             reason, opened, resolved, by, note, host, url",
        ),
    }
}

fn headers(value: &Value<'_>) -> Option<Vec<(String, Template)>> {
    let mut table = value.table()?;
    let mut good = true;
    let mut headers = Vec::new();
    for entry in table.entries() {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if entry.key.is_empty() || !entry.key.bytes().all(token) {
            good = false;
            let message = format!("{:?} is no header's name", entry.key);
            let mistake = value.sink.at(entry.key_span.clone(), "here", message);
            value
                .sink
                .say(mistake.help("for example: X-Source = \"supervisor\""));
            continue;
        }
        match template(&entry.value) {
            Some(template) => headers.push((entry.key.to_owned(), template)),
            None => good = false,
        }
    }
    good.then_some(headers)
}

fn email(table: &mut Table<'_>, env: &dyn Fn(&str) -> Option<String>) -> Option<Email> {
    let sink = table.sink();
    let server = table.take("smtp", |v| {
        let text = v.need_some_text("\"smtp://mail.example:587\"")?;
        match server_of(text) {
            Some(server) => Some(server),
            None => v.wrong(
                format!("is no mail server: {text:?}"),
                "smtp://HOST:PORT, or smtps://HOST:PORT where TLS begins at once",
            ),
        }
    });
    let starttls = table.take("starttls", Value::flag);
    let username = table.take("username", |v| {
        v.need_some_text("\"supervisor\"").map(str::to_owned)
    });
    let keys = ("password", "password_env", "password_file");
    let password = secret::take(table, keys, env, "\"SMTP_PASSWORD\"");
    let from = table.take("from", mailbox);
    let to = table.take("to", |v| {
        let all = v.list("[\"ops@example.org\"]", mailbox)?;
        if all.is_empty() {
            return v.wrong("is empty", "name somebody: to = [\"ops@example.org\"]");
        }
        Some(all)
    });
    if username.is_present() != password.is_present() {
        let message = format!(
            "[{}] has one of `username` and `password_env`",
            table.shown()
        );
        sink.say(
            sink.at(table.span(), "incomplete", message)
                .help("a server that wants a name wants a password, too"),
        );
    }
    let server_span = server.as_given().map(|given| given.span.clone());
    let server = needed(table, "smtp", "\"smtp://mail.example:587\"", server);
    let from = needed(table, "from", "\"supervisor@example.org\"", from);
    let to = needed(table, "to", "[\"ops@example.org\"]", to);
    let Server {
        host,
        port,
        wrapped,
    } = server?;
    let local = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
    let tls = match (wrapped, starttls.value()) {
        (true, _) => Starttls::Implicit,
        (false, Some(true)) => Starttls::Required,
        (false, None) if !local => Starttls::Required,
        (false, None | Some(false)) => Starttls::Plain,
    };
    if tls == Starttls::Plain && password.is_present() && !local {
        let message = "a password would go over the network in the open";
        let mistake = sink.at(server_span.unwrap_or_default(), "without TLS", message);
        sink.say(mistake.help("leave starttls out, or write smtps://"));
        return None;
    }
    Some(Email {
        host,
        port,
        tls,
        username: username.value(),
        password: password.value().map(Secret),
        from: from?,
        to: to?,
    })
}

struct Server {
    host: String,
    port: u16,
    wrapped: bool,
}

fn server_of(text: &str) -> Option<Server> {
    let uri = text.trim().parse::<Uri>().ok()?;
    let wrapped = match uri.scheme_str()? {
        "smtp" => false,
        "smtps" => true,
        _ => return None,
    };
    let bare = uri.path().is_empty() || uri.path() == "/";
    if !bare || uri.authority()?.as_str().contains('@') {
        return None;
    }
    Some(Server {
        host: uri.host()?.to_owned(),
        port: uri.port_u16().unwrap_or(if wrapped { 465 } else { 587 }),
        wrapped,
    })
}

fn mailbox(value: &Value<'_>) -> Option<lettre::message::Mailbox> {
    let text = value.need_some_text("\"ops@example.org\"")?;
    match text.parse() {
        Ok(mailbox) => Some(mailbox),
        Err(_) => value.wrong(
            format!("is no mail address: {text:?}"),
            "ops@example.org, or \"Operators <ops@example.org>\"",
        ),
    }
}
