//! Secrets: from the environment, or from a file that only its owner reads; never from the
//! configuration itself.

use std::os::unix::fs::MetadataExt;

use super::reader::{Table, Taken};
use super::value::Value;

/// What the environment holds under the name that stands there.
pub(super) fn of_env(
    value: &Value<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    example: &str,
    help: &str,
) -> Option<String> {
    let name = value.need_some_text(example)?;
    match env(name) {
        Some(secret) => Some(secret.trim().to_owned()),
        None => value.wrong(
            format!("names {name}, which the environment does not have"),
            help,
        ),
    }
}

/// What the file holds whose path stands there.
pub(super) fn of_file(value: &Value<'_>, example: &str) -> Option<String> {
    const RIGHT: &str = "a file that holds the secret alone";
    let name = value.need_some_text(example)?;
    let path = value.sink.path(name);
    let unreadable = |error: std::io::Error, help: &str| {
        value.wrong(format!("cannot be read: {}: {error}", path.display()), help)
    };
    let meta = match std::fs::metadata(&path) {
        Ok(meta) => meta,
        Err(error) => return unreadable(error, "the path is relative to this file"),
    };
    let mode = meta.mode() & 0o777;
    if !meta.is_file() {
        return value.wrong("is no file", RIGHT);
    }
    if mode & 0o077 != 0 {
        return value.wrong(
            format!("has mode {mode:04o}: others than its owner may use it"),
            format!("chmod 600 {}", path.display()),
        );
    }
    match std::fs::read_to_string(&path) {
        Ok(secret) => Some(secret.trim().to_owned()),
        Err(error) => unreadable(error, RIGHT),
    }
}

/// A secret by one of two keys, and refused by a third that would hold it in the open.
pub(super) fn take(
    table: &mut Table<'_>,
    (open, by_env, by_file): (&'static str, &'static str, &'static str),
    env: &dyn Fn(&str) -> Option<String>,
    example: &str,
) -> Taken<String> {
    table.refuse_secret(
        open,
        &format!("put it into an environment variable and name that: {by_env} = {example}; or into a file of mode 0600: {by_file}"),
    );
    let help = "set it before the supervisor starts";
    let from_env = table.take(by_env, |v| filled(v, of_env(v, env, example, help)?));
    let from_file = table.take(by_file, |v| filled(v, of_file(v, "\"secret\"")?));
    table.not_both((by_env, &from_env), (by_file, &from_file));
    from_env.or_take(from_file)
}

fn filled(value: &Value<'_>, secret: String) -> Option<String> {
    if secret.is_empty() {
        return value.wrong("leads to an empty secret", "is it set?");
    }
    Some(secret)
}
