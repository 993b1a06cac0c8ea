//! What is said about mistakes.

use super::*;

/// The mistakes of a text, one a line, without the file's name.
pub(super) fn mistakes(text: &str) -> Vec<String> {
    let Err(errors) = read(text) else {
        panic!("no mistake is found in:\n{text}");
    };
    let said = errors.mistakes().iter().map(|mistake| {
        let (line, column) = mistake.position().unwrap();
        format!("{line}:{column} {}", mistake.message())
    });
    said.collect()
}

#[test]
fn f82_three_mistakes_are_all_shown_with_line_and_caret() {
    let text = r#"[supervisor]
listen = 5001

[services.worker]
command = ["python3", "worker.py"]
intervall = "30s"
stop_timeout = "-10s"
"#;
    assert_eq!(
        read(text).unwrap_err().render(false, 80),
        r#"  error: `supervisor.listen` must be a string
   ,-[/etc/x/supervisor.toml:2:10]
 2 | listen = 5001
   :          ^^^^
   :            `-- this is a number
   `----
  help: for example: listen = "127.0.0.1:5001"

  error: unknown key `intervall` in [services.worker]
   ,-[/etc/x/supervisor.toml:6:1]
 6 | intervall = "30s"
   : ^^^^^^^^^
   :     `-- did you mean `interval`?
   `----

  error: `services.worker.stop_timeout` is negative
   ,-[/etc/x/supervisor.toml:7:16]
 7 | stop_timeout = "-10s"
   :                ^^^^^^
   `----
  help: a duration counts forward: "30s"

3 mistakes in /etc/x/supervisor.toml
"#
    );
}

#[test]
fn f82_a_cycle_is_shown_with_each_of_its_edges() {
    let text = "[services.a]\ndepends_on = ['b']\n[services.b]\ndepends_on = ['c', 'a']\n\
                [services.c]\n";
    assert_eq!(
        read(text).unwrap_err().render(false, 80),
        r"  error: these depend on each other: a → b → a
   ,-[/etc/x/supervisor.toml:2:15]
 2 | depends_on = ['b']
   :               ^^^
   :                `-- a waits for b
   `----
   ,-[/etc/x/supervisor.toml:4:20]
 4 | depends_on = ['c', 'a']
   :                    ^^^
   :                     `-- b waits for a
   `----
  help: none of them could ever start: break the cycle

1 mistake in /etc/x/supervisor.toml
"
    );
}

#[test]
fn f82_a_duplicate_is_shown_beside_the_first_and_the_rest_is_read_all_the_same() {
    let text = "[services.a]\ninterval = 1\nfrob = 1\ninterval = 2\n[services.a]\n";
    assert_eq!(
        mistakes(text),
        [
            "3:1 unknown key `frob` in [services.a]",
            "4:1 the same key twice",
            "5:11 the same key twice",
        ]
    );
    let shown = read(text).unwrap_err().render(false, 80);
    assert!(shown.contains("2 | interval = 1\n"), "{shown}");
    assert!(shown.contains("1 | [services.a]\n"), "{shown}");
}

#[test]
fn f82_syntax_that_leaves_the_rest_in_place_does_not_hide_other_mistakes() {
    assert_eq!(
        mistakes("[services.a]\ninterval = 30s\nfrob = 1\n"),
        [
            "2:12 not TOML: string values must be quoted, expected literal string",
            "3:1 unknown key `frob` in [services.a]",
        ]
    );
    // What follows an open bracket may stand in the wrong table: nothing is said about it.
    assert_eq!(mistakes("[services.a\nfrob = 1\n").len(), 1);
}

#[test]
fn f82_each_kind_of_mistake_is_said_at_its_place() {
    for (keys, expected) in [
        // Types.
        (
            "interval = true",
            "2:12 `services.a.interval` must be a duration",
        ),
        (
            "critical = 1",
            "2:12 `services.a.critical` must be true or false",
        ),
        ("tags = 'x'", "2:8 `services.a.tags` must be an array"),
        ("tags = ['x', 3]", "2:14 `services.a.tags` must be a string"),
        (
            "command = 7",
            "2:11 `services.a.command` must be an array of words, or a string",
        ),
        ("backoff = 3", "2:11 `services.a.backoff` must be a table"),
        // Durations and numbers.
        ("interval = -1", "2:12 `services.a.interval` is negative"),
        (
            "interval = '10ms'",
            "2:12 `services.a.interval` is shorter than 100ms",
        ),
        ("interval = 0", "2:12 `services.a.interval` is zero"),
        (
            "interval = nan",
            "2:12 `services.a.interval` is not a number",
        ),
        (
            "interval = 1e300",
            "2:12 `services.a.interval` is longer than ten years",
        ),
        (
            "interval = 99999999999999999999999999999999999999999",
            "2:12 `services.a.interval` is longer than ten years",
        ),
        (
            "interval = '99999999999 years'",
            "2:12 `services.a.interval` is longer than ten years",
        ),
        ("interval = '30'", "2:12 `services.a.interval` has no unit"),
        (
            "restart_window = 0",
            "2:18 `services.a.restart_window` is zero",
        ),
        (
            "recover_after = 0",
            "2:17 `services.a.recover_after` is out of range",
        ),
        (
            "max_restarts = -1",
            "2:16 `services.a.max_restarts` is out of range",
        ),
        (
            "warning_after = 0",
            "2:17 `services.a.warning_after` is out of range",
        ),
        (
            "warning_after = 1.5",
            "2:17 `services.a.warning_after` must be a whole number of intervals, or a duration",
        ),
        (
            "grace = '101%'",
            "2:9 `services.a.grace` is not between 0% and 100%",
        ),
        ("grace = 'x%'", "2:9 `services.a.grace` is no percentage"),
        // Thresholds.
        (
            "warning_after = 4",
            "2:17 `degraded_after` would be reached before `warning_after` in [services.a]",
        ),
        (
            "critical_after = '10s'",
            "2:18 `critical_after` would be reached before `degraded_after` in [services.a]",
        ),
        // Words.
        (
            "command = 'sh -c \"x'",
            "2:18 `services.a.command` cannot be split into words",
        ),
        ("command = []", "2:11 `services.a.command` is empty"),
        ("command = ''", "2:11 `services.a.command` is empty"),
        (
            "command = ['']",
            "2:11 `services.a.command` begins with an empty word",
        ),
        (
            "command = 'x'\nstop_signal = 'SIGTREM'",
            "3:15 `services.a.stop_signal` is no signal",
        ),
        (
            "command = 'x'\nstop_signal = 0",
            "3:15 `services.a.stop_signal` is out of range",
        ),
        (
            "command = 'x'\nstop_signal = 'SIGSTOP'",
            "3:15 `services.a.stop_signal` does not end a process",
        ),
        (
            "command = 'x'\nrestart = 'allways'",
            "3:11 `services.a.restart` cannot be \"allways\"",
        ),
        ("interval = ''", "2:12 `services.a.interval` is empty"),
        (
            "interval = 'Auto'",
            "2:12 `services.a.interval` cannot be \"Auto\"",
        ),
        (
            "profile = 'deacon'\ninterval = 'auto'",
            "3:12 `interval = \"auto\"` with `profile = \"deacon\"` in [services.a]",
        ),
        (
            "interval = 'auto'\non_demand = true",
            "2:12 `interval = \"auto\"` with `on_demand` in [services.a]",
        ),
        (
            "interval = 'auto'\nprobe = { tcp = 'localhost:1' }",
            "2:12 `interval = \"auto\"` with a `probe` in [services.a]",
        ),
        (
            "profile = 'daemon'",
            "2:11 `services.a.profile` cannot be \"daemon\"",
        ),
        (
            "poke_on = ['stale', 'stale']",
            "2:11 `services.a.poke_on` names \"stale\" twice",
        ),
        (
            "poke = ['restart', 'nudge']",
            "2:8 `services.a.poke` restarts before it nudges",
        ),
        (
            "poke = ['nudge']",
            "2:8 `poke` in [services.a] only nudges, and there is no `nudge`",
        ),
        // Processes.
        (
            "command = 'x'\numask = 22",
            "3:9 `services.a.umask` is not octal",
        ),
        (
            "command = 'x'\numask = '888'",
            "3:9 `services.a.umask` is no file mode mask",
        ),
        (
            "command = 'x'\nnice = 20",
            "3:8 `services.a.nice` is out of range",
        ),
        (
            "command = 'x'\nuser = 'a:b'",
            "3:8 `services.a.user` holds a colon",
        ),
        (
            "command = 'x'\nlimits = { nofiles = 3 }",
            "3:12 `services.a.limits` has an unknown limit, `nofiles`",
        ),
        (
            "command = 'x'\nenv = { 'A=B' = '' }",
            "3:9 `services.a.env` holds \"A=B\", which is no variable's name",
        ),
        (
            "command = 'x'\nlog_max_size = '1 XB'",
            "3:16 `services.a.log_max_size` has an unknown unit, \"xb\"",
        ),
        (
            "notify_access = 'main'",
            "2:1 `notify_access` without `command` in [services.a]",
        ),
        (
            "command = 'x'\nnotify_access = 'none'",
            "3:17 `services.a.notify_access` cannot be \"none\"",
        ),
        (
            "command = 'x'\nready = 'probe'",
            "3:9 `ready` in [services.a] waits for its probe, but it has none",
        ),
        // Probes.
        (
            "probe = 'http://x/'",
            "2:9 `services.a.probe` must be a table",
        ),
        (
            "probe = {}",
            "2:9 `services.a.probe` names nothing to look at",
        ),
        (
            "probe = { interval = '5s' }",
            "2:9 `services.a.probe` names nothing to look at",
        ),
        (
            "probe = { tcp = 'x:1', exec = 'y' }",
            "2:9 `services.a.probe` looks in more than one way",
        ),
        (
            "probe = { http = 'x:1' }",
            "2:18 `services.a.probe.http` is no http:// or https:// URL with a host",
        ),
        (
            "probe = { http = 'http://me:secret@x/' }",
            "2:18 `services.a.probe.http` holds a user's name, which would not be sent",
        ),
        (
            "probe = { http = 'http://x:0/' }",
            "2:18 `services.a.probe.http` has the port 0, where nobody listens",
        ),
        (
            "probe = { http = 'https://[::1]/' }",
            "2:18 `services.a.probe.http` has an IPv6 address, which TLS cannot check",
        ),
        (
            "probe = { tcp = 'x' }",
            "2:17 `services.a.probe.tcp` has no port",
        ),
        (
            "probe = { tcp = 'x:http' }",
            "2:17 `services.a.probe.tcp` has a port that is none, \"http\"",
        ),
        (
            "probe = { tcp = 'x:65536' }",
            "2:17 `services.a.probe.tcp` has a port that is none, \"65536\"",
        ),
        (
            "probe = { tcp = '::1:80' }",
            "2:17 `services.a.probe.tcp` has no host that could be one",
        ),
        (
            "probe = { tcp = 'tcp://x:80' }",
            "2:17 `services.a.probe.tcp` has no host that could be one",
        ),
        (
            "probe = { exec = [] }",
            "2:18 `services.a.probe.exec` is empty",
        ),
        (
            "probe = { tcp = 'x:1', timeout = '3s', interval = '1s' }",
            "2:34 `services.a.probe` has a timeout beyond its interval",
        ),
        (
            "interval = '1s'\nprobe = { tcp = 'x:1', timeout = '2s' }",
            "3:34 `services.a.probe` has a timeout beyond its interval",
        ),
        (
            "probe = { tcp = 'x:1', interval = '10ms' }",
            "2:35 `services.a.probe.interval` is shorter than 100ms",
        ),
        (
            "probe = { tcp = 'x:1', timeout = 0 }",
            "2:34 `services.a.probe.timeout` is zero",
        ),
        (
            "probe = { tcp = 'x:1', failure_threshold = 0 }",
            "2:44 `services.a.probe.failure_threshold` is out of range",
        ),
        (
            "probe = { tcp = 'x:1', body = 'ok' }",
            "2:24 `body` in [services.a.probe] is for `http`",
        ),
        (
            "probe = { http = 'http://x/', expect = 99 }",
            "2:40 `services.a.probe.expect` is out of range",
        ),
        (
            "probe = { http = 'http://x/', expect = '299-200' }",
            "2:40 `services.a.probe.expect` is no range of statuses: \"299-200\"",
        ),
        (
            "probe = { http = 'http://x/', expect = '2xx' }",
            "2:40 `services.a.probe.expect` is no range of statuses: \"2xx\"",
        ),
        (
            "probe = { http = 'http://x/', body = '(' }",
            "2:39 `services.a.probe.body` is no regex",
        ),
        (
            "probe = { http = 'http://x/', body = '(((a{100}){100}){100}){100}' }",
            "2:39 `services.a.probe.body` is too large a regex",
        ),
        (
            "probe = { http = 'http://x/', headers = { Connection = 'close' } }",
            "2:43 `services.a.probe.headers` holds \"Connection\", which is no header to set",
        ),
        (
            "probe = { http = 'http://x/', headers = { 'a b' = 'c' } }",
            "2:43 `services.a.probe.headers` holds \"a b\", which is no header to set",
        ),
        (
            "probe = { http = 'http://x/', headers = { a = \"b\\nc\" } }",
            "2:47 `services.a.probe.headers.a` holds a character that no header may",
        ),
        (
            "probe = { http = 'https://x/', ca_file = 'a', insecure = true }",
            "2:47 `insecure` and `ca_file` in [services.a.probe] contradict each other",
        ),
        (
            "probe = { http = 'http://x/', path = '/health' }",
            "2:31 unknown key `path` in [services.a.probe]",
        ),
        (
            "command = 'x'\nready = 'pulse'",
            "3:9 `ready` in [services.a] waits for a pulse, but nothing promises one",
        ),
        // Backoff.
        (
            "backoff = { min = '2s', max = '1s' }",
            "2:31 `services.a.backoff` has a max below its min",
        ),
        (
            "backoff = { factor = 0.5 }",
            "2:22 `services.a.backoff.factor` is not between 1 and 1000",
        ),
        (
            "backoff = { jitter = 1.5 }",
            "2:22 `services.a.backoff.jitter` is not between 0 and 1",
        ),
        // Nudges.
        ("nudge = {}", "2:9 `services.a.nudge` names no way to nudge"),
        (
            "nudge = { exec = 'x', http = 'http://x/' }",
            "2:9 `services.a.nudge` names more than one way to nudge",
        ),
        (
            "nudge = { tmux = 's' }",
            "2:9 `services.a.nudge` has no `text` to type",
        ),
        (
            "nudge = { http = 'ftp://x/' }",
            "2:18 `services.a.nudge.http` is no http:// or https:// URL with a host",
        ),
        (
            "nudge = { http = 'SHOUT http://x/' }",
            "2:18 `services.a.nudge.http` has an unknown method, \"SHOUT\"",
        ),
        // Keys that exclude each other.
        ("cwd = '.'", "2:1 `cwd` without `command` in [services.a]"),
        (
            "command = 'x'\nrestart_command = 'y'",
            "3:1 `restart_command` besides `command` in [services.a]",
        ),
        (
            "nudge = { signal = 'USR1' }",
            "2:9 a signal cannot nudge the external service [services.a]",
        ),
        (
            "start_grace = 1\nstart_timeout = 1",
            "3:1 `start_grace` and `start_timeout` say the same in [services.a]",
        ),
        (
            "degraded_after = 3\ntimeout_multiplier = 3",
            "3:1 `degraded_after` and `timeout_multiplier` say the same in [services.a]",
        ),
        // Dependencies.
        (
            "depends_on = ['b']",
            "2:15 a depends on b, which is not a service",
        ),
        ("depends_on = ['a']", "2:15 a depends on itself"),
    ] {
        assert_eq!(
            mistakes(&format!("[services.a]\n{keys}")),
            [expected],
            "{keys}"
        );
    }
}

#[test]
fn f82_mistakes_outside_of_services_are_said_at_their_place() {
    for (text, expected) in [
        ("[alarms]", "1:2 unknown key `alarms`"),
        (
            "[supervisor]\ninterval = 1",
            "2:1 unknown key `interval` in [supervisor]",
        ),
        (
            "[supervisor]\nlisten = 'here'",
            "2:10 `supervisor.listen` is no address: \"here\"",
        ),
        (
            "[supervisor]\nlisten = '0.0.0.0:5001'",
            "2:10 `supervisor.listen` opens 0.0.0.0:5001 to other machines without a token",
        ),
        (
            "[supervisor]\ntoken_env = 'NOT_HERE'",
            "2:13 `supervisor.token_env` names NOT_HERE, which the environment does not have",
        ),
        (
            "[supervisor]\nallowed_hosts = ['http://x']",
            "2:18 `supervisor.allowed_hosts` holds \"http://x\", which is no host name",
        ),
        (
            "[supervisor]\ndata_dir = ''",
            "2:12 `supervisor.data_dir` is empty",
        ),
        (
            "[supervisor]\nallow_registration = 'yes'",
            "2:22 `supervisor.allow_registration` must be true or false",
        ),
        (
            "[log]\nlevel = 'info,x=loud'",
            "2:15 `log.level` has an unknown level, \"loud\"",
        ),
        (
            "[log]\nmax_size = '1 KiBB'",
            "2:12 `log.max_size` has an unknown unit, \"kibb\"",
        ),
        (
            "[heartbeat]\nlog_level = 'info'\n[log]\nlevel = 'info'",
            "2:1 `heartbeat.log_level` and `log.level` say the same",
        ),
        (
            "[heartbeat]\nwarning_after = 5\ndegraded_after = 3",
            "3:18 `degraded_after` would be reached before `warning_after` in [heartbeat]",
        ),
        (
            "[heartbeat]\ninterval = 3",
            "2:1 unknown key `interval` in [heartbeat]",
        ),
        (
            "[heartbeat.services]\na = 30",
            "2:5 `heartbeat.services.a` must be a table",
        ),
        (
            "[heartbeat.services]\na = {}\n[services.a]",
            "2:1 a is defined twice",
        ),
        ("[services.Worker]", "1:11 \"Worker\" is no service name"),
        (
            "[services.'internal.x']",
            "1:11 \"internal.x\" is no service name",
        ),
        ("[services.'']", "1:11 \"\" is no service name"),
        ("services = 3", "1:12 `services` must be a table"),
        ("[services.a.b]", "1:13 unknown key `b` in [services.a]"),
    ] {
        assert_eq!(mistakes(text), [expected], "{text}");
    }
}

#[test]
fn thresholds_of_all_that_decrease_are_said_once_and_not_for_every_service() {
    for warning in ["5", "'10m'"] {
        let text = format!("[heartbeat]\nwarning_after = {warning}\n[services.a]\n[services.b]\n");
        assert_eq!(mistakes(&text).len(), 1, "{warning}");
    }
}

#[test]
fn a_wrong_value_has_no_other_mistakes_in_its_wake() {
    // Judged with the default in its place, each of these would be a second mistake.
    for keys in [
        "degraded_after = 'soon'\ncritical_after = '40s'",
        "backoff = { min = 'soon', max = '1ms' }",
        "command = 7\ncwd = '.'",
        "interval = 'soon'\ncommand = 'x'\nready = 'pulse'",
    ] {
        assert_eq!(
            mistakes(&format!("[services.a]\n{keys}")).len(),
            1,
            "{keys}"
        );
    }
}

#[test]
fn a_misspelt_word_gets_the_one_that_was_meant() {
    for (text, meant) in [
        ("[services.a]\nintreval = 1", "did you mean `interval`?"),
        (
            "[heartbeat]\ninterval = 1",
            "did you mean `default_interval`?",
        ),
        ("[servces.a]", "did you mean `services`?"),
        ("[log]\nlevel = 'wanr'", "did you mean `warn`?"),
        (
            "[services.a]\nrestart = 'on_failure'",
            "did you mean \"on-failure\"?",
        ),
        (
            "[services.worker]\n[services.a]\ndepends_on = ['wroker']",
            "did you mean \"worker\"?",
        ),
        (
            "[services.a]\nnudge = { signal = 'SIGUSER1' }",
            "did you mean \"SIGUSR1\"?",
        ),
        ("[services.a]\nlisten = 1", "it belongs into [supervisor]"),
        ("[services.a.b]", "[services.\"a.b\"]"),
        ("[services.'My App']", "for example: my-app"),
    ] {
        let shown = read(text).unwrap_err().render(false, 120);
        assert!(shown.contains(meant), "{shown}");
    }
}

#[test]
fn a_token_in_the_file_is_refused_and_not_shown() {
    let errors = read("[supervisor]\ntoken = \"sesame\"\n").unwrap_err();
    let shown = errors.render(false, 80);
    assert!(
        shown.contains("`token` in [supervisor] is a secret"),
        "{shown}"
    );
    assert!(shown.contains("token = ********\n"), "{shown}");
    assert!(!shown.contains("sesame") && !format!("{errors:?}").contains("sesame"));
}

#[test]
fn a_line_of_an_env_file_is_named_by_its_number_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "A=1\nsesame\n'x\n").unwrap();
    let file = dir.path().join("supervisor.toml");
    std::fs::write(&file, "[services.a]\ncommand = 'x'\nenv_file = '.env'\n").unwrap();
    let errors = load(&file, &|_| None).unwrap_err();
    assert_eq!(errors.mistakes().len(), 2);
    let shown = errors.render(false, 200);
    assert!(
        shown.contains("line 2 has no `=`") && shown.contains("line 3"),
        "{shown}"
    );
    assert!(!shown.contains("sesame"));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let missing = load(Path::new("/nonexistent/s.toml"), &|_| None).unwrap_err();
    let message = missing.mistakes()[0].message();
    assert!(
        message.starts_with("cannot read /nonexistent/s.toml: No such file"),
        "{message}"
    );
    let dir = tempfile::tempdir().unwrap();
    assert!(load(dir.path(), &|_| None).is_err());
    let file = dir.path().join("latin1.toml");
    std::fs::write(&file, b"# ok\nname = \"caf\xe9\"\n").unwrap();
    let latin1 = load(&file, &|_| None).unwrap_err();
    assert!(latin1.render(false, 80).contains("line 2 is not UTF-8"));
}

#[test]
fn a_terminal_gets_colours_and_anything_else_plain_ascii() {
    let errors = read("[services.a]\nfrob = 1\n").unwrap_err();
    assert!(errors.render(true, 80).contains('\u{1b}'));
    let plain = errors.render(false, 80);
    assert!(plain.is_ascii() && !plain.contains('\u{1b}'), "{plain}");
    assert_eq!(
        errors.to_string(),
        "/etc/x/supervisor.toml:2:1: unknown key `frob` in [services.a]\n\
         1 mistake in /etc/x/supervisor.toml"
    );
}

#[test]
fn of_very_many_mistakes_the_first_are_shown_and_all_are_counted() {
    let text: String = (0..1_000).map(|n| format!("frob{n} = {n}\n")).collect();
    let shown = read(&text).unwrap_err().render(false, 80);
    assert!(shown.contains("and 950 more"), "{shown}");
    assert!(shown.ends_with("1000 mistakes in /etc/x/supervisor.toml\n"));
}

#[test]
fn programs_get_the_mistakes_as_json() {
    let errors = read("[services.a]\nfrob = 1\ninterval = -1\n").unwrap_err();
    let known = errors.to_json();
    assert_eq!(known["file"], "/etc/x/supervisor.toml");
    assert_eq!(
        known["mistakes"][1],
        serde_json::json!({
            "line": 3,
            "column": 12,
            "message": "`services.a.interval` is negative",
            "help": "a duration counts forward: \"30s\"",
        })
    );
}

#[test]
fn f82_what_is_wrong_with_a_sink_is_said_at_its_place() {
    let slack = "[alerts.sinks.ops]\nkind = \"slack\"\n";
    for (text, expected) in [
        (
            "[alerts.sinks.ops]\nurl = \"https://x.example\"",
            "has no `kind`",
        ),
        ("[alerts.sinks.ops]\nkind = \"slak\"", "did you mean"),
        (slack, "has no `url_env`"),
        (
            &format!("{slack}url_env = \"NOBODY\""),
            "names NOBODY, which the environment does not have",
        ),
        (
            &format!("{slack}url = \"ftp://x.example\""),
            "is no address",
        ),
        (
            &format!("{slack}url = \"https://x.example\"\ntopic = \"t\""),
            "unknown key `topic`",
        ),
        ("[alerts.sinks.log]\nkind = \"log\"", "is always there"),
        ("[alerts.sinks.x]\nkind = \"exec\"", "has no `command`"),
        (
            "[alerts.sinks.x]\nkind = \"ntfy\"\ntopic = \"t\"\ntoken = \"secret\"",
            "is a secret",
        ),
        (
            "[alerts.sinks.x]\nkind = \"webhook\"\nurl = \"http://x.example\"\ntemplate = \"{{tilte}}\"",
            "which is no field",
        ),
        (
            "[alerts.sinks.x]\nkind = \"email\"\nsmtp = \"mail.example\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]",
            "is no mail server",
        ),
        (
            "[alerts.sinks.x]\nkind = \"email\"\nsmtp = \"smtp://m.example\"\nfrom = \"nobody\"\nto = [\"a@b.c\"]",
            "is no mail address",
        ),
        (
            "[[alerts.escalate]]\nlevel = \"critical\"\nto = [\"opps\"]",
            "there is no sink \"opps\"",
        ),
        ("[[alerts.escalate]]\nto = [\"log\"]", "has no `level`"),
        (
            "[[alerts.escalate]]\nlevel = \"bad\"\nto = [\"log\"]",
            "cannot be \"bad\"",
        ),
        ("[alerts.maintenance.x]\nto = \"04:00\"", "has no `from`"),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"04:00\"",
            "has no `zone`",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"2am\"\nto = \"04:00\"\nzone = \"UTC\"",
            "`alerts.maintenance.x.from` is no time: \"2am\"",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"25:00\"\nzone = \"UTC\"",
            "is no time: \"25:00\"",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"02:00\"\nzone = \"UTC\"",
            "a whole day is from = \"00:00\", to = \"24:00\"",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"2026-12-24 22:00\"\nzone = \"UTC\"",
            "`from` and `to` are of two kinds",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"2026-12-24 22:00\"\nto = \"2026-12-24 21:00\"\nzone = \"UTC\"",
            "a window that never opens",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"2026-12-24 22:00\"\nto = \"2026-12-25 21:00\"",
            "by whose clocks?",
        ),
        (
            "[alerts.maintenance.x]\nfrom = 2026-12-24T22:00:00Z\nto = 2026-12-25T22:00:00Z\ndays = [\"mon\"]",
            "has no days",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"04:00\"\nzone = \"Europe/Berln\"",
            "did you mean \"Europe/Berlin\"?",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"04:00\"\nzone = \"../../etc/passwd\"",
            "is no name of a time zone",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"04:00\"\nzone = \"UTC\"\ndays = [\"monday\"]",
            "did you mean \"mon\"?",
        ),
        (
            "[alerts.maintenance.x]\nfrom = \"02:00\"\nto = \"04:00\"\nzone = \"UTC\"\nservices = [\"[\"]",
            "holds no pattern",
        ),
        ("[alerts]\nrepeat = \"1s\"", "alerts.repeat"),
        (
            "[services.a]\ninterval = 1\nalerts = { to = [\"opps\"] }",
            "there is no sink \"opps\"",
        ),
    ] {
        let shown = read(text).expect_err(text).render(false, 200);
        assert!(shown.contains(expected), "{text}\n{shown}");
        assert!(!shown.contains("\"secret\""), "{shown}");
    }
}

#[test]
fn f82_a_ping_key_that_cannot_be_used_is_said_and_not_shown() {
    for (keys, said) in [
        ("key = 'short'", "has 16 to 128 characters, this one 5"),
        (
            "key = 'with a space in it'",
            "made of a-z, A-Z, 0-9, - and _",
        ),
        ("key = '5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278'", "uuid"),
        ("key = 7", "must be a string"),
        ("key_env = 'NO_SUCH_VARIABLE'", "NO_SUCH_VARIABLE"),
        ("keys = 'x'", "unknown key `keys`"),
    ] {
        let all = mistakes(&format!("[pings]\n{keys}"));
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains(said), "{all:?}");
    }
    let twice = "[pings]\nkey = 'fqOOd6-F4MMNuCEnzTU01w'\nkey_env = 'HOOK_URL'";
    assert!(mistakes(twice).iter().any(|one| one.contains("made of")));
}

#[test]
fn f82_a_ping_uuid_is_one_and_one_services_alone() {
    let wrong = "[services.a]\nping_uuid = 'backup'";
    assert_eq!(mistakes(wrong), ["2:13 `services.a.ping_uuid` is no uuid"]);
    let uuid = "ping_uuid = '5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278'";
    let upper = uuid.replace("5bf66975", "5BF66975");
    let twice = format!("[services.a]\n{uuid}\n[services.b]\n{upper}");
    assert_eq!(mistakes(&twice), ["4:13 b and a have the same `ping_uuid`"]);
}

#[test]
fn f82_the_key_of_all_pings_is_given_to_no_service() {
    let text =
        "[pings]\nkey_env = 'PING_KEY'\n[services.a]\ncommand = 'x'\npass_env = ['PING_KEY']";
    let env = |name: &str| (name == "PING_KEY").then(|| "fqOOd6-F4MMNuCEnzTU01w".to_owned());
    let errors = parse(Path::new("/etc/x/supervisor.toml"), text, &env).unwrap_err();
    let shown = errors.render(false, 100);
    assert!(
        shown.contains("a is given PING_KEY, the key of all pings"),
        "{shown}"
    );
    assert!(!shown.contains("fqOO"), "{shown}");
}
