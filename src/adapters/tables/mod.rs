//! The targets of the sync: where markdown is mirrored to. One file each.

pub(crate) mod sqlite;
pub(crate) mod supabase;
