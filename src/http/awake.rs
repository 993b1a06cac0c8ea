//! HTTP only while somebody is connected.
//!
//! actix-http wakes its thread twice a second for the date in its answers, whether it answers
//! or not: at rest the workers of an API that nobody asks would cost more than everything else
//! that we do. So each of them builds its service for the first connection and drops it after
//! the last; that costs a connection that finds nobody there a few microseconds.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use actix_http::error::DispatchError;
use actix_service::ServiceFactory;
use actix_service::boxed::{BoxService, service};

use super::connection::Connection;

/// A connection and who is on its other end.
pub(super) type Connected<S> = (Connection<S>, Option<SocketAddr>);

type Http<S> = BoxService<Connected<S>, (), DispatchError>;

/// The service of one worker, as long as a connection holds it.
pub(super) struct Awake<S>(RefCell<Weak<Http<S>>>);

impl<S: 'static> Awake<S> {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self(RefCell::default()))
    }

    /// Serves one connection to its end, by the service that serves others already or by a new
    /// one.
    ///
    /// # Errors
    /// Those of the connection; a service that cannot be built is one, too.
    pub(super) async fn serve<F>(
        self: Rc<Self>,
        connected: Connected<S>,
        http: impl FnOnce() -> F,
    ) -> Result<(), ()>
    where
        F: ServiceFactory<
                Connected<S>,
                Config = (),
                Response = (),
                Error = DispatchError,
                InitError = (),
            >,
        F::Service: 'static,
        <F::Service as actix_service::Service<Connected<S>>>::Future: 'static,
    {
        let awake = self.0.borrow().upgrade();
        let http = match awake {
            Some(http) => http,
            None => {
                let http = Rc::new(service(http().new_service(()).await?));
                *self.0.borrow_mut() = Rc::downgrade(&http);
                http
            }
        };
        poll_fn(|task| http.poll_ready(task)).await.map_err(drop)?;
        http.call(connected).await.map_err(drop)
    }
}
