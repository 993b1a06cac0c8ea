//! The environment of what we start: clean, with nothing of ours that nobody asked for.

use std::env;

use nix::unistd::{Uid, User};

use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;

/// Where programs are looked for if our own environment says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What all have in common: taken from our own environment once, since a look-up of our user
/// has no place in a replacement.
#[derive(Debug, Clone)]
pub(crate) struct Usual {
    /// `PATH`, `HOME`, `USER`, `LANG`, `TZ`.
    variables: Variables,
    url: String,
}

/// Variables, each name once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(Vec<(String, String)>);

/// As whom somebody runs, where that is not us.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Identity<'a> {
    /// What USER says.
    pub(crate) name: Option<&'a str>,
    /// What HOME says.
    pub(crate) home: Option<&'a str>,
}

/// A name in `env` that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no name for a variable in `env`")]
pub(crate) struct BadName(String);

// === impl Usual ===

impl Usual {
    /// Reads our environment; `url` is our address.
    pub(crate) fn new(url: String) -> Self {
        let mut variables = Variables::default();
        variables.set("PATH", DEFAULT_PATH.to_owned());
        if let Ok(Some(own)) = User::from_uid(Uid::effective()) {
            variables.set("HOME", own.dir.display().to_string());
            variables.set("USER", own.name);
        }
        variables.pass(["PATH", "HOME", "USER", "LANG", "TZ"]);
        Self { variables, url }
    }

    /// What a service's process and its owner's commands have in common: the usual, what its
    /// owner passes on or sets, its own name and our address. `process` is how it runs, where
    /// we run it.
    ///
    /// # Errors
    /// Where `env` holds a name that is none.
    pub(crate) fn of(
        &self,
        service: &ServiceName,
        process: Option<&ProcessSpec>,
        who: Identity<'_>,
    ) -> Result<Variables, BadName> {
        let mut all = self.variables.clone();
        if let Some(home) = who.home {
            all.set("HOME", home.to_owned());
        }
        if let Some(name) = who.name {
            all.set("USER", name.to_owned());
        }
        if let Some(process) = process {
            all.pass(process.pass_env.iter().map(String::as_str));
            for (name, value) in &process.env {
                if name.is_empty() || name.contains('=') {
                    return Err(BadName(name.clone()));
                }
                all.set(name, value.clone());
            }
        }
        // Last: a service's own name and our address are not for `env` to change.
        all.set("SUPERVISOR_SERVICE", service.to_string());
        all.set("SUPERVISOR_URL", self.url.clone());
        Ok(all)
    }
}

// === impl Variables ===

impl Variables {
    /// Sets one, instead of an earlier one of the same name.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Sets those that our own environment has.
    pub(crate) fn pass<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if let Ok(value) = env::var(name) {
                self.set(name, value);
            }
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}
