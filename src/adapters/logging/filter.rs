//! Which records are logged: `info,probe=debug`.

use slog::{Drain, Level, Never, OwnedKVList, Record};

use crate::config::LogFilter;

/// The least severe levels that are logged. A module's name is one or more successive parts of
/// a path: `probe`, `actix_http::h1`.
pub(super) struct Levels(pub(super) LogFilter);

/// What tells at `info` what only their own developers want to know.
const CHATTY: [&str; 3] = ["actix", "mio", "awc"];

/// What calls every malformed request an error: anybody who reaches the port could fill the
/// log with it. Naming the module shows it.
const OUTSIDERS: &str = "actix_http";

/// What warns of each watched directory that somebody deletes.
const WATCHER: &str = "notify";

impl Levels {
    /// The level of a module: that of the longest name that fits, the later of equals.
    fn of(&self, module: &str) -> Level {
        let named = self
            .0
            .modules
            .iter()
            .filter(|(name, _)| is_part_of(name, module))
            .max_by_key(|(name, _)| name.len());
        match named {
            Some((_, level)) => *level,
            None if module.starts_with(OUTSIDERS) => Level::Critical,
            None if module.starts_with(WATCHER) => self.0.default.min(Level::Error),
            None if CHATTY.iter().any(|chatty| module.starts_with(chatty)) => {
                one_less(self.0.default)
            }
            None => self.0.default,
        }
    }

    fn most_verbose(&self) -> Level {
        let modules = self.0.modules.iter().map(|(_, level)| *level);
        modules.fold(self.0.default, std::cmp::max)
    }

    /// What the `log` crate need not even format.
    pub(super) fn most_verbose_of_log_crate(&self) -> log::Level {
        match self.most_verbose() {
            Level::Critical | Level::Error => log::Level::Error,
            Level::Warning => log::Level::Warn,
            Level::Info => log::Level::Info,
            Level::Debug => log::Level::Debug,
            Level::Trace => log::Level::Trace,
        }
    }
}

/// One step more severe, for those below warning.
fn one_less(level: Level) -> Level {
    match level {
        Level::Critical => Level::Critical,
        Level::Error => Level::Error,
        Level::Warning | Level::Info => Level::Warning,
        Level::Debug => Level::Info,
        Level::Trace => Level::Debug,
    }
}

/// Whether `name` is the path or some whole parts of it. People may write crates as in
/// Cargo.toml, with hyphens.
fn is_part_of(name: &str, path: &str) -> bool {
    let fits = |name: &str| {
        path.match_indices(name).any(|(from, found)| {
            let (before, after) = (&path[..from], &path[from + found.len()..]);
            (before.is_empty() || before.ends_with("::"))
                && (after.is_empty() || after.starts_with("::"))
        })
    };
    match name.contains('-') {
        true => fits(&name.replace('-', "_")),
        false => fits(name),
    }
}

/// Lets only those records through.
pub(super) struct Filtered<D> {
    levels: Levels,
    most_verbose: Level,
    to: D,
}

impl<D> Filtered<D> {
    pub(super) fn new(levels: Levels, to: D) -> Self {
        Self {
            most_verbose: levels.most_verbose(),
            levels,
            to,
        }
    }
}

impl<D: Drain<Ok = (), Err = Never>> Drain for Filtered<D> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        // Cheap first: most of what is not wanted is wanted of nobody.
        let level = record.level();
        if !level.is_at_least(self.most_verbose) {
            return Ok(());
        }
        // Records of the `log` crate say where they come from by their tag.
        let module = match record.tag() {
            "" => record.module(),
            tag => tag,
        };
        if level.is_at_least(self.levels.of(module)) {
            self.to.log(record, values)?;
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        level.is_at_least(self.most_verbose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(default: Level, modules: &[(&str, Level)]) -> Levels {
        Levels(LogFilter {
            default,
            modules: modules
                .iter()
                .map(|(name, level)| ((*name).to_owned(), *level))
                .collect(),
        })
    }

    #[test]
    fn a_module_not_named_has_the_default() {
        let levels = levels(Level::Info, &[("probe", Level::Debug)]);
        assert_eq!(levels.of("supervisor_actors::archive"), Level::Info);
        assert_eq!(levels.of("supervisor_actors::probes"), Level::Info);
        assert_eq!(levels.of("supervisor_actors::my_probe"), Level::Info);
    }

    #[test]
    fn a_name_means_every_module_that_has_it_as_a_part() {
        let levels = levels(
            Level::Info,
            &[
                ("probe", Level::Debug),
                ("supervisor_actors", Level::Warning),
                ("supervisor::http", Level::Trace),
            ],
        );
        assert_eq!(levels.of("probe"), Level::Debug);
        assert_eq!(levels.of("supervisor::probe::http"), Level::Debug);
        assert_eq!(levels.of("supervisor_actors"), Level::Warning);
        assert_eq!(levels.of("supervisor_actors::archive"), Level::Warning);
        assert_eq!(levels.of("supervisor::http::api"), Level::Trace);
        assert_eq!(levels.of("supervisor"), Level::Info);
    }

    #[test]
    fn the_longest_name_wins_and_of_equals_the_later() {
        let levels = levels(
            Level::Info,
            &[
                ("a::b", Level::Debug),
                ("a", Level::Error),
                ("c", Level::Error),
                ("c", Level::Trace),
            ],
        );
        assert_eq!(levels.of("a::b::d"), Level::Debug);
        assert_eq!(levels.of("a::d"), Level::Error);
        assert_eq!(levels.of("c"), Level::Trace);
    }

    #[test]
    fn a_crate_may_be_written_with_hyphens() {
        let levels = levels(Level::Info, &[("actix-http", Level::Trace)]);
        assert_eq!(levels.of("actix_http::h1"), Level::Trace);
    }

    #[test]
    fn actix_is_quieter_than_the_rest_unless_it_is_named() {
        assert_eq!(
            levels(Level::Info, &[]).of("actix_server::builder"),
            Level::Warning
        );
        assert_eq!(levels(Level::Debug, &[]).of("actix_server"), Level::Info);
        assert_eq!(levels(Level::Error, &[]).of("actix_server"), Level::Error);
        let named = levels(Level::Info, &[("actix_server", Level::Info)]);
        assert_eq!(named.of("actix_server::builder"), Level::Info);
    }

    #[test]
    fn deleted_directories_are_nothing_to_warn_of() {
        let module = "notify::inotify";
        assert_eq!(levels(Level::Info, &[]).of(module), Level::Error);
        assert_eq!(levels(Level::Critical, &[]).of(module), Level::Critical);
        let named = levels(Level::Info, &[("notify", Level::Warning)]);
        assert_eq!(named.of(module), Level::Warning);
    }

    #[test]
    fn what_outsiders_send_wrong_is_not_logged_unless_it_is_asked_for() {
        let quiet = levels(Level::Debug, &[]);
        assert_eq!(quiet.of("actix_http::h1::dispatcher"), Level::Critical);
        let named = levels(Level::Info, &[("actix_http", Level::Error)]);
        assert_eq!(named.of("actix_http::h1::dispatcher"), Level::Error);
    }

    #[test]
    fn the_log_crate_formats_what_somebody_wants() {
        let levels = levels(Level::Warning, &[("actix_http", Level::Debug)]);
        assert_eq!(levels.most_verbose_of_log_crate(), log::Level::Debug);
    }
}
