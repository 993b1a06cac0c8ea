//! Who depends on whom: unknown names and cycles, each pointed at where it is written.

use supervisor_core::ServiceName;
use supervisor_core::dependency::{Dependencies, DependencyError};

use super::errors::Span;
use super::reader::Sink;
use super::service::Placed;
use super::value::suggest;

/// Says what is wrong with the dependencies of all services.
pub(super) fn check(services: &[Placed], sink: &Sink) {
    for service in services {
        for (at, (name, span)) in service.depends_on.iter().enumerate() {
            if service.depends_on[..at]
                .iter()
                .any(|(other, _)| other == name)
            {
                let message = format!("{} depends on {name} twice", service.name);
                sink.say(
                    sink.at(span.clone(), "named before", message)
                        .help("name it once"),
                );
            }
        }
    }
    let graph: Vec<_> = services
        .iter()
        .map(|service| {
            let needs = service.depends_on.iter().map(|(name, _)| name.clone());
            (service.name.clone(), needs.collect())
        })
        .collect();
    let Err(errors) = Dependencies::new(&graph) else {
        return;
    };
    for error in errors {
        let message = error.to_string();
        match error {
            DependencyError::Unknown { service, unknown } => {
                let names = services.iter().map(|placed| placed.name.as_str());
                let names = names.filter(|name| *name != service.as_str());
                let (label, help) = match suggest(unknown.as_str(), names) {
                    Some(best) => (
                        format!("did you mean \"{best}\"?"),
                        "a dependency is the name of another service of this file".to_owned(),
                    ),
                    None => (
                        "no such service".to_owned(),
                        format!("add [services.{unknown}], or take it out of `depends_on`"),
                    ),
                };
                let span = edge(services, &service, &unknown);
                sink.say(sink.at(span, label, message).help(help));
            }
            DependencyError::Itself(name) => {
                let span = edge(services, &name, &name);
                let help = "take it out of `depends_on`";
                sink.say(sink.at(span, "itself", message).help(help));
            }
            DependencyError::Cycle(cycle) => {
                let after = cycle.iter().skip(1).chain(cycle.first());
                let mut edges = cycle.iter().zip(after).map(|(from, to)| {
                    let label = format!("{from} waits for {to}");
                    (edge(services, from, to), label)
                });
                let Some((span, label)) = edges.next() else {
                    continue;
                };
                let mut mistake = sink
                    .at(span, label, message)
                    .help("none of them could ever start: break the cycle");
                for (span, label) in edges {
                    mistake = mistake.also(span, label);
                }
                sink.say(mistake);
            }
        }
    }
}

/// Where it is written that a service depends on another.
fn edge(services: &[Placed], from: &ServiceName, to: &ServiceName) -> Span {
    services
        .iter()
        .find(|placed| placed.name == *from)
        .and_then(|placed| placed.depends_on.iter().find(|(name, _)| name == to))
        .map(|(_, span)| span.clone())
        .unwrap_or_default()
}
