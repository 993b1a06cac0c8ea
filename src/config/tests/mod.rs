//! What configurations come to. Mistakes, the reference and hostile input have files of their
//! own.

mod alerts_page;
mod hostile;
mod mistakes;
mod reference;
mod sources;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::spec::Nudge;
use supervisor_core::policy::{IntervalSource, Policy, Ready, Restart, Watch};

use super::*;

/// Reads a text as if it stood in `/etc/x/supervisor.toml`, in an environment that holds the
/// secrets of sinks alone.
fn read(text: &str) -> Result<Settings, ConfigErrors> {
    parse(Path::new("/etc/x/supervisor.toml"), text, &secrets_of_sinks)
}

/// What the reference's sinks find in the environment.
fn secrets_of_sinks(name: &str) -> Option<String> {
    let value = match name {
        "HOOK_URL" | "HEARTBEAT_URL" | "SLACK_URL" | "DISCORD_URL" => {
            "https://hooks.example/secret"
        }
        "HOOK_KEY" | "NTFY_TOPIC" | "NTFY_TOKEN" | "PAGERDUTY_KEY" | "SMTP_PASSWORD" => "secret",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The same of a text without mistakes.
#[track_caller]
fn good(text: &str) -> Settings {
    match read(text) {
        Ok(settings) => settings,
        Err(errors) => panic!("{}", errors.render(false, 100)),
    }
}

/// The first service of a text without mistakes.
#[track_caller]
fn service(text: &str) -> ServiceSpec {
    good(text).services.remove(0)
}

/// The policy of a service `[services.a]` with these keys.
#[track_caller]
fn policy(keys: &str) -> Policy {
    let spec = service(&format!("[services.a]\n{keys}"));
    Policy::clone(&spec.policy)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn an_empty_file_is_a_configuration_with_all_its_defaults() {
    let settings = good("");
    assert!(settings.services.is_empty());
    assert_eq!(
        settings.supervisor.listen,
        Some("127.0.0.1:5001".parse().unwrap())
    );
    assert_eq!(
        settings.supervisor.data_dir,
        Path::new("/etc/x/.supervisor")
    );
    assert_eq!(settings.supervisor.on_exit, OnExit::Stop);
    assert_eq!(settings.supervisor.shutdown_timeout, seconds(30));
    assert!(!settings.supervisor.name.is_empty());
    assert_eq!(settings.log.filter, LogFilter::default());
    assert_eq!(
        settings.log.file.as_deref(),
        Some(Path::new("/etc/x/.supervisor/supervisor.log"))
    );
}

#[test]
fn the_seeds_shape_works() {
    let settings = good(
        r#"
[heartbeat]
enabled = true
default_interval = 20
timeout_multiplier = 4
alert_on_miss = false
log_level = "DEBUG"

[heartbeat.services]
save_worker = { interval = 30, critical = true }
mail = { interval = 0.5, critical = false }
plain = {}
"#,
    );
    assert_eq!(settings.log.filter.default, slog::Level::Debug);
    let [worker, mail, plain] = settings.services.as_slice() else {
        panic!("{:?}", settings.services);
    };
    assert_eq!(worker.name.as_str(), "save_worker");
    assert_eq!(worker.policy.watch, Watch::External);
    assert_eq!(worker.policy.interval, seconds(30));
    assert!(worker.policy.critical);
    assert!(!worker.policy.alert_on_miss);
    assert_eq!(worker.policy.thresholds.degraded, Some(seconds(4 * 30 + 3)));
    assert_eq!(worker.policy.thresholds.critical, seconds(6 * 30 + 3));
    assert_eq!(mail.policy.interval, Duration::from_millis(500));
    assert_eq!(mail.policy.grace, Duration::from_millis(100));
    assert!(!mail.policy.critical);
    assert_eq!(plain.policy.interval, seconds(20));
}

#[test]
fn who_runs_a_service_and_whether_it_promises_pulses_decides_how_it_is_watched() {
    let alive = policy("command = ['true']");
    assert_eq!((alive.watch, alive.ready), (Watch::Alive, Ready::Running));
    let pulsing = policy("command = ['true']\ninterval = '5s'");
    assert_eq!(
        (pulsing.watch, pulsing.ready),
        (Watch::Pulsing, Ready::Pulse)
    );
    let early = policy("command = ['true']\ninterval = '5s'\nready = 'running'");
    assert_eq!((early.watch, early.ready), (Watch::Pulsing, Ready::Running));
    let told = policy("command = ['true']\nready = 'notify'");
    assert_eq!((told.watch, told.ready), (Watch::Alive, Ready::Notify));
    let both = policy("command = ['true']\ninterval = '5s'\nready = 'notify'");
    assert_eq!((both.watch, both.ready), (Watch::Pulsing, Ready::Notify));
    let external = policy("interval = '5s'");
    assert_eq!(
        (external.watch, external.ready),
        (Watch::External, Ready::Pulse)
    );
}

#[test]
fn only_a_service_that_promises_pulses_is_told_a_watchdog_interval() {
    let spec = service("[services.a]\ncommand = ['true']\ninterval = '5s'");
    assert_eq!(spec.process.unwrap().watchdog, Some(seconds(5)));
    let spec = service("[services.a]\ncommand = ['true']");
    assert_eq!(spec.process.unwrap().watchdog, None);
}

#[test]
fn an_interval_may_be_learnt_and_is_told_to_nobody_then() {
    let spec = service(
        "[heartbeat]\ndefault_interval = '20s'\n\
         [services.a]\ncommand = ['true']\ninterval = 'auto'\ngrace = '25%'",
    );
    let judged = &spec.policy;
    assert!(judged.learns());
    assert_eq!((judged.watch, judged.ready), (Watch::Pulsing, Ready::Pulse));
    assert_eq!(judged.start_grace, seconds(105), "5 × 20 s and a quarter");
    assert_eq!(spec.process.unwrap().watchdog, None);
    let learnt = judged.with_interval(seconds(8), IntervalSource::Learnt);
    assert_eq!(
        (learnt.grace, learnt.thresholds.warning),
        (seconds(2), seconds(10))
    );
    assert_eq!(learnt.nudge_wait, seconds(8));
    let until_then = judged.before_it_is_learnt();
    assert_eq!(until_then.thresholds.warning, seconds(105));
    let external = policy("interval = 'auto'\nprogress_timeout = '1s'");
    assert!(external.learns() && external.watch == Watch::External);
    let short = good("[heartbeat.services]\na = { interval = 'auto' }");
    assert!(short.services[0].policy.learns());
    let report = check_report(&short);
    let told = "external, its interval is learnt; until then critical at 2m 33s";
    assert!(report.contains(told), "{report}");
    let given = policy("interval = '20s'");
    assert_eq!(given.interval_source, IntervalSource::Configured);
}

#[test]
fn with_heartbeats_disabled_processes_are_run_and_silence_judges_nobody() {
    let settings = good(
        "[heartbeat]\nenabled = false\n\
         [services.a]\ncommand = ['true']\ninterval = '5s'\n\
         [services.b]\n",
    );
    let [ours, external] = settings.services.as_slice() else {
        panic!("two services");
    };
    assert_eq!(ours.policy.watch, Watch::Alive);
    assert_eq!(ours.policy.ready, Ready::Running);
    assert_eq!(external.policy.watch, Watch::External);
    assert!(external.policy.on_demand);
}

#[test]
fn a_threshold_is_a_number_of_intervals_and_the_grace_or_an_exact_age() {
    let policy = policy("interval = '10s'\nwarning_after = 2\ncritical_after = '2m'");
    assert_eq!(policy.grace, seconds(1));
    assert_eq!(policy.thresholds.warning, seconds(21));
    assert_eq!(policy.thresholds.degraded, Some(seconds(31)));
    assert_eq!(policy.thresholds.critical, seconds(120));
}

#[test]
fn grace_is_a_share_of_the_interval_or_a_duration_and_never_below_100_ms() {
    for (grace, interval, millis) in [
        ("'10%'", "'30s'", 3_000),
        ("'50 %'", "'30s'", 15_000),
        ("'0%'", "'30s'", 100),
        ("'10%'", "'200ms'", 100),
        ("'3s'", "'200ms'", 3_000),
        ("0.25", "'30s'", 250),
    ] {
        let policy = policy(&format!("interval = {interval}\ngrace = {grace}"));
        assert_eq!(policy.grace, Duration::from_millis(millis), "{grace}");
    }
}

#[test]
fn a_service_outranks_its_profile_and_the_profile_outranks_the_defaults() {
    let settings = good(
        "[heartbeat]\nwarning_after = 2\ncritical_after = 9\n\
         [services.a]\nprofile = 'deacon'\n\
         [services.b]\nprofile = 'deacon'\nwarning_after = '1m'\n\
         [services.c]\ncritical_after = 7\n",
    );
    let thresholds: Vec<_> = settings
        .services
        .iter()
        .map(|spec| {
            let t = &spec.policy.thresholds;
            (t.warning, t.degraded, t.critical)
        })
        .collect();
    assert_eq!(
        thresholds,
        vec![
            (seconds(120), None, seconds(300)),
            (seconds(60), None, seconds(300)),
            (seconds(63), Some(seconds(93)), seconds(213)),
        ]
    );
}

#[test]
fn a_start_may_take_until_critical_but_at_least_30_s_unless_it_says() {
    assert_eq!(policy("interval = '1s'").start_grace, seconds(30));
    assert_eq!(policy("interval = '1m'").start_grace, seconds(306));
    let told = "interval = '1m'\nstart_timeout = '7s'";
    assert_eq!(policy(told).start_grace, seconds(7));
}

#[test]
fn the_ladder_has_the_steps_that_are_possible() {
    let ours = policy("command = ['true']\ninterval = 1");
    assert!(!ours.nudge && ours.poke_restarts);
    assert_eq!(ours.nudge_wait, seconds(1));
    let nudged = policy("command = ['true']\nnudge = { signal = 'USR1' }\npoke = ['nudge']");
    assert!(nudged.nudge && !nudged.poke_restarts);
    let external = policy("nudge = { exec = 'wake up' }");
    assert!(external.nudge && !external.poke_restarts);
    let foreign = policy("restart_command = ['gt', 'deacon', 'restart']");
    assert!(!foreign.nudge && foreign.poke_restarts);
}

#[test]
fn every_form_of_a_nudge_is_understood() {
    for (text, nudge) in [
        ("{ signal = 'SIGUSR1' }", Nudge::Signal(libc::SIGUSR1)),
        (
            "{ exec = 'say \"wake up\"' }",
            Nudge::Exec(vec!["say".to_owned(), "wake up".to_owned()]),
        ),
        (
            "{ http = 'PUT http://127.0.0.1:80/x?y' }",
            Nudge::Http("PUT".to_owned(), "http://127.0.0.1:80/x?y".to_owned()),
        ),
        (
            "{ http = 'http://host/' }",
            Nudge::Http("POST".to_owned(), "http://host/".to_owned()),
        ),
        (
            "{ tmux = 'agent', text = 'still there?' }",
            Nudge::Tmux("agent".to_owned(), "still there?".to_owned()),
        ),
    ] {
        let spec = service(&format!("[services.a]\ncommand = 'true'\nnudge = {text}"));
        assert_eq!(spec.nudge, Some(nudge));
    }
}

#[test]
fn what_surrounds_a_process_is_read_whole() {
    let spec = service(
        r#"
[services.a]
command = "python3 'my worker.py'"
cwd = "sub/./dir"
env = { A = "1", PORT = 8080, DEBUG = true }
pass_env = ["LC_ALL"]
user = "nobody"
group = 65534
umask = 0o027
nice = -5
limits = { nofile = 1024, stack = "8 MiB", core = "unlimited" }
restart = "on-failure"
stop_signal = "INT"
stop_timeout = 0
log_max_size = "64 KiB"
log_keep = 0
"#,
    );
    assert_eq!(spec.policy.restart, Restart::OnFailure);
    assert_eq!(spec.policy.stop_timeout, Duration::ZERO);
    let process = spec.process.unwrap();
    assert_eq!(process.command, ["python3", "my worker.py"]);
    assert_eq!(process.cwd, Path::new("/etc/x/sub/dir"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        process.env,
        [pair("A", "1"), pair("PORT", "8080"), pair("DEBUG", "true")]
    );
    assert_eq!(process.pass_env, ["LC_ALL"]);
    assert_eq!(process.user.as_deref(), Some("nobody"));
    assert_eq!(process.group.as_deref(), Some("65534"));
    assert_eq!(process.umask, Some(0o027));
    assert_eq!(process.nice, Some(-5));
    let limits = [("nofile", 1024), ("stack", 8 << 20), ("core", u64::MAX)];
    assert_eq!(process.limits, limits.map(|(name, n)| (name.to_owned(), n)));
    assert_eq!(process.stop_signal, libc::SIGINT);
    assert_eq!(process.stop_timeout, Duration::ZERO);
    assert_eq!((process.log_max_size, process.log_keep), (65_536, 0));
}

#[test]
fn env_outranks_env_file_which_is_found_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "A=file\nB='b b'\n").unwrap();
    let file = dir.path().join("supervisor.toml");
    let text = "[services.a]\ncommand = 'true'\nenv = { A = 'own' }\nenv_file = '.env'\n";
    std::fs::write(&file, text).unwrap();
    let settings = load(&file, &|_| None).unwrap();
    let process = settings.services[0].process.clone().unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(process.env, [pair("B", "b b"), pair("A", "own")]);
    assert_eq!(process.cwd, dir.path());
}

#[test]
fn equal_services_share_one_policy() {
    let settings = good(
        "[services.a]\ninterval = 30\n[services.b]\ninterval = '30s'\n[services.c]\ninterval = 31",
    );
    let [a, b, c] = settings.services.as_slice() else {
        panic!("three services");
    };
    assert!(Arc::ptr_eq(&a.policy, &b.policy));
    assert!(!Arc::ptr_eq(&a.policy, &c.policy));
}

#[test]
fn services_keep_the_order_of_the_file() {
    let settings = good("[services.z]\n[services.a]\n[heartbeat.services]\nm = {}\n[services.b]");
    let names: Vec<_> = settings.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m", "b"]);
}

#[test]
fn the_example_in_the_root_is_a_configuration_whose_workers_promise_pulses() {
    let settings = good(include_str!("../../../supervisor.toml"));
    let watched = |name: &str| {
        let found = settings.services.iter().find(|s| s.name.as_str() == name);
        found.unwrap().policy.watch
    };
    for worker in ["steady", "sleepy", "clumsy"] {
        assert_eq!(watched(worker), Watch::Pulsing, "{worker}");
    }
    assert_eq!(watched("quiet"), Watch::Alive);
    assert_eq!(watched("doorbell"), Watch::External);
}

#[test]
fn the_report_warns_that_hosts_must_be_named_where_all_addresses_are_open() {
    let env = |_: &str| Some("open-sesame-open-sesame".to_owned());
    for (hosts, warned) in [("[]", true), ("['status.example']", false)] {
        let text = format!(
            "[supervisor]\nlisten = '0.0.0.0:80'\ntoken_env = 'T'\nallowed_hosts = {hosts}"
        );
        let settings = parse(Path::new("/x.toml"), &text, &env).unwrap();
        let report = check_report(&settings);
        assert_eq!(report.contains("allowed_hosts"), warned, "{report}");
    }
}

#[test]
fn an_empty_listen_means_no_tcp_and_localhost_means_loopback() {
    assert_eq!(good("[supervisor]\nlisten = ''").supervisor.listen, None);
    let settings = good("[supervisor]\nlisten = 'localhost:80'");
    assert_eq!(
        settings.supervisor.listen,
        Some("127.0.0.1:80".parse().unwrap())
    );
}

#[test]
fn a_token_from_the_environment_opens_other_addresses_and_is_never_shown() {
    let text = "[supervisor]\nlisten = '0.0.0.0:5001'\ntoken_env = 'TOKEN'\n";
    let env = |name: &str| (name == "TOKEN").then(|| "open-sesame-open-sesame\n".to_owned());
    let settings = parse(Path::new("/x.toml"), text, &env).unwrap();
    let token = settings.supervisor.token.clone().unwrap();
    assert_eq!(token.reveal(), "open-sesame-open-sesame");
    assert!(!format!("{settings:?}").contains("open-sesame-open-sesame"));
}

#[test]
fn no_service_is_handed_the_owners_token() {
    let text = "[supervisor]\ntoken_env = 'TOKEN'\n\
                [services.a]\ncommand = 'x'\npass_env = ['LANG', 'TOKEN']\n";
    let env = |name: &str| (name == "TOKEN").then(|| "open-sesame-open-sesame".to_owned());
    let errors = parse(Path::new("/x.toml"), text, &env).unwrap_err();
    let [only] = errors.mistakes() else {
        panic!("{errors}");
    };
    assert_eq!(only.message(), "a is given TOKEN, the API's token");
}

#[test]
fn a_token_file_must_be_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let (file, token) = (dir.path().join("s.toml"), dir.path().join("token"));
    std::fs::write(&file, "[supervisor]\ntoken_file = 'token'\n").unwrap();
    std::fs::write(&token, "open-sesame-open-sesame\n").unwrap();
    let chmod = |mode| std::fs::set_permissions(&token, PermissionsExt::from_mode(mode)).unwrap();
    chmod(0o600);
    let settings = load(&file, &|_| None).unwrap();
    assert_eq!(
        settings.supervisor.token.unwrap().reveal(),
        "open-sesame-open-sesame"
    );
    chmod(0o640);
    let errors = load(&file, &|_| None).unwrap_err();
    assert_eq!(
        errors.mistakes()[0].message(),
        "`supervisor.token_file` has mode 0640: others than its owner may use it"
    );
}

#[test]
fn clients_learn_where_the_data_lives_from_a_file_that_has_other_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("supervisor.toml");
    let text = "[supervisor]\ndata_dir = 'data'\ntoken_env = 'NOT_HERE'\nfrob = 1\nfrob = 2\n";
    std::fs::write(&file, text).unwrap();
    assert_eq!(data_dir(&file).unwrap(), dir.path().join("data"));
    std::fs::write(&file, "[supervisor]\ndata_dir = 3\n").unwrap();
    assert!(data_dir(&file).is_err());
    std::fs::write(&file, "[supervisor\n").unwrap();
    assert!(data_dir(&file).is_err());
}

#[test]
fn the_report_says_who_is_judged_how() {
    let settings = good(
        r#"
[supervisor]
listen = ""
[services.db]
command = ["postgres"]
stop_signal = "SIGINT"
[services.worker]
command = ["python3", "worker.py"]
interval = "10s"
restart = "on-failure"
depends_on = ["db"]
[services.old]
enabled = false
interval = "1m"
critical = false
"#,
    );
    assert_eq!(
        check_report(&settings),
        "\
/etc/x/supervisor.toml is valid: 3 services
  data     /etc/x/.supervisor
  listens  on the socket in data alone
  token    generated in data
  log      /etc/x/.supervisor/supervisor.log, 10 MB, 5 kept
  on exit  stops all within 30s
  db      alive while it runs; restarted whenever it ends; stopped by SIGINT
  worker  pulses every 10s; warning at 11s, degraded at 31s, critical at 51s; restarted on failure; after db
  old     disabled; external, pulses every 1m; warning at 1m 6s, degraded at 3m 6s, critical at 5m 6s; not critical
"
    );
}
