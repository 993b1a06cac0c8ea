//! The pure decisions of `supervisor`.
//!
//! Nothing here does I/O, reads a clock or throws dice: time, randomness and facts come in
//! as arguments, decisions go out as data. The actors carry them out.

pub mod alert;
pub mod backoff;
pub mod beats;
pub mod deacon;
pub mod dependency;
pub mod event;
pub mod history;
pub mod level;
pub mod metrics;
pub mod name;
pub mod notify;
pub mod overall;
pub mod policy;
pub mod rhythm;
pub mod run;
pub mod service;
pub mod stall;
pub mod storm;
pub mod sync;
pub mod time;
pub mod track;
pub mod view;
pub mod wheel;

pub use event::{
    Action, Change, Event, EventKind, Exit, Generation, Moment, Note, RestartKind, StartFailure,
};
pub use level::{Freshness, Level, Thresholds};
pub use name::ServiceName;
pub use policy::Policy;
pub use service::{Memory, Now, Service};
pub use time::{Mono, Time, Timestamp};
pub use view::{StateWord, View};
