//! Checks JSON against schemas, as far as those under `tests/fixtures/schemas` go. A keyword that
//! is not known here is an error: what is not checked must not look checked.

use serde_json::Value;

/// What is wrong with a value, a line each.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(schema, value, "$", &mut faults);
    faults
}

/// The schema of that name.
pub fn load(name: &str) -> Value {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schemas");
    let text = std::fs::read_to_string(format!("{root}/{name}.json")).expect("a schema");
    serde_json::from_str(&text).expect("JSON")
}

fn check(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let mut say = |what: String| faults.push(format!("{at}: {what}"));
    let number = |key: &str| schema[key].as_u64().expect("a number");
    let length = value.as_str().map(|text| text.chars().count() as u64);
    let items = value.as_array().map(|items| items.len() as u64);
    let keywords = schema.as_object().expect("a schema");
    for (keyword, wanted) in keywords {
        let good = match keyword.as_str() {
            "$comment" | "properties" | "additionalProperties" | "items" => true,
            "type" => match wanted.as_str().expect("a type") {
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "boolean" => value.is_boolean(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("type {other}"),
            },
            "enum" => wanted.as_array().expect("a list").contains(value),
            "minLength" => length.is_none_or(|length| length >= number(keyword)),
            "maxLength" => length.is_none_or(|length| length <= number(keyword)),
            "minItems" => items.is_none_or(|items| items >= number(keyword)),
            "maxItems" => items.is_none_or(|items| items <= number(keyword)),
            "minimum" => value.as_u64().is_none_or(|n| n >= number(keyword)),
            "maximum" => value.as_u64().is_none_or(|n| n <= number(keyword)),
            "format" => value.as_str().is_none_or(|text| {
                assert_eq!(wanted, "date-time");
                humantime::parse_rfc3339(text).is_ok()
            }),
            "required" => {
                let names = wanted.as_array().expect("a list");
                names
                    .iter()
                    .all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            other => panic!("the schema says {other}, which nobody checks"),
        };
        if !good {
            say(format!("{keyword} {wanted} does not hold for {value}"));
        }
    }
    if let Some(object) = value.as_object() {
        for (key, inner) in object {
            let place = format!("{at}.{key}");
            match (
                schema["properties"].get(key),
                &schema["additionalProperties"],
            ) {
                (Some(known), _) => check(known, inner, &place, faults),
                (None, Value::Bool(false)) => {
                    faults.push(format!("{place}: there is no such field"));
                }
                (None, Value::Null) => {}
                (None, others) => check(others, inner, &place, faults),
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (n, item) in items.iter().enumerate() {
            check(schema, item, &format!("{at}[{n}]"), faults);
        }
    }
}

#[test]
fn a_schema_finds_what_is_wrong() {
    let schema = load("pagerduty");
    let good = serde_json::json!({"routing_key": "k", "event_action": "resolve", "dedup_key": "d"});
    assert_eq!(faults(&schema, &good), [""; 0]);
    for (bad, what) in [
        (
            serde_json::json!({"routing_key": "k", "event_action": "resolve"}),
            "required",
        ),
        (
            serde_json::json!({"routing_key": "k", "event_action": "close", "dedup_key": "d"}),
            "enum",
        ),
        (
            serde_json::json!({"routing_key": "k", "event_action": "resolve", "dedup_key": "d".repeat(256)}),
            "maxLength",
        ),
        (
            serde_json::json!({"routing_key": "k", "event_action": "resolve", "dedup_key": "d", "x": 1}),
            "no such field",
        ),
        (
            serde_json::json!({"routing_key": "k", "event_action": "resolve", "dedup_key": "d", "payload": {"summary": "s", "source": "h", "severity": "info", "timestamp": "now"}}),
            "format",
        ),
    ] {
        let faults = faults(&schema, &bad);
        assert!(
            faults.iter().any(|fault| fault.contains(what)),
            "{what}: {faults:?}"
        );
    }
}
