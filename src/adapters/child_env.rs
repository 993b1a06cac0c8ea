//! The environment of what we start: clean, with nothing of ours that nobody asked for.

use std::env;

use nix::unistd::{Uid, User};

use supervisor_actors::spec::ProcessSpec;
use supervisor_core::ServiceName;

/// Where programs are looked for if our own environment says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

impl Variables {
    /// What a service's process and its owner's commands have in common: `PATH`, `HOME`,
    /// `USER`, `LANG`, `TZ`, what its owner passes on or sets, its own name and our address.
    /// `process` is how it runs, where we run it.
    ///
    /// # Errors
    /// Where `env` holds a name that is none.
    pub(crate) fn of(
        service: &ServiceName,
        process: Option<&ProcessSpec>,
        who: Identity<'_>,
        url: &str,
    ) -> Result<Self, BadName> {
        let ours = |name: &str| env::var(name).ok();
        let mut all = Self::default();
        all.set(
            "PATH",
            ours("PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned()),
        );
        let own = || User::from_uid(Uid::effective()).ok().flatten();
        let home = who.home.map(str::to_owned).or_else(|| ours("HOME"));
        let user = who.name.map(str::to_owned).or_else(|| ours("USER"));
        if let Some(home) = home.or_else(|| own().map(|user| user.dir.display().to_string())) {
            all.set("HOME", home);
        }
        if let Some(user) = user.or_else(|| own().map(|user| user.name)) {
            all.set("USER", user);
        }
        let passed = process.map(|process| &*process.pass_env);
        let passed = passed.unwrap_or_default().iter().map(String::as_str);
        all.pass(["LANG", "TZ"].into_iter().chain(passed));
        for (name, value) in process.map(|process| &*process.env).unwrap_or_default() {
            if name.is_empty() || name.contains('=') {
                return Err(BadName(name.clone()));
            }
            all.set(name, value.clone());
        }
        // Last: a service's own name and our address are not for `env` to change.
        all.set("SUPERVISOR_SERVICE", service.to_string());
        all.set("SUPERVISOR_URL", url.to_owned());
        Ok(all)
    }

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
