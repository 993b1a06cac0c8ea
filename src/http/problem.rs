//! What a refused or failed request is answered with: `application/problem+json` (RFC 9457).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal or a failure. The code is a word for programs, stable; the detail is a sentence
/// for people, and says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    header: Option<(HeaderName, String)>,
}

/// The body, member by member.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
}

impl Problem {
    /// Any other than those below.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            header: None,
        }
    }

    /// 400: the request itself is wrong.
    pub(super) fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 403, whatever token comes with it.
    pub(super) fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404 for a service.
    pub(super) fn unknown_service(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_service",
            format!("there is no service named {name:?}"),
        )
    }

    /// 503: it may work a little later.
    pub(super) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(1)
    }

    /// 401 with the challenge that it must carry.
    pub(super) fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, code, detail);
        problem.header = Some((
            header::WWW_AUTHENTICATE,
            "Bearer realm=\"supervisor\"".to_owned(),
        ));
        problem
    }

    /// 405 with the methods that it must name.
    pub(super) fn method(allow: &'static str) -> Self {
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this address answers to {allow}"),
        );
        problem.header = Some((header::ALLOW, allow.to_owned()));
        problem
    }

    /// The same, with how many seconds to wait.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.header = Some((header::RETRY_AFTER, seconds.to_string()));
        self
    }

    /// The same, with a header that it must carry.
    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.header = Some((name, value.to_owned()));
        self
    }

    /// The status that it is answered with.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The word for programs.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer with another body than the usual one: for those who would not read that.
    pub(super) fn into_response(self, content_type: &str, body: impl Into<String>) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, content_type));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(header) = self.header {
            response.insert_header(header);
        }
        response.body(body.into())
    }
}

impl From<Problem> for HttpResponse {
    fn from(problem: Problem) -> Self {
        let body = Body {
            r#type: "about:blank",
            title: problem.status.canonical_reason().unwrap_or("Error"),
            status: problem.status.as_u16(),
            detail: &problem.detail,
            code: problem.code,
        };
        let body = serde_json::to_string(&body).expect("strings and numbers are always valid JSON");
        problem.into_response("application/problem+json", body)
    }
}
