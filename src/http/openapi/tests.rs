use std::collections::BTreeSet;

use serde_json::Value;

use super::calls::{CALLS, Call};
use super::*;
use crate::http::routes::{Methods, Route};

fn json() -> Value {
    serde_json::to_value(document()).expect("strings and numbers")
}

/// The path with something in each place.
fn example(call: &Call) -> String {
    let mut path = String::new();
    for part in call.path.split('{') {
        match part.split_once('}') {
            None => path.push_str(part),
            Some(("uuid" | "token", rest)) => {
                path.push_str("7c8e4f1a-9d1f-4c0a-8a3b-0d7d1ce0f001");
                path.push_str(rest);
            }
            Some(("action", rest)) => {
                path.push_str("start");
                path.push_str(rest);
            }
            Some(("file", rest)) => {
                path.push_str("7.svg");
                path.push_str(rest);
            }
            Some((_, rest)) => {
                path.push('7');
                path.push_str(rest);
            }
        }
    }
    path
}

#[test]
fn every_call_is_one_that_we_answer() {
    for call in CALLS {
        let path = example(call);
        let route = Route::parse(&path).unwrap_or_else(|_| panic!("{path} is no route"));
        let method = serde_json::to_value(&call.method).unwrap();
        let method = method.as_str().unwrap().to_uppercase();
        let method = actix_web::http::Method::from_bytes(method.as_bytes()).unwrap();
        assert!(route.methods().hold(&method), "{method} {path}");
    }
}

/// The path under which a route is described. It is total: whoever adds a route is asked.
fn described(route: &Route<'_>) -> Option<&'static str> {
    Some(match route {
        Route::Pulse(_) => "/api/pulse/{service}",
        Route::Error(_) => "/api/error/{service}",
        Route::Run(_) => "/api/run/{service}",
        Route::HealthStatus => "/api/health/status",
        Route::HealthService(_) => "/api/health/service/{service}",
        Route::Services => "/api/services",
        Route::Service(_) => "/api/services/{service}",
        Route::Control(..) => "/api/services/{service}/restart",
        Route::Config(_) => "/api/services/{service}/config",
        Route::Register => "/api/register",
        Route::Registered(_) => "/api/register/{tag}",
        Route::Alerts => "/api/alerts",
        Route::Alert(_) => "/api/alerts/{id}",
        Route::Acknowledge(_) => "/api/alerts/{id}/ack",
        Route::TestSink => "/api/alerts/test",
        Route::Silences => "/api/silences",
        Route::Silence(_) => "/api/silences/{id}",
        Route::Events => "/api/events",
        Route::Runs(_) => "/api/runs/{service}",
        Route::RunOf(..) => "/api/runs/{service}/{id}",
        Route::History(_) => "/api/history/{service}",
        Route::Logs(_) => "/api/logs/{service}",
        Route::Stream => "/api/stream",
        Route::Socket => "/api/ws",
        Route::Sync => "/api/sync",
        Route::SyncCommand(_) => "/api/sync/retry",
        Route::Metrics => "/metrics",
        Route::Badge(_) => "/badge/{file}",
        Route::Page => "/",
        Route::Session => "/api/session",
        Route::Invite => "/api/login",
        Route::Described => "/openapi.json",
        Route::Alive => "/healthz",
        Route::Ready => "/readyz",
        // A family of paths, of which the usual ones are described.
        Route::Ping(_) => return None,
        // The page's own.
        Route::Asset(..) | Route::SignIn | Route::SignOut => return None,
    })
}

#[test]
fn every_route_is_described_with_all_its_methods() {
    let json = json();
    for call in CALLS {
        let path = example(call);
        let route = Route::parse(&path).unwrap();
        let Some(named) = described(&route) else {
            continue;
        };
        let item = &json["paths"][named];
        let methods: &[&str] = match route.methods() {
            Methods::Post => &["post"],
            Methods::Delete => &["delete"],
            Methods::Get => &["get"],
            Methods::GetPost => &["get", "post"],
            Methods::GetDelete => &["get", "delete"],
            other => panic!("{named}: {other:?}"),
        };
        for method in methods {
            assert!(item[method].is_object(), "{method} {named}");
        }
    }
}

#[test]
fn whatever_is_referred_to_is_there_and_is_explained() {
    let json = json();
    let mut referred = BTreeSet::new();
    collect(&json, &mut referred);
    let schemas = json["components"]["schemas"].as_object().unwrap();
    for name in &referred {
        assert!(schemas.contains_key(name), "{name} is nowhere");
    }
    for (name, schema) in schemas {
        assert!(referred.contains(name), "nobody refers to {name}: {schema}");
    }
    let service = &schemas["Service"]["properties"];
    for key in ["name", "status", "state", "last_heartbeat"] {
        assert!(service[key].is_object(), "{key}: {service}");
    }
    assert_eq!(
        service["age"]["description"],
        "Seconds since its last sign of life."
    );
    assert_eq!(service["last_heartbeat"]["format"], "date-time");
}

fn collect(json: &Value, names: &mut BTreeSet<String>) {
    match json {
        Value::Object(object) => {
            if let Some(Value::String(name)) = object.get("$ref") {
                let (_, name) = name.rsplit_once('/').unwrap();
                names.insert(name.to_owned());
            }
            object.values().for_each(|value| collect(value, names));
        }
        Value::Array(array) => array.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}

#[test]
fn names_of_calls_are_unique() {
    let names: BTreeSet<&str> = CALLS.iter().map(|call| call.id).collect();
    assert_eq!(names.len(), CALLS.len());
}
