//! Every request comes in here: addressed to us? known? allowed? Then its handler.

use std::future::ready;
use std::rc::Rc;

use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::future::Either;

use super::api::Api;
use super::problem::Problem;
use super::routes::Route;
use super::{
    alerts, badge, configured, events, guard, health, history, logs, metrics, openapi, page, pings,
    pulse, register, runs, services, session, stream, sync, timeline, ws,
};

/// The one service of the App: see [`super::routes`] for why actix-web does not route.
///
/// A plain pulse, and whatever is refused at the door, is answered here and now, without a
/// future that would have to be as large as the largest handler's.
pub(super) fn entry(
    api: &Rc<Api>,
    incoming: ServiceRequest,
) -> impl Future<Output = Result<ServiceResponse, Error>> + use<> {
    let (request, payload) = incoming.into_parts();
    let answered = match admit(api, &request) {
        Ok(Route::Pulse(name)) if pulse::is_plain(&payload) => Some(pulse::plain(api, &name)),
        Ok(Route::Ping(call)) if pulse::is_plain(&payload) => {
            pings::plain(api, call, &request).map(Ok)
        }
        Ok(_) => None,
        Err(problem) => Some(Err(problem)),
    };
    match answered {
        Some(answer) => Either::Left(ready(Ok(respond(request, answer)))),
        None => {
            let api = Rc::clone(api);
            Either::Right(Box::pin(async move {
                let answer = dispatch(&api, &request, payload).await;
                Ok(respond(request, answer))
            }))
        }
    }
}

fn respond(request: HttpRequest, answer: Result<HttpResponse, Problem>) -> ServiceResponse {
    ServiceResponse::new(request, answer.unwrap_or_else(HttpResponse::from))
}

/// What is asked for, once it is clear that it may be.
fn admit<'a>(api: &Api, request: &'a HttpRequest) -> Result<Route<'a>, Problem> {
    guard::addressed(&api.door, request)?;
    let route = Route::parse(request.path())?;
    if !route.methods().hold(request.method()) {
        return Err(Problem::method(route.methods().allow()));
    }
    guard::permit(api, request, route.access(request.method()))?;
    Ok(route)
}

/// Hands an admitted request to its handler.
async fn dispatch(
    api: &Api,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    // Read a second time: a route borrows from its request, which had to move here.
    match Route::parse(request.path())? {
        Route::Pulse(name) => pulse::pulse(api, &name, request, payload).await,
        Route::Error(name) => pulse::error(api, &name, request, payload).await,
        Route::Ping(call) => Ok(pings::ping(api, call, request, payload).await),
        Route::Run(name) => runs::tell(api, &name, request, payload).await,
        Route::HealthStatus => health::status(api).await,
        Route::HealthService(name) => health::service(api, &name).await,
        Route::Services => services::list(api, request).await,
        Route::Service(name) => services::one(api, &name).await,
        Route::Config(name) => configured::show(api, &name).await,
        Route::Control(name, verb) => services::control(api, &name, verb, request, payload).await,
        Route::Register => register::register(api, request, payload).await,
        Route::Registered(name) => register::unregister(api, &name).await,
        Route::Alerts => alerts::list(api, request.query_string()).await,
        Route::Alert(id) => alerts::one(api, &id).await,
        Route::Acknowledge(id) => alerts::acknowledge(api, &id, request, payload).await,
        Route::TestSink => alerts::test(api, request, payload).await,
        Route::Silences => alerts::silences(api, request, payload).await,
        Route::Silence(id) => alerts::end_silence(api, &id).await,
        Route::Events => events::list(api, request.query_string()).await,
        Route::Runs(name) => runs::list(api, &name, request.query_string()).await,
        Route::RunOf(name, id) => runs::one(api, &name, &id).await,
        Route::History(name) if request.method() == Method::DELETE => {
            history::delete(api, &name, request).await
        }
        Route::History(name) => timeline::show(api, &name, request.query_string()).await,
        Route::Logs(name) => logs::show(api, &name, request).await,
        Route::Stream => stream::stream(api, request),
        Route::Socket => ws::socket(api, request, payload),
        Route::Sync => sync::show(api).await,
        Route::SyncCommand(verb) => sync::command(api, verb, request, payload).await,
        Route::Page => page::shell(request),
        Route::Asset(version, name) => page::asset(request, &version, &name),
        Route::SignIn if *request.method() == Method::POST => {
            session::sign_in(api, request, payload).await
        }
        Route::SignIn => page::shell(request),
        Route::SignOut => session::sign_out(api),
        Route::Session => session::show(api, request),
        Route::Invite => session::invite(api),
        Route::Metrics => metrics::show(api).await,
        Route::Badge(file) => badge::show(api, &file).await,
        Route::Described => Ok(openapi::show(request.headers()).await),
        Route::Alive => health::alive(api),
        Route::Ready => health::ready(api),
    }
}
