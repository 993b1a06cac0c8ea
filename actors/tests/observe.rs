//! What is observed of services: minutes of history, rhythm, and what is shown of changes.

use std::time::Duration;

use tokio::time::sleep;

use supervisor_actors::feed::News;
use supervisor_actors::testing::{Stage, external, settle};
use supervisor_core::Level;
use supervisor_core::rhythm::Trend;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn each_minute_of_each_service_is_kept_once() {
    let stage = Stage::new();
    let universe = stage
        .start(vec![
            external("steady", secs(10)),
            external("silent", secs(10)),
        ])
        .await;
    for _ in 0..30 {
        universe.pulse("steady");
        sleep(secs(10)).await;
    }
    let minutes = stage.history.of("steady");
    assert!((4..=5).contains(&minutes.len()), "{minutes:?}");
    for pair in minutes.windows(2) {
        assert_eq!(pair[0].0 + 1, pair[1].0);
    }
    let (_, whole) = &minutes[2];
    assert_eq!((whole.pulses, whole.errors, whole.misses), (6, 0, 0));
    assert!((59_000..=61_000).contains(&whole.levels[0]), "{whole:?}");
    let gaps = whole.gaps.expect("gaps");
    assert!(
        (gaps.min - 10.0).abs() < 0.1 && (gaps.max - 10.0).abs() < 0.1,
        "{gaps:?}"
    );
    let silent = stage.history.of("silent");
    let all: u64 = silent.iter().map(|(_, slice)| slice.misses).sum();
    assert!((20..=30).contains(&all), "{silent:?}");
    assert!(silent[3].1.uptime() < Some(0.1), "{:?}", silent[3]);
    let names: Vec<_> = stage.history.of("internal.supervisor");
    assert_eq!(names, [], "our own actors have no history");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn the_minute_under_way_is_kept_when_we_stop() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(10))]).await;
    universe.pulse("a");
    sleep(secs(3)).await;
    universe.supervisor.shutdown(false).await;
    let pulses: u64 = stage
        .history
        .of("a")
        .iter()
        .map(|(_, slice)| slice.pulses)
        .sum();
    assert_eq!(pulses, 1);
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn one_that_slows_down_is_told_of_long_before_it_is_late() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("drifter", secs(30))]).await;
    for n in 0..60 {
        universe.pulse("drifter");
        // A little unevenness, as everything has.
        sleep(Duration::from_millis(14_800 + (n * 37) % 400)).await;
    }
    let view = universe.view("drifter").await;
    assert_eq!(
        (view.trend, view.predicted_miss_at),
        (Some(Trend::Steady), None)
    );
    let suspicion = view.suspicion.expect("it is known well");
    assert!(suspicion < 3.0, "{suspicion}");
    let mut gap = 15_000.0_f64;
    let mut told = None;
    for beat in 0..150 {
        gap *= 1.005;
        universe.pulse("drifter");
        sleep(Duration::from_millis(gap as u64)).await;
        let view = universe.view("drifter").await;
        assert_eq!(view.status, Level::Healthy, "beat {beat}");
        if view.trend == Some(Trend::Slowing) && told.is_none() {
            told = Some(beat);
        }
        if view.predicted_miss_at.is_some() && told.is_some_and(|told| beat > told + 5) {
            break;
        }
    }
    let told = told.expect("it was told of");
    assert!(told <= 58, "told at beat {told}");
    let open = universe.alerts.open().await.expect("the alerter answers");
    let alert = open
        .iter()
        .find(|alert| alert.subject.to_string() == "drifter");
    let alert = alert.expect("there is an alert");
    assert_eq!(alert.level, Level::Warning);
    assert!(alert.reason.contains("slows down"), "{}", alert.reason);
    let noted = universe.events("drifter").await;
    assert!(noted.iter().any(|event| event.kind == "alert"), "{noted:?}");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_new_life_or_a_pause_is_no_gap() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(10))]).await;
    for _ in 0..3 {
        universe.pulse("a");
        sleep(secs(10)).await;
    }
    universe.pulse("a");
    settle().await;
    let name = supervisor_core::ServiceName::new("a").expect("a name");
    let order = supervisor_actors::messages::Verb::Pause(None);
    universe
        .supervisor
        .control(&name, order)
        .await
        .expect("answers")
        .expect("done");
    sleep(secs(300)).await;
    let order = supervisor_actors::messages::Verb::Resume;
    universe
        .supervisor
        .control(&name, order)
        .await
        .expect("answers")
        .expect("done");
    for _ in 0..8 {
        universe.pulse("a");
        sleep(secs(10)).await;
    }
    let longest = stage.history.of("a").into_iter();
    let longest = longest
        .filter_map(|(_, slice)| Some(slice.gaps?.max))
        .fold(0.0, f64::max);
    assert!(longest < 11.0, "{longest}");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn of_a_service_that_pulses_often_the_latest_is_shown() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(10))]).await;
    let mut reader = universe.feed.read();
    for _ in 0..1_000 {
        universe.pulse("a");
        sleep(Duration::from_millis(5)).await;
    }
    sleep(secs(1)).await;
    let items = reader.next(1_000).expect("all is kept");
    let shown: Vec<u64> = items
        .iter()
        .filter_map(|item| match &item.news {
            News::Service(view) if view.name.as_str() == "a" => Some(view.total_pulses),
            News::Service(_) | News::Removed(_) | News::Event(_) | News::Alert(_) => None,
        })
        .collect();
    assert_eq!(shown, [1_000]);
    drop(reader);
    sleep(secs(70)).await;
    assert!(!universe.feed.is_on(), "nobody looks on any more");
}
