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

#[test]
fn what_a_service_prints_may_be_its_pulses() {
    let of = |keys: &str| service(&format!("[services.a]\ncommand = 'x'\n{keys}"));
    let kinds = |spec: &ServiceSpec| -> Vec<_> {
        spec.sources.iter().map(|source| source.kind()).collect()
    };
    for keys in [
        "stdout_pulse = true",
        r"stdout_pulse = '^at (?P<progress>\d+)'",
    ] {
        let spec = of(keys);
        assert_eq!(kinds(&spec), ["notify", "stdout"]);
        // It promises pulses: no longer does it pulse by living.
        assert_eq!(spec.policy.watch, Watch::Pulsing);
        assert_eq!(spec, of(keys));
    }
    assert_ne!(of("stdout_pulse = 'a'"), of("stdout_pulse = 'b'"));
    let spec = of("stdout_pulse = false");
    assert_eq!(kinds(&spec), ["notify"]);
    assert_eq!(spec.policy.watch, Watch::Alive);
}

#[test]
fn f82_a_bad_regex_is_shown_with_a_caret_at_its_place() {
    let text = r"[services.a]
command = 'x'
stdout_pulse = '^row (?P<rows>\d+'
";
    assert_eq!(
        read(text).unwrap_err().render(false, 80),
        r"  error: `services.a.stdout_pulse` is no regex
   ,-[/etc/x/supervisor.toml:3:22]
 3 | stdout_pulse = '^row (?P<rows>\d+'
   :                      ^
   :                      `-- unclosed group
   `----
  help: Rust's regex syntax, in single quotes: '^at (?P<progress>\d+)'

1 mistake in /etc/x/supervisor.toml
"
    );
    for (keys, said) in [
        (
            "command = 'x'\nstdout_pulse = '(?P<Rows>x)'",
            "3:21 `services.a.stdout_pulse` names a group that is no metric's name",
        ),
        (
            "command = 'x'\nstdout_pulse = 1",
            "3:16 `services.a.stdout_pulse` must be true, false or a regex",
        ),
        (
            "command = 'x'\nstdout_pulse = ''",
            "3:16 `services.a.stdout_pulse` is empty",
        ),
        (
            "interval = 1\nstdout_pulse = true",
            "3:1 `stdout_pulse` without `command` in [services.a]",
        ),
        // Escapes hide the place: then it is the whole.
        (
            "command = 'x'\nstdout_pulse = \"\\\\d(\"",
            "3:16 `services.a.stdout_pulse` is no regex",
        ),
    ] {
        assert_eq!(mistakes(&format!("[services.a]\n{keys}")), [said]);
    }
}

#[test]
fn f82_keys_of_a_socket_need_a_service_that_we_run() {
    let text = "[services.a]\nnotify_access = 'main'\nnotify_socket = 'abstract'";
    assert_eq!(
        mistakes(text),
        [
            "2:1 `notify_access` without `command` in [services.a]",
            "3:1 `notify_socket` without `command` in [services.a]",
        ]
    );
    let text = "[services.a]\ncommand = 'x'\nnotify_socket = 'tcp'";
    assert_eq!(mistakes(text).len(), 1);
}
