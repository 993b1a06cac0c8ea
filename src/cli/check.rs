//! `check`, also `--validate`: what is wrong with the configuration, or what it comes to.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::CheckArgs;
use super::exit::{CliError, Exit, conclude};
use super::output::{put, put_json, put_message};
use crate::config::{self, ConfigErrors, Settings};

/// Carries out `check`: runs nothing, makes nothing.
pub(crate) fn check(args: &CheckArgs) -> ExitCode {
    let settings = config::load(&args.config, &|name| std::env::var(name).ok());
    conclude(report(args, settings).map_err(CliError::from))
}

/// With `--json` an object on stdout; for people what is well on stdout, mistakes on stderr.
fn report(args: &CheckArgs, settings: Result<Settings, ConfigErrors>) -> io::Result<Exit> {
    match settings {
        Ok(settings) => {
            if args.json {
                put_json(&well(&args.config, &settings).to_string())?;
            } else {
                put(&config::check_report(&settings))?;
            }
            Ok(Exit::Fine)
        }
        Err(mistakes) => {
            if args.json {
                put_json(&wrong(&mistakes).to_string())?;
            } else {
                put_message(&mistakes.render_for_stderr(args.no_color));
            }
            Ok(Exit::BadConfiguration)
        }
    }
}

fn well(file: &Path, settings: &Settings) -> Value {
    let names: Vec<&str> = settings
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    json!({ "file": file.display().to_string(), "valid": true, "services": names, "mistakes": [] })
}

fn wrong(mistakes: &ConfigErrors) -> Value {
    let mut object = mistakes.to_json();
    object["valid"] = false.into();
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (Value, Exit) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("supervisor.toml");
        std::fs::write(&file, text).unwrap();
        let args = CheckArgs {
            config: file.clone(),
            json: true,
            no_color: true,
        };
        let settings = config::load(&file, &|_| None);
        let object = match &settings {
            Ok(settings) => well(&file, settings),
            Err(mistakes) => wrong(mistakes),
        };
        (object, report(&args, settings).unwrap())
    }

    #[test]
    fn programs_get_every_mistake_with_its_place() {
        let (object, exit) = checked("[services.a]\ncommand = 'x'\ninterwal = 3\nnice = 'much'\n");
        assert_eq!(exit, Exit::BadConfiguration);
        assert_eq!(object["valid"], false);
        let lines: Vec<_> = object["mistakes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mistake| mistake["line"].as_u64())
            .collect();
        assert_eq!(lines, [Some(3), Some(4)]);
        assert!(object["mistakes"][0]["message"].is_string());
    }

    #[test]
    fn a_valid_one_names_its_services() {
        let (object, exit) = checked("[services.a]\ncommand = ['sleep', '1']\n");
        assert_eq!(exit, Exit::Fine);
        assert_eq!(object["valid"], true);
        assert_eq!(object["services"], json!(["a"]));
    }
}
