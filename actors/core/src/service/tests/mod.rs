//! Tests of the machine: a bench on which a service lives second by second, tables with one
//! test a cell, and histories at random.

mod bench;
mod ends;
mod external;
mod histories;
mod learnt;
mod levels;
mod lives;
mod memory;
mod oracle;
mod pauses;
mod pokes;
mod probes;
mod progress;
mod runs;
mod says;
mod stops;
mod world;
