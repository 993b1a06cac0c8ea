//! What a shim costs. How fast things are is for benches/processes.rs to say.

use std::fs;

use super::*;

fn pss_kb(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[actix_rt::test]
async fn an_idle_shim_costs_less_than_a_tenth_of_a_megabyte() {
    let world = World::new();
    let processes = world.processes();
    let mut runs = Vec::new();
    for i in 0..5 {
        let mut run = launch(
            &processes,
            &format!("s{i}"),
            1,
            shell("echo hello; sleep 1000"),
        );
        run.started().await;
        runs.push(run);
    }
    for i in 0..5 {
        until("it has written", || {
            world.log(&format!("s{i}")) == "hello\n"
        })
        .await;
    }
    let pss: Vec<u64> = (0..5)
        .map(|i| pss_kb(world.record(&format!("s{i}")).shim_pid))
        .collect();
    println!("PSS of 5 idle shims: {pss:?} kB");
    assert!(pss.iter().all(|&kb| kb <= 100), "{pss:?}");
    for run in &mut runs {
        run.process.stop();
        run.ended().await;
    }
}
