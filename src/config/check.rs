//! What a configuration comes to, for `supervisor check`.

use std::fmt::Write as _;

use jiff::Timestamp;
use supervisor_actors::ports::Clock as _;
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::ServiceName;
use supervisor_core::alert::Pattern;
use supervisor_core::level::Thresholds;
use supervisor_core::policy::{Ready, Restart, Watch};

use super::Settings;
use super::duration::{show, show_size};
use super::signals;
use super::supervisor::OnExit;
use crate::adapters::clock::RealClock;
use crate::maintenance::{Standing, Window};

/// A short summary for people: where things live, who is judged how.
#[must_use]
pub(crate) fn check_report(settings: &Settings) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = report(settings, &mut out);
    out
}

fn report(settings: &Settings, out: &mut String) -> std::fmt::Result {
    let Settings {
        file,
        supervisor,
        log,
        services,
        ..
    } = settings;
    let count = match services.len() {
        0 => "no services".to_owned(),
        1 => "1 service".to_owned(),
        n => format!("{n} services"),
    };
    writeln!(out, "{} is valid: {count}", file.display())?;
    writeln!(out, "  data     {}", supervisor.data_dir.display())?;
    match supervisor.listen {
        Some(address) => writeln!(out, "  listens  {address}, and the socket in data")?,
        None => writeln!(out, "  listens  on the socket in data alone")?,
    }
    // The rule against DNS rebinding lets a request in by the name that it asks for.
    if supervisor
        .listen
        .is_some_and(|address| address.ip().is_unspecified())
        && supervisor.allowed_hosts.is_empty()
    {
        writeln!(
            out,
            "           other machines are refused until allowed_hosts holds the names they use"
        )?;
    }
    writeln!(
        out,
        "  token    {}",
        match supervisor.token {
            Some(_) => "given",
            None => "generated in data",
        }
    )?;
    if let Some(file) = &log.file {
        let size = show_size(log.max_size);
        writeln!(
            out,
            "  log      {}, {size}, {} kept",
            file.display(),
            log.keep
        )?;
    }
    let end = match supervisor.on_exit {
        OnExit::Stop => format!("stops all within {}", show(supervisor.shutdown_timeout)),
        OnExit::Leave => "leaves the services running".to_owned(),
    };
    writeln!(out, "  on exit  {end}")?;
    for window in &settings.alerts.windows {
        writeln!(out, "  window   {}", describe_window(window, services))?;
    }
    let widest = services.iter().map(|s| s.name.as_str().len()).max();
    for service in services {
        let width = widest.unwrap_or(0);
        writeln!(
            out,
            "  {:width$}  {}",
            service.name.as_str(),
            describe(service)
        )?;
    }
    Ok(())
}

/// When a maintenance window opens next, and whom it covers.
fn describe_window(window: &Window, services: &[ServiceSpec]) -> String {
    let covers = |service: &&ServiceSpec| {
        window
            .services
            .iter()
            .any(|pattern| pattern.matches(&service.name))
    };
    let now = Timestamp::from_microsecond(RealClock.wall().0).unwrap_or(Timestamp::MAX);
    let when = match window.when.at(now) {
        Standing::Open(until) => format!("open until {until}"),
        Standing::Closed(Some(opens)) => format!("opens at {opens}"),
        Standing::Closed(None) => "is over".to_owned(),
    };
    match services.iter().filter(covers).count() {
        0 => format!(
            "{} {when}, but covers none of these services: {}",
            window.name,
            window
                .services
                .iter()
                .map(Pattern::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        count => format!(
            "{} {when}, covers {count} of {} services",
            window.name,
            services.len()
        ),
    }
}

/// One service in a line.
fn describe(service: &ServiceSpec) -> String {
    let policy = &service.policy;
    let mut parts = Vec::new();
    if !service.enabled {
        parts.push("disabled".to_owned());
    }
    let thresholds = ages(&policy.thresholds);
    match policy.watch {
        Watch::Alive => parts.push("alive while it runs".to_owned()),
        Watch::Pulsing | Watch::External if policy.on_demand => {
            parts.push("pulses on demand".to_owned());
        }
        Watch::Pulsing | Watch::External if policy.learns() => {
            let known = match policy.watch {
                Watch::External => "external, ",
                Watch::Pulsing | Watch::Alive => "",
            };
            parts.push(format!(
                "{known}its interval is learnt; until then critical at {}",
                show(policy.start_grace)
            ));
        }
        Watch::Pulsing => parts.push(format!(
            "pulses every {}; {thresholds}",
            show(policy.interval)
        )),
        Watch::External => parts.push(format!(
            "external, pulses every {}; {thresholds}",
            show(policy.interval)
        )),
    }
    if let Some(timeout) = policy.progress_timeout {
        parts.push(format!("its number moves within {}", show(timeout)));
    }
    if let Some(process) = &service.process {
        parts.push(match policy.restart {
            Restart::Always => "restarted whenever it ends".to_owned(),
            Restart::OnFailure => "restarted on failure".to_owned(),
            Restart::Never => "never restarted".to_owned(),
        });
        if policy.watch == Watch::Pulsing && policy.ready == Ready::Running {
            parts.push("ready when it runs".to_owned());
        }
        let usual = process.stop_signal == libc::SIGTERM;
        if !usual {
            parts.push(format!("stopped by {}", signals::name(process.stop_signal)));
        }
    }
    if !service.depends_on.is_empty() {
        let names: Vec<_> = service.depends_on.iter().map(ServiceName::as_str).collect();
        parts.push(format!("after {}", names.join(", ")));
    }
    if !policy.critical {
        parts.push("not critical".to_owned());
    }
    parts.join("; ")
}

fn ages(thresholds: &Thresholds) -> String {
    let mut ages = format!("warning at {}", show(thresholds.warning));
    if let Some(degraded) = thresholds.degraded {
        let _ = write!(ages, ", degraded at {}", show(degraded));
    }
    let _ = write!(ages, ", critical at {}", show(thresholds.critical));
    ages
}
