//! A target that takes nothing and says that it did: for a look at what would be done.

use std::rc::Rc;

use futures_util::future::{FutureExt as _, ready};

use supervisor_actors::ports::tables::{Appetite, Held, Tables, Taken};
use supervisor_core::Timestamp;
use supervisor_core::sync::{Row, Table};

/// Stands in for a target, which is never asked for anything.
pub(crate) struct DryTables(Rc<dyn Tables>);

impl DryTables {
    pub(crate) fn new(of: Rc<dyn Tables>) -> Self {
        Self(of)
    }
}

fn done<'a, T: 'a>(answer: T) -> Taken<'a, T> {
    ready(Ok(answer)).boxed_local()
}

impl Tables for DryTables {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn appetite(&self) -> Appetite {
        self.0.appetite()
    }

    fn upsert<'a>(&'a self, _: &'a Table, _: &'a [Row]) -> Taken<'a, ()> {
        done(())
    }

    fn rename<'a>(&'a self, _: &'a Table, _: &'a str, _: &'a Row) -> Taken<'a, bool> {
        done(true)
    }

    fn delete<'a>(&'a self, _: &'a Table, keys: &'a [String]) -> Taken<'a, u64> {
        done(keys.len() as u64)
    }

    fn tombstone<'a>(&'a self, _: &'a Table, keys: &'a [String], _: Timestamp) -> Taken<'a, u64> {
        done(keys.len() as u64)
    }

    fn keys<'a>(&'a self, _: &'a Table, _: Option<&'a str>, _: u32) -> Taken<'a, Vec<Held>> {
        done(Vec::new())
    }
}
