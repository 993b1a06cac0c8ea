//! The targets of the sync: where markdown is mirrored to. One file each.

pub(crate) mod dry;
pub(crate) mod sqlite;
pub(crate) mod supabase;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use supervisor_actors::ports::Clock;
use supervisor_actors::ports::tables::Tables;

use self::sqlite::SqliteTables;
use self::supabase::Supabase;
use self::supabase::project::{Project, ProjectError};
use crate::adapters::http_client::{HttpCalls, Trust};
use crate::config::Target;

/// The target that the configuration names. Nothing is opened or sent.
///
/// # Errors
/// Where the environment does not say where it is, or what it says makes no sense.
pub(crate) fn target(
    wanted: &Target,
    data_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    calls: &HttpCalls,
    clock: Arc<dyn Clock>,
) -> Result<Rc<dyn Tables>, ProjectError> {
    Ok(match wanted {
        Target::Sqlite => Rc::new(SqliteTables::new(data_dir, clock)),
        Target::Supabase {
            url,
            key,
            allow_http,
        } => {
            let project = Project::from_env(env, url, key, *allow_http)?;
            Rc::new(Supabase::new(project, calls.clone(), Trust::System, clock))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::clock::RealClock;

    fn described(
        wanted: &Target,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, ProjectError> {
        let clock = Arc::new(RealClock);
        target(wanted, Path::new("data"), env, &HttpCalls::default(), clock)
            .map(|tables| tables.describe())
    }

    #[actix_rt::test]
    async fn a_target_is_made_from_the_configuration_and_the_environment() {
        let nothing = |_: &str| None;
        assert_eq!(
            described(&Target::Sqlite, &nothing).as_deref(),
            Ok("sqlite data/tables.db")
        );
        let supabase = Target::Supabase {
            url: vec!["URL".to_owned()],
            key: vec!["KEY".to_owned()],
            allow_http: false,
        };
        let env = |name: &str| match name {
            "URL" => Some("https://x.supabase.co/".to_owned()),
            "KEY" => Some("hidden".to_owned()),
            _ => None,
        };
        assert_eq!(
            described(&supabase, &env).as_deref(),
            Ok("supabase https://x.supabase.co")
        );
        let error = described(&supabase, &nothing).unwrap_err();
        assert!(error.to_string().ends_with("set URL"), "{error}");
    }
}
