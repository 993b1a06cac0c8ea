//! The tables that markdown is mirrored into, on the real PostgreSQL and PostgREST.

use crate::common::postgrest::Stack;

#[test]
fn probe() {
    let t = std::time::Instant::now();
    let stack = Stack::start();
    eprintln!("start {:?}", t.elapsed());
    stack.schema("create table t (id int primary key)");
    eprintln!("schema {:?}", t.elapsed());
    assert_eq!(stack.sql("select 1"), "1");
    drop(stack);
    eprintln!("drop {:?}", t.elapsed());
}
