//! The present address of an actor that can be rebuilt.

use std::sync::{Arc, PoisonError, RwLock};

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Actor, Addr, Handler, Message};

/// Points to where an actor is now. A rebuilt actor has another address; whoever holds a link
/// never notices. The address is shared, not cloned: every clone of an `Addr` would add one
/// to its mailbox's capacity.
pub(crate) struct Link<A: Actor>(Arc<Address<A>>);

/// The same, owned by one holder who is shared himself.
pub(crate) struct Address<A: Actor>(RwLock<Option<Addr<A>>>);

/// Why a message was not taken, and the message.
pub(crate) enum Refused<M> {
    /// The mailbox is full.
    Full(M),
    /// The actor is being rebuilt, or has ended.
    Closed(M),
}

// === impl Link ===

impl<A: Actor> Link<A> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Address::new()))
    }
}

impl<A: Actor> Clone for Link<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor> std::ops::Deref for Link<A> {
    type Target = Address<A>;

    fn deref(&self) -> &Address<A> {
        &self.0
    }
}

// === impl Address ===

impl<A: Actor> Address<A> {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(None))
    }

    /// From now on it points there.
    pub(crate) fn set(&self, address: Addr<A>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// The present address, for requests that wait for an answer.
    pub(crate) fn get(&self) -> Option<Addr<A>> {
        self.with(Addr::clone)
    }

    /// Whether an actor listens there now.
    pub(crate) fn is_connected(&self) -> bool {
        self.with(Addr::connected) == Some(true)
    }

    /// Sends what comes from outside: bounded by the mailbox.
    pub(crate) fn try_send<M>(&self, message: M) -> Result<(), Refused<M>>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let guard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &*guard {
            Some(address) => address.try_send(message).map_err(|error| match error {
                SendError::Full(message) => Refused::Full(message),
                SendError::Closed(message) => Refused::Closed(message),
            }),
            None => Err(Refused::Closed(message)),
        }
    }

    /// Sends past the mailbox's bound: only for what is bounded by construction, which each
    /// caller says. `false` if nobody listens.
    pub(crate) fn tell<M>(&self, message: M) -> bool
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        self.with(|address| {
            let listens = address.connected();
            address.do_send(message);
            listens
        }) == Some(true)
    }

    fn with<R>(&self, use_it: impl FnOnce(&Addr<A>) -> R) -> Option<R> {
        let guard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map(use_it)
    }
}
