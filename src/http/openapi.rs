//! `GET /openapi.json`: every call, described for programs (OpenAPI 3.1).
//!
//! What goes in and out is described by the types themselves, with the words of their
//! documentation; the calls are the table in [`calls`]. It is written when somebody asks.

mod calls;

use actix_web::HttpResponse;
use actix_web::http::header::HeaderMap;
use utoipa::openapi::path::{
    OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Required,
    ResponseBuilder, Schema,
};
use utoipa::{OpenApi as _, PartialSchema, ToSchema};

use super::body::Span;
use super::register::Every;
use super::{
    alerts, events, health, history, packed, problem, pulse, register, runs, services, session,
    sync, timeline,
};
use calls::{CALLS, Call, Form, Kind, Needs, Takes};

/// The token in `Authorization: Bearer`.
const TOKEN: &str = "token";

/// All that goes in and out; what they hold is found through them.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    alerts::AckBody,
    alerts::Page,
    alerts::ShownSilence,
    alerts::SilenceBody,
    alerts::Silences,
    alerts::TestBody,
    alerts::Whole,
    events::Page,
    health::One,
    health::Status,
    history::Deleted,
    problem::Body,
    pulse::ErrorBody,
    pulse::PulseBody,
    register::Body,
    register::List,
    register::Shown,
    runs::Page,
    runs::RunBody,
    services::List,
    services::PauseBody,
    session::Invitation,
    session::Present,
    supervisor_actors::ports::RunRow,
    supervisor_core::View,
    sync::Body,
    sync::Shown,
    timeline::Page,
)))]
struct Types;

/// `GET /openapi.json`.
pub(super) async fn show(asked: &HeaderMap) -> HttpResponse {
    packed::json(&document(), asked).await
}

fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    // Calls of one path stand beside each other.
    for group in CALLS.chunk_by(|a, b| a.path == b.path) {
        let mut item = PathItem::default();
        for call in group {
            item.merge_operations(PathItem::new(call.method.clone(), operation(call)));
        }
        paths = paths.path(group[0].path, item);
    }
    let mut components = Types::openapi().components.unwrap_or_default();
    components.add_security_scheme(
        TOKEN,
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("supervisor")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Keeps long-running services alive by listening to their heartbeats. Seconds \
                     are numbers, dates are RFC 3339 in UTC, absent values are null. More fields \
                     may be added to any answer.",
                )),
        )
        .paths(paths)
        .components(Some(components))
        .build()
}

fn operation(call: &Call) -> OperationBuilder {
    let named = call.path.split('{').skip(1).filter_map(|part| {
        let (name, _) = part.split_once('}')?;
        Some(in_path(name))
    });
    let asked = call.query.iter().map(|(name, says, form)| {
        ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Query)
            .description(Some(*says))
            .schema(Some(schema_of(*form)))
            .build()
    });
    let mut operation = OperationBuilder::new()
        .operation_id(Some(call.id))
        .tag(call.group)
        .summary(Some(call.says))
        .parameters(Some(named.chain(asked)))
        .request_body(takes(call.takes));
    for (status, says, kind) in call.gives {
        let answer = ResponseBuilder::new().description(*says);
        let answer = match content(*kind) {
            Some((media, schema)) => {
                answer.content(media, ContentBuilder::new().schema(schema).build())
            }
            None => answer,
        };
        operation = operation.response(status.to_string(), answer);
    }
    operation = operation.response("default", refusal(call));
    match call.needs {
        Needs::Nothing => operation,
        // On loopback it is not needed.
        Needs::TokenElsewhere => operation
            .security(SecurityRequirement::default())
            .security(SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])),
        Needs::Token => {
            operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, []))
        }
    }
}

/// Clients of other monitors know other refusals than ours.
fn refusal(call: &Call) -> ResponseBuilder {
    let answer = ResponseBuilder::new().description("Refused or failed, and why.");
    let problem = Some(Ref::from_schema_name(problem::Body::name()));
    let problem = ContentBuilder::new().schema(problem).build();
    let answer = answer.content("application/problem+json", problem);
    if call.group != calls::PINGS {
        return answer;
    }
    let text = ContentBuilder::new().schema(Some(text())).build();
    let json = ContentBuilder::new()
        .schema(Some(ObjectBuilder::new()))
        .build();
    answer
        .content("text/plain", text)
        .content("application/json", json)
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn schema_of(form: Form) -> ObjectBuilder {
    match form {
        Form::Text => text(),
        Form::Number(least, most) => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(least))
            .maximum(Some(most)),
        Form::Word(words) => text().enum_values(Some(words.iter().copied())),
    }
}

fn in_path(name: &str) -> Parameter {
    let schema = match name {
        "service" | "tag" => supervisor_core::ServiceName::schema(),
        "id" => ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .into(),
        _ => text().into(),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn takes(takes: Takes) -> Option<utoipa::openapi::request_body::RequestBody> {
    let (media, schema, required): (_, RefOr<Schema>, _) = match takes {
        Takes::Nothing => return None,
        Takes::Maybe(name) => (
            "application/json",
            Ref::from_schema_name(name).into(),
            Required::False,
        ),
        Takes::Json(name) => (
            "application/json",
            Ref::from_schema_name(name).into(),
            Required::True,
        ),
        Takes::Text => ("text/plain", text().into(), Required::False),
    };
    Some(
        RequestBodyBuilder::new()
            .content(media, ContentBuilder::new().schema(Some(schema)).build())
            .required(Some(required))
            .build(),
    )
}

fn content(kind: Kind) -> Option<(&'static str, Option<RefOr<Schema>>)> {
    let text = || Some(text().into());
    Some(match kind {
        Kind::Nothing => return None,
        Kind::Json(name) => ("application/json", Some(Ref::from_schema_name(name).into())),
        Kind::AnyJson => ("application/json", Some(ObjectBuilder::new().into())),
        Kind::Text => ("text/plain", text()),
        Kind::Html => ("text/html", text()),
        Kind::Svg => ("image/svg+xml", text()),
        Kind::Events => ("text/event-stream", text()),
    })
}

impl PartialSchema for Span {
    fn schema() -> RefOr<Schema> {
        let text = text().description(Some("such as `1m 30s`"));
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Number)
            .description(Some("seconds"))
            .minimum(Some(0.0));
        OneOfBuilder::new().item(text).item(seconds).into()
    }
}

impl PartialSchema for Every {
    fn schema() -> RefOr<Schema> {
        let auto = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["auto"]))
            .description(Some("learnt from how it pulses"));
        let text = text().description(Some("such as `1m 30s`"));
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Number)
            .description(Some("seconds"))
            .minimum(Some(0.0));
        // The word is a text, too.
        AnyOfBuilder::new()
            .item(auto)
            .item(text)
            .item(seconds)
            .into()
    }
}

impl ToSchema for Every {
    fn name() -> std::borrow::Cow<'static, str> {
        "Interval".into()
    }
}

impl ToSchema for Span {
    fn name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
}

#[cfg(test)]
mod tests;
