//! The owner's short commands and calls: nudges, restart commands.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use awc::http::{Method, StatusCode, Uri};
use futures_util::future::{LocalBoxFuture, ready};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use supervisor_actors::ports::Errands;
use supervisor_actors::spec::{Nudge, ServiceSpec};

use crate::adapters::child_env::{Identity, Usual, Variables};
use crate::adapters::descriptors::GivenLimit;
use crate::adapters::http_client::{Bounds, HttpCalls, Trust};
use crate::adapters::output::{Output, ended};

/// How long commands and calls may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A command, from its start to its end.
    pub(crate) command: Duration,
    /// An HTTP call, from the look-up of the name to the end of the answer.
    pub(crate) http: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(30),
            http: Duration::from_secs(10),
        }
    }
}

/// How long we wait for a killed command's end before we leave it to the kernel.
const KILLED: Duration = Duration::from_secs(2);

/// Runs errands on the thread of the actors.
#[derive(Debug)]
pub(crate) struct RealErrands {
    /// What commands find in their environment.
    usual: Usual,
    calls: HttpCalls,
    patience: Patience,
    descriptors: GivenLimit,
}

impl RealErrands {
    /// Errands whose commands get this environment and this limit of descriptors.
    pub(crate) fn new(
        usual: Usual,
        calls: HttpCalls,
        patience: Patience,
        descriptors: GivenLimit,
    ) -> Self {
        Self {
            usual,
            calls,
            patience,
            descriptors,
        }
    }

    /// The environment of the service's own process, but for what makes a process one of the
    /// service: its token, by which its processes are found, and its notify socket.
    fn environment(&self, service: &ServiceSpec) -> Result<Variables, String> {
        let process = service.process.as_deref();
        self.usual
            .of(&service.name, process, Identity::default())
            .map_err(|bad| bad.to_string())
    }

    /// Runs one command after the other, until one fails.
    fn run_all(
        &self,
        environment: Result<Variables, String>,
        commands: Vec<Vec<String>>,
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        let (descriptors, patience) = (self.descriptors, self.patience.command);
        Box::pin(async move {
            let environment = environment?;
            for command in commands {
                run(&command, &environment, descriptors, patience).await?;
            }
            Ok(())
        })
    }
}

impl Errands for RealErrands {
    fn nudge(
        &self,
        service: &ServiceSpec,
        nudge: &Nudge,
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        match nudge {
            Nudge::Signal(number) => {
                let error = format!("signal {number} is for a process, not an errand");
                Box::pin(ready(Err(error)))
            }
            Nudge::Exec(command) => self.run(service, command),
            Nudge::Http(method, url) => Box::pin(call(
                self.calls.clone(),
                method.clone(),
                url.clone(),
                self.patience.http,
            )),
            Nudge::Tmux(session, text) => {
                let environment = self.environment(service).map(|mut variables| {
                    // Where its server is.
                    variables.pass(["TMUX", "TMUX_TMPDIR"]);
                    variables
                });
                self.run_all(environment, tmux_commands(session, text))
            }
        }
    }

    fn run(
        &self,
        service: &ServiceSpec,
        command: &[String],
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        self.run_all(self.environment(service), vec![command.to_vec()])
    }
}

/// Types a text into a session: literally (-l), or "Enter" within it would be a key.
fn tmux_commands(session: &str, text: &str) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        words(&["tmux", "send-keys", "-t", session, "-l", "--", text]),
        words(&["tmux", "send-keys", "-t", session, "Enter"]),
    ]
}

/// Runs a command to its end, alone in a process group so that it can be killed whole. Should
/// the caller lose interest, it runs on: half a restart is worse than a whole one.
async fn run(
    command: &[String],
    environment: &Variables,
    descriptors: GivenLimit,
    patience: Duration,
) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let output = Output::new().map_err(|error| format!("no room for its output: {error}"))?;
    let mut builder = Command::new(program);
    builder
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .process_group(0);
    let mut child = output
        .writer()
        .and_then(|out| Ok((out, output.writer()?)))
        .and_then(|(out, err)| builder.stdout(out).stderr(err).spawn())
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    // Dropped, so that nothing of us holds the output open.
    drop(builder);
    if let Some(pid) = child.id() {
        descriptors.give_to(pid);
    }
    match timeout(patience, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!(
            "{program} {}{}",
            ended(status.code(), status.signal()),
            output.tail()
        )),
        Ok(Err(error)) => Err(format!("{program} could not be waited for: {error}")),
        Err(_elapsed) => {
            // It has not been waited for: the number is still its own.
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                killpg(Pid::from_raw(pid), Signal::SIGKILL)
                    .map_err(|error| format!("{program} could not be killed: {error}"))?;
            }
            let tail = output.tail();
            let left = match timeout(KILLED, child.wait()).await {
                Ok(_) => "and was killed",
                Err(_elapsed) => "and does not die even of SIGKILL",
            };
            Err(format!(
                "{program} did not end within {} {left}{tail}",
                humantime::format_duration(patience)
            ))
        }
    }
}

/// Sends a request without a body; anything but 2xx is a failure, a redirect too: the owner
/// meant this address.
async fn call(
    calls: HttpCalls,
    method: String,
    url: String,
    patience: Duration,
) -> Result<(), String> {
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|error| format!("{method:?} is no HTTP method: {error}"))?;
    let address: Uri = url
        .parse()
        .map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let client = calls
        .client(&address, &Trust::System)
        .await
        .map_err(|error| format!("{url} {error}"))?;
    let bounds = Bounds {
        timeout: patience,
        // What it says besides its status is not shown.
        body_bytes: 0,
    };
    let request = client.request(method, &address).force_close();
    match client.call(request, "", bounds).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(format!("{url} answered {}", status(answer.status))),
        Err(error) => Err(format!("{url} {error}")),
    }
}

fn status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use std::sync::Arc;

    use supervisor_actors::ports::Clock as _;
    use supervisor_actors::spec::ProcessSpec;
    use supervisor_actors::testing::alive;

    use crate::adapters::clock::RealClock;

    const SHORT: Patience = Patience {
        command: Duration::from_millis(300),
        http: Duration::from_millis(300),
    };

    /// The errands of one service.
    struct Of {
        errands: RealErrands,
        service: ServiceSpec,
    }

    impl Of {
        async fn run(&self, command: &[String]) -> Result<(), String> {
            self.errands.run(&self.service, command).await
        }

        async fn nudge(&self, nudge: &Nudge) -> Result<(), String> {
            self.errands.nudge(&self.service, nudge).await
        }
    }

    fn errands() -> Of {
        with(Patience::default())
    }

    fn with(patience: Patience) -> Of {
        let usual = Usual::new("http://127.0.0.1:5001".to_owned());
        let calls = HttpCalls::default();
        Of {
            errands: RealErrands::new(usual, calls, patience, GivenLimit::raise()),
            service: alive("worker"),
        }
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[actix_rt::test]
    async fn a_command_that_ends_well_is_done() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("done");
        let script = format!("echo x > {}", file.display());
        assert_eq!(errands().run(&shell(&script)).await, Ok(()));
        assert!(file.exists(), "it has ended when we say so");
        assert_eq!(errands().nudge(&Nudge::Exec(shell("true"))).await, Ok(()));
    }

    #[actix_rt::test]
    async fn a_failure_says_how_it_ended_and_its_last_words() {
        let error = errands()
            .run(&shell("echo one; echo two >&2; exit 3"))
            .await;
        assert_eq!(error, Err("sh ended with code 3: one | two".to_owned()));
        let error = errands().run(&shell("kill -9 $$")).await;
        assert_eq!(error, Err("sh was ended by SIGKILL".to_owned()));
        let error = errands().run(&["/no/such/program".to_owned()]).await;
        let error = error.expect_err("there is none");
        assert!(
            error.starts_with("/no/such/program could not be started: No such file"),
            "{error}"
        );
        assert!(errands().run(&[]).await.is_err());
    }

    #[actix_rt::test]
    async fn of_a_long_output_the_end_is_shown() {
        let script = "i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; exit 1";
        let error = errands().run(&shell(script)).await.expect_err("1");
        assert!(error.starts_with("sh ended with code 1: …"), "{error}");
        assert!(error.ends_with("line 998 | line 999"), "{error}");
        assert!(error.len() < 700);
    }

    #[actix_rt::test]
    async fn an_endless_output_is_bounded_and_harms_nobody() {
        // It is refused what does not fit, and ends by itself because of that.
        let error = errands().run(&shell("cat /dev/zero")).await;
        let error = error.expect_err("it could not write");
        assert!(error.starts_with("sh ended with code 1"), "{error}");
    }

    #[actix_rt::test]
    async fn a_command_that_hangs_is_killed_with_all_its_children() {
        let home = tempfile::tempdir().expect("a directory");
        let pids = home.path().join("pids");
        let script = format!(
            "trap '' TERM; sleep 1000 & echo $! $$ > {}.new; mv {0}.new {0}; echo waiting; wait",
            pids.display()
        );
        let patient = Patience {
            command: Duration::from_secs(2),
            ..SHORT
        };
        let error = with(patient).run(&shell(&script)).await;
        assert_eq!(
            error,
            Err("sh did not end within 2s and was killed: waiting".to_owned())
        );
        let pids = std::fs::read_to_string(pids).expect("it had started");
        for pid in pids.split_whitespace() {
            let pid: i32 = pid.parse().expect("a number");
            assert!(dies(pid), "{pid} lives");
        }
    }

    /// Whether a process dies, a zombie being dead.
    fn dies(pid: i32) -> bool {
        let end = RealClock.mono() + Duration::from_secs(10);
        while RealClock.mono() < end {
            match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => std::thread::yield_now(),
                Ok(_) | Err(_) => return true,
            }
        }
        false
    }

    #[actix_rt::test]
    async fn a_daemon_left_behind_neither_delays_nor_dies_of_our_end() {
        let home = tempfile::tempdir().expect("a directory");
        let (go, said) = (home.path().join("go"), home.path().join("said"));
        assert!(nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).is_ok());
        // The daemon holds our output, and writes to it when we are long gone.
        let script = format!(
            "(read x < {}; echo to nobody && echo alive > {}) & echo started",
            go.display(),
            said.display()
        );
        assert_eq!(errands().run(&shell(&script)).await, Ok(()));
        std::fs::write(&go, "go\n").expect("it reads");
        let end = RealClock.mono() + Duration::from_secs(10);
        while !said.exists() {
            assert!(RealClock.mono() < end, "it died of its output");
            std::thread::yield_now();
        }
    }

    #[actix_rt::test]
    async fn a_command_gets_nothing_to_read_and_no_descriptors_but_three() {
        let script = "test -z \"$(cat)\" && ls /proc/self/fd && exit 1";
        let error = errands().run(&shell(script)).await.expect_err("1");
        let (said, list) = error.split_once(": ").expect("a list");
        assert_eq!(said, "sh ended with code 1");
        // The one after those of the test's own caller is the directory that ls reads.
        let passed_on = |fd: &&str| {
            let number: i32 = fd.parse().expect("a number");
            // SAFETY: only asked for its flags, which fails for one that is not open.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_getfd(fd).is_ok_and(|flags| flags.is_empty())
        };
        let ours: Vec<&str> = list.split(" | ").filter(|fd| !passed_on(fd)).collect();
        assert_eq!(ours.len(), 1, "{list}");
    }

    #[actix_rt::test]
    async fn a_command_gets_the_environment_of_its_service_and_nothing_more_of_ours() {
        let said = async |of: &Of, script: &str| {
            let script = format!("{script}; exit 1");
            let error = of.run(&shell(&script)).await.expect_err("1");
            error
                .trim_start_matches("sh ended with code 1: ")
                .to_owned()
        };
        // Set by nextest and cargo; a test must not change the environment itself.
        assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
        let mut of = errands();
        let names = said(&of, "env | cut -d= -f1 | sort | tr '\\n' ' '").await;
        let expected = [
            "HOME",
            "PATH",
            "SUPERVISOR_SERVICE",
            "SUPERVISOR_URL",
            "USER",
        ];
        let usual = ["LANG", "PWD", "SHLVL", "TZ", "_", "OLDPWD"];
        let names: Vec<&str> = names.split_whitespace().collect();
        for name in expected {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        for name in &names {
            let known = expected.contains(name) || usual.contains(name);
            assert!(known, "{name} is none of its business");
        }
        let text = said(&of, "echo $SUPERVISOR_SERVICE $SUPERVISOR_URL").await;
        assert_eq!(text, "worker http://127.0.0.1:5001");

        let process = of.service.process.as_deref().expect("a process");
        of.service.process = Some(Arc::new(ProcessSpec {
            env: vec![
                ("GREETING".to_owned(), "hello".to_owned()),
                ("SUPERVISOR_SERVICE".to_owned(), "other".to_owned()),
            ],
            pass_env: vec!["CARGO_MANIFEST_DIR".to_owned()],
            ..process.clone()
        }));
        let script = "echo $GREETING $SUPERVISOR_SERVICE ${CARGO_MANIFEST_DIR:+passed}";
        assert_eq!(said(&of, script).await, "hello worker passed");
    }

    /// Answers one request with these bytes and gives back what was asked.
    fn server(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 4096];
            let n = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("answered");
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        (format!("http://{address}/wake?up=1"), served)
    }

    #[actix_rt::test]
    async fn an_http_nudge_sends_its_method_and_takes_a_2xx() {
        let (url, served) = server("HTTP/1.1 204 No Content\r\n\r\n");
        let nudge = Nudge::Http("POST".to_owned(), url);
        assert_eq!(errands().nudge(&nudge).await, Ok(()));
        let request = served.join().expect("served");
        assert!(
            request.starts_with("POST /wake?up=1 HTTP/1.1\r\n"),
            "{request}"
        );
    }

    #[actix_rt::test]
    async fn an_http_nudge_that_is_refused_or_sent_elsewhere_has_failed() {
        for (answer, said) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                "503 Service Unavailable",
            ),
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
                "302 Found",
            ),
        ] {
            let (url, served) = server(answer);
            let error = errands()
                .nudge(&Nudge::Http("GET".to_owned(), url.clone()))
                .await;
            assert_eq!(error, Err(format!("{url} answered {said}")));
            served.join().expect("served");
        }
    }

    #[actix_rt::test]
    async fn an_http_nudge_to_nobody_or_to_a_silent_one_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let nudge = Nudge::Http("GET".to_owned(), url.clone());
        // Accepted by the kernel, never answered.
        let error = with(SHORT).nudge(&nudge).await;
        let error = error.expect_err("silence");
        assert_eq!(error, format!("{url} did not answer within 300ms"));
        drop(listener);
        let error = errands().nudge(&nudge).await.expect_err("nobody");
        assert_eq!(error, format!("{url} refused the connection"));
    }

    #[actix_rt::test]
    async fn nonsense_is_refused_with_a_reason() {
        let nudge = |method: &str, url: &str| Nudge::Http(method.to_owned(), url.to_owned());
        let error = errands()
            .nudge(&nudge("NO METHOD", "http://127.0.0.1:1/"))
            .await;
        assert!(error.is_err_and(|error| error.contains("no HTTP method")));
        assert!(errands().nudge(&nudge("GET", "http://")).await.is_err());
        assert!(errands().nudge(&Nudge::Signal(10)).await.is_err());
    }

    #[actix_rt::test]
    async fn a_tmux_nudge_types_the_text_and_then_enter() {
        let home = tempfile::tempdir().expect("a directory");
        let (tmux, log) = (home.path().join("tmux"), home.path().join("log"));
        let script = format!(
            "#!/bin/sh\nprintf '<%s>' \"$@\" >> {}\necho >> {0}\n",
            log.display()
        );
        std::fs::write(&tmux, script).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&tmux, mode).expect("executable");
        // Found through PATH, as the real one would be; the environment is the child's alone.
        let path = format!(
            "{}:{}",
            home.path().display(),
            std::env::var("PATH").expect("PATH")
        );
        let commands = tmux_commands("session", "-wake up; Enter");
        for command in commands {
            let mut with_path = vec!["env".to_owned(), format!("PATH={path}")];
            with_path.extend(command);
            assert_eq!(errands().run(&with_path).await, Ok(()));
        }
        assert_eq!(
            std::fs::read_to_string(log).expect("typed"),
            "<send-keys><-t><session><-l><--><-wake up; Enter>\n<send-keys><-t><session><Enter>\n"
        );
    }
}
