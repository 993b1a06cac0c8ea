//! `docs/reference.toml` and the readers know the same keys.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use toml::de::DeValue;

use super::super::reader::Sink;
use super::*;

const REFERENCE: &str = include_str!("../../../docs/reference.toml");

/// The reference as it stands, and once for every alternative that it names in a comment.
fn variants() -> Vec<String> {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let mut variants = vec![REFERENCE.to_owned()];
    for (at, line) in lines.iter().enumerate() {
        let mut changed = lines.clone();
        if let Some(alternative) = line.strip_prefix("# or: ") {
            let replaced = (0..at)
                .rev()
                .find(|above| !lines[*above].starts_with('#'))
                .unwrap();
            changed[replaced] = alternative;
        } else if let Some(addition) = line.strip_prefix("# also: ") {
            changed[at] = addition;
            // The other name of log.level.
            if addition.starts_with("log_level") {
                changed.retain(|line| !line.starts_with("level = \"info\""));
            }
        } else {
            continue;
        }
        variants.push(changed.join("\n"));
    }
    variants
}

/// Every key of a text as `table.key`, names that users choose replaced by `NAME`.
fn keys(text: &str) -> BTreeSet<String> {
    fn walk(table: &DeTable<'_>, path: &str, keys: &mut BTreeSet<String>) {
        for (key, value) in table {
            let named = [
                "services",
                "heartbeat.services",
                "sync.tables",
                "alerts.sinks",
                "alerts.maintenance",
            ]
            .contains(&path);
            let free = path.ends_with(".env")
                || path.ends_with(".headers")
                || path.ends_with(".limits")
                || path.ends_with(".columns");
            if free {
                continue;
            }
            let key = if named { "NAME" } else { key.get_ref() };
            let path = match path {
                "" => key.to_owned(),
                path => format!("{path}.{key}"),
            };
            if !named {
                keys.insert(path.clone());
            }
            match value.get_ref() {
                DeValue::Table(inner) => walk(inner, &path, keys),
                DeValue::Array(elements) => {
                    for element in elements {
                        if let DeValue::Table(inner) = element.get_ref() {
                            walk(inner, &path, keys);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let mut keys = BTreeSet::new();
    let root = DeTable::parse(text).unwrap();
    walk(root.get_ref(), "", &mut keys);
    keys
}

/// Every key of the reference and its alternatives.
pub(super) fn every_key() -> Vec<String> {
    let all: BTreeSet<String> = variants().iter().flat_map(|text| keys(text)).collect();
    all.into_iter().collect()
}

#[test]
fn the_reference_and_each_of_its_alternatives_load() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "A=1\n").unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "open-sesame-open-sesame").unwrap();
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    for (name, secret) in [
        ("hook-url", "https://hooks.example/secret"),
        ("hook-key", "key"),
        ("ntfy-token", "token"),
        ("pagerduty-key", "key"),
        ("smtp-password", "open sesame"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let file = dir.path().join("reference.toml");
    let variants = variants();
    assert!(variants.len() > 20, "{} variants", variants.len());
    for text in variants {
        let env = |name: &str| {
            let known = [
                "SUPERVISOR_TOKEN",
                "PING_KEY",
                "SUPABASE_URL",
                "SUPABASE_SERVICE_ROLE_KEY",
            ];
            known
                .contains(&name)
                .then(|| "open-sesame-open-sesame".to_owned())
                .or_else(|| secrets_of_sinks(name))
        };
        if let Err(errors) = parse(&file, &text, &env) {
            panic!("{}", errors.render(false, 120));
        }
    }
}

#[test]
fn every_key_that_a_reader_knows_stands_in_the_reference_and_no_other() {
    let sink = Sink::new("reference.toml", REFERENCE, Path::new("/etc/x"));
    let root = DeTable::parse(REFERENCE).unwrap();
    let mut table = Table::root(&sink, root.get_ref());
    settings(Path::new("reference.toml"), &mut table, &|_| None);
    drop(table);
    let written: BTreeSet<String> = every_key().into_iter().collect();
    let known = sink.known_keys();
    let unwritten: Vec<_> = known.difference(&written).collect();
    let unknown: Vec<_> = written.difference(&known).collect();
    assert!(
        unwritten.is_empty(),
        "not in docs/reference.toml: {unwritten:?}"
    );
    assert!(unknown.is_empty(), "known to no reader: {unknown:?}");
    assert!(known.len() > 70, "{} keys", known.len());
}

#[test]
fn the_values_of_the_reference_are_the_defaults() {
    let reference = good(REFERENCE);
    let defaults = good("");
    assert_eq!(reference.supervisor.listen, defaults.supervisor.listen);
    assert_eq!(reference.supervisor.data_dir, defaults.supervisor.data_dir);
    assert_eq!(reference.supervisor.on_exit, defaults.supervisor.on_exit);
    assert_eq!(
        reference.supervisor.shutdown_timeout,
        defaults.supervisor.shutdown_timeout
    );
    assert_eq!(reference.log, defaults.log);

    let spec = |settings: &Settings, name: &str| {
        let found = settings.services.iter().find(|s| s.name.as_str() == name);
        found.cloned().unwrap()
    };
    // Nudges and probes have no default, and the reference gives one.
    let plain = "[services.worker]\ncommand = 'x'\ninterval = 30\nnudge = { signal = 'USR1' }\n\
                 probe = { tcp = 'x:1' }";
    let (given, plain) = (spec(&reference, "worker"), service(plain));
    assert_eq!(given.policy, plain.policy);
    let (given, plain) = (given.process.unwrap(), plain.process.unwrap());
    assert_eq!(given.stop_signal, plain.stop_signal);
    assert_eq!(given.log_max_size, plain.log_max_size);
    assert_eq!(given.log_keep, plain.log_keep);
    assert_eq!(given.cwd, plain.cwd);
}
