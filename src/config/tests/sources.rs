//! How a service shows life: what its owner writes of that, and gets wrong.

use super::mistakes::mistakes;
use super::*;

#[test]
fn a_number_may_stand_still_for_so_long_or_for_ever() {
    let given = policy("interval = '10s'\nprogress_timeout = '10m'");
    assert_eq!(given.progress_timeout, Some(seconds(600)));
    assert_eq!(policy("interval = '10s'").progress_timeout, None);
    // One that pulses by living promises no pulse that could be due.
    let spec = service("[services.a]\ncommand = 'x'\nprogress_timeout = '1s'");
    assert_eq!(spec.policy.progress_timeout, Some(seconds(1)));
}

#[test]
fn f82_a_progress_timeout_that_could_only_be_missed_is_a_mistake() {
    let text = "[services.a]\ninterval = '10s'\nprogress_timeout = '11s'";
    let message = "3:20 `progress_timeout` in [services.a] is over before a pulse is due";
    assert_eq!(mistakes(text), [message]);
    let shown = read(text).unwrap_err().render(false, 80);
    assert!(shown.contains("interval and grace come to 11s"), "{shown}");
    let text = "[services.a]\ninterval = '10s'\nprogress_timeout = '11.1s'";
    assert_eq!(
        policy(&text[13..]).progress_timeout,
        Some(Duration::from_millis(11_100))
    );

    let text = "[services.a]\non_demand = true\nprogress_timeout = '1h'";
    let message = "3:1 `progress_timeout` with `on_demand` in [services.a]";
    assert_eq!(mistakes(text), [message]);
    let text = "[services.a]\nprogress_timeout = 0";
    assert_eq!(mistakes(text).len(), 1);
}
