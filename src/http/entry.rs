//! Every request comes in here: addressed to us? known? allowed? Then its handler.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};

use super::api::Api;
use super::problem::Problem;
use super::routes::Route;
use super::{events, guard, health, logs, pulse, services};

/// The one service of the App: see [`super::routes`] for why actix-web does not route.
pub(super) async fn entry(
    api: web::Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    match dispatch(&api, &request, payload).await {
        Ok(response) => response,
        Err(problem) => problem.into(),
    }
}

async fn dispatch(
    api: &Api,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    guard::addressed(&api.door, request)?;
    let route = Route::parse(request.path())?;
    if !answers(&route, request.method()) {
        return Err(Problem::method(route.allow()));
    }
    guard::permit(api, request, route.access())?;
    let payload = payload.into_inner();
    match route {
        Route::Pulse(name) => pulse::pulse(api, &name, request, payload).await,
        Route::Error(name) => pulse::error(api, &name, request, payload).await,
        Route::HealthStatus => health::status(api).await,
        Route::HealthService(name) => health::service(api, &name).await,
        Route::Services => services::list(api).await,
        Route::Service(name) => services::one(api, &name).await,
        Route::Control(name, verb) => services::control(api, &name, verb, request, payload).await,
        Route::Events => events::list(api, request.query_string()).await,
        Route::Logs(name) => logs::show(api, &name, request).await,
        Route::Alive => health::alive(api),
        Route::Ready => health::ready(api),
    }
}

/// Whether a route answers to a method. HEAD is a GET whose body actix-web leaves out.
fn answers(route: &Route<'_>, method: &Method) -> bool {
    let method = method.as_str();
    route.allow().split(", ").any(|allowed| allowed == method)
}
