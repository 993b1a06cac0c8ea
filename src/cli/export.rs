//! `export`: the history of services, for other programs.

use serde::Deserialize;
use serde_json::{Map, Value};
use supervisor_core::ServiceName;

use super::Context;
use super::args::{ExportArgs, ExportFormat, Since};
use super::client::Call;
use super::exit::{CliError, Exit};
use super::output::put;

/// The columns of CSV, and where they stand in a point.
const COLUMNS: [(&str, &[&str]); 17] = [
    ("time", &["time"]),
    ("seconds", &["seconds"]),
    ("pulses", &["pulses"]),
    ("errors", &["errors"]),
    ("misses", &["misses"]),
    ("gap_count", &["gap", "count"]),
    ("gap_min", &["gap", "min"]),
    ("gap_mean", &["gap", "mean"]),
    ("gap_max", &["gap", "max"]),
    ("gap_p99", &["gap", "p99"]),
    ("healthy", &["levels", "healthy"]),
    ("warning", &["levels", "warning"]),
    ("degraded", &["levels", "degraded"]),
    ("critical", &["levels", "critical"]),
    ("unknown", &["levels", "unknown"]),
    ("uptime", &["uptime"]),
    ("service", &[]),
];

#[derive(Deserialize)]
struct Services {
    services: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: ServiceName,
}

#[derive(Deserialize)]
struct Page {
    points: Vec<Map<String, Value>>,
    next: Option<String>,
}

/// Carries out `export`.
pub(super) async fn run(context: &Context, args: &ExportArgs) -> Result<Exit, CliError> {
    let names = match &args.service {
        Some(name) => vec![name.clone()],
        None => {
            let call = Call::get("/api/services".to_owned());
            let (all, _): (Services, String) = context.client.read(call).await?;
            let names = all.services.into_iter().map(|service| service.name);
            names.filter(|name| !name.is_internal()).collect()
        }
    };
    if args.format == ExportFormat::Csv {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        put(&format!("{}\n", names.join(",")))?;
    }
    for name in names {
        let mut from = match args.since {
            Since::Ago(age) => format!("{}ms", age.as_millis()),
            Since::At(date) => date.rfc3339(),
        };
        loop {
            let step = args.step.as_secs();
            let path = format!("/api/history/{name}?from={from}&step={step}s");
            let (page, _): (Page, String) = context.client.read(Call::get(path)).await?;
            let mut text = String::new();
            for point in page.points {
                match args.format {
                    ExportFormat::Csv => text.push_str(&row(&name, &point)),
                    ExportFormat::Ndjson => text.push_str(&object(&name, point)),
                }
                text.push('\n');
            }
            put(&text)?;
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
    }
    Ok(Exit::Fine)
}

/// Nothing in it needs quotes: names, dates and numbers.
fn row(service: &ServiceName, point: &Map<String, Value>) -> String {
    let cell = |path: &[&str]| -> String {
        let Some((first, rest)) = path.split_first() else {
            return service.to_string();
        };
        let found = rest
            .iter()
            .fold(point.get(*first), |found, key| found?.get(key));
        match found {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    };
    let cells: Vec<String> = COLUMNS.iter().map(|(_, path)| cell(path)).collect();
    cells.join(",")
}

fn object(service: &ServiceName, mut point: Map<String, Value>) -> String {
    point.insert("service".to_owned(), service.as_str().into());
    Value::Object(point).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_row_and_what_is_not_there_an_empty_cell() {
        let point = serde_json::json!({"time": "2026-01-02T18:30:00Z", "seconds": 60.0,
            "pulses": 6, "errors": 0, "misses": 0, "gap": null,
            "levels": {"healthy": 59.5, "unknown": 0.5}, "uptime": 1.0, "metrics": {}});
        let Value::Object(point) = point else {
            panic!("an object")
        };
        let name = ServiceName::new("a").unwrap();
        assert_eq!(
            row(&name, &point),
            "2026-01-02T18:30:00Z,60.0,6,0,0,,,,,,59.5,,,,0.5,1.0,a"
        );
        let line = object(&name, point);
        assert!(
            line.contains(r#""service":"a""#) && line.contains(r#""pulses":6"#),
            "{line}"
        );
    }
}
