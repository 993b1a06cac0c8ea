//! Histories at random: a service and the world around it, watched by an oracle that knows
//! the rules and nothing of the machine.
//!
//! The world (`world`) runs processes that answer starts and stops after random delays; the
//! deeds here let them pulse and fail at random, stall us, and kill the supervisor. The oracle
//! (`oracle`) sees events and actions, and keeps its own few facts: who lives, when it last
//! gave a sign of life, what is allowed.

use std::time::Duration;

use proptest::prelude::*;

use super::bench::{Bench, S, alive, external, moment, policy};
use super::world::{Process, World};
use crate::backoff::{Backoff, Intensity};
use crate::event::{Event, Generation, Note, PulseState, RestartKind, StartFailure, StartFault};
use crate::level::Level;
use crate::policy::{PokeOn, Policy, Ready, Restart, Watch};
use crate::run::{RunEnd, RunId, RunSign};

/// What the world does next.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Time passes, in milliseconds.
    Pass(u64),
    /// It pulses on time for so many intervals.
    Beat(u8),
    Pulse(u8),
    OldPulse,
    Say(PulseState),
    Busy(u16),
    /// It names a number, and perhaps how long it will be busy with it.
    Count(i64, Option<u16>),
    /// It pulses on time for so many intervals and names that number each time.
    CountOn(i64, u8),
    /// It asks for so many seconds more.
    Extend(u16),
    Error(bool),
    RunStarts(Option<u8>),
    RunSucceeds(Option<u8>),
    RunFails,
    ProbeFails(bool),
    ProbePasses,
    SaysReady,
    Exit(i32),
    Signal(i32),
    LeavesRemains,
    ShimDies,
    Pause(Option<u16>),
    Resume,
    Stop,
    Shutdown,
    Start,
    Restart(RestartKind),
    Clear,
    Nudge,
    Depend(bool),
    /// We are stalled for so many milliseconds.
    Stall(u64),
    /// Our next tick is that late: the judging clock has stood still since it was due.
    LateTick(u64),
    /// We die and come back; meanwhile its process lives, or exits with a code, or vanishes.
    Reload(Meanwhile),
    /// The storm brake lets the restart wait.
    HoldGrants(bool),
    /// Restart commands fail from now on, or no longer.
    CommandsFail(bool),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Meanwhile {
    Lives,
    Exits(i32),
    Vanishes,
}

fn deed() -> impl Strategy<Value = Deed> {
    let kind = prop::sample::select(vec![
        RestartKind::Operator,
        RestartKind::Operator,
        RestartKind::Dependency,
        RestartKind::Config,
        RestartKind::Stale,
    ]);
    let state = prop::sample::select(vec![
        PulseState::Working,
        PulseState::Idle,
        PulseState::Exiting,
        PulseState::Stuck,
    ]);
    let meanwhile = prop_oneof![
        2 => Just(Meanwhile::Lives),
        1 => (0..2).prop_map(Meanwhile::Exits),
        1 => Just(Meanwhile::Vanishes),
    ];
    prop_oneof![
        10 => (0_u64..20_000).prop_map(Deed::Pass),
        6 => (0_u64..120_000).prop_map(Deed::Pass),
        1 => (0_u64..3_000_000).prop_map(Deed::Pass),
        8 => (1_u8..12).prop_map(Deed::Beat),
        8 => (1_u8..4).prop_map(Deed::Pulse),
        1 => Just(Deed::OldPulse),
        2 => state.prop_map(Deed::Say),
        1 => any::<u16>().prop_map(Deed::Busy),
        4 => (0_i64..3, prop::option::weighted(0.2, 0_u16..3_000))
            .prop_map(|(number, busy)| Deed::Count(number, busy)),
        3 => (0_i64..3, 1_u8..12).prop_map(|(number, times)| Deed::CountOn(number, times)),
        2 => (0_u16..3_000).prop_map(Deed::Extend),
        3 => prop::bool::weighted(0.2).prop_map(Deed::Error),
        2 => prop::option::of(0_u8..4).prop_map(Deed::RunStarts),
        2 => prop::option::of(0_u8..4).prop_map(Deed::RunSucceeds),
        1 => Just(Deed::RunFails),
        3 => any::<bool>().prop_map(Deed::ProbeFails),
        2 => Just(Deed::ProbePasses),
        2 => Just(Deed::SaysReady),
        5 => (0..3).prop_map(Deed::Exit),
        2 => Just(Deed::Signal(11)),
        1 => Just(Deed::LeavesRemains),
        1 => Just(Deed::ShimDies),
        1 => prop::option::of(any::<u16>()).prop_map(Deed::Pause),
        2 => Just(Deed::Resume),
        1 => Just(Deed::Stop),
        1 => Just(Deed::Shutdown),
        2 => Just(Deed::Start),
        2 => kind.prop_map(Deed::Restart),
        1 => Just(Deed::Clear),
        1 => Just(Deed::Nudge),
        2 => prop::bool::weighted(0.7).prop_map(Deed::Depend),
        2 => (0_u64..100_000).prop_map(Deed::Stall),
        3 => (51_u64..100_000).prop_map(Deed::LateTick),
        2 => meanwhile.prop_map(Deed::Reload),
        1 => any::<bool>().prop_map(Deed::HoldGrants),
        1 => any::<bool>().prop_map(Deed::CommandsFail),
    ]
}

fn rid(name: u8) -> RunId {
    RunId::new(&name.to_string()).unwrap()
}

fn policies() -> impl Strategy<Value = Policy> {
    let watch = prop::sample::select(vec![0_u8, 0, 0, 1, 2]);
    let restart = prop::sample::select(vec![
        Restart::Always,
        Restart::Always,
        Restart::OnFailure,
        Restart::Never,
    ]);
    let ready = prop::sample::select(vec![
        Ready::Pulse,
        Ready::Pulse,
        Ready::Notify,
        Ready::Probe,
        Ready::Running,
    ]);
    let flags = prop::array::uniform7(any::<bool>());
    let times = (prop::option::of(12_u64..400), 1_u64..2_000, 1_u64..2_000);
    (watch, restart, ready, flags, 0_u32..5, 1_u32..4, times).prop_map(
        |(watch, restart, ready, flags, max, recover_after, times)| {
            let (progress, max_busy, quarantine) = times;
            let [nudge, restarts, stale, probe, errors, on_demand, short] = flags;
            let base = match watch {
                0 => policy(),
                1 => alive(),
                _ => external(),
            };
            Policy {
                restart,
                ready: if base.watch == Watch::Alive && ready == Ready::Pulse {
                    Ready::Running
                } else {
                    ready
                },
                nudge,
                poke_restarts: restarts || short,
                poke_on: PokeOn {
                    stale: stale || short,
                    probe,
                    errors,
                },
                on_demand: on_demand && !short,
                recover_after,
                max_busy: Duration::from_secs(max_busy),
                progress_timeout: progress.map(Duration::from_secs),
                quarantine_for: Duration::from_secs(quarantine),
                backoff: Backoff::new(
                    Duration::from_millis(500),
                    Duration::from_secs(if short { 5 } else { 300 }),
                    2.0,
                    0.1,
                    Duration::from_secs(60),
                )
                .unwrap(),
                intensity: Intensity::new(max, Duration::from_secs(900)).unwrap(),
                ..base
            }
        },
    )
}

impl World {
    fn deed(&mut self, deed: Deed) -> Result<(), TestCaseError> {
        let generation = self.generation;
        match deed {
            Deed::Pass(ms) => self.pass(Duration::from_millis(ms))?,
            Deed::Beat(times) => {
                for _ in 0..times {
                    self.pass(Duration::from_secs(10))?;
                    self.pulse(1, None)?;
                }
            }
            Deed::Pulse(count) => self.pulse(count, None)?,
            Deed::OldPulse => {
                if !self.is_external() && generation.0 > 0 {
                    self.pulses += 1;
                    let before = (self.bench.state(), self.bench.level());
                    self.on(Event::Pulse {
                        generation: Generation(generation.0 - 1),
                        count: 1,
                        note: Some(Box::new(Note {
                            state: Some(PulseState::Stuck),
                            ..Note::default()
                        })),
                    })?;
                    prop_assert_eq!(before, (self.bench.state(), self.bench.level()));
                }
            }
            Deed::Say(state) => self.pulse(
                1,
                Some(Note {
                    state: Some(state),
                    ..Note::default()
                }),
            )?,
            Deed::Busy(seconds) => self.pulse(
                1,
                Some(Note {
                    busy_for: Some(Duration::from_secs(seconds.into())),
                    ..Note::default()
                }),
            )?,
            Deed::Count(number, busy) => self.pulse(
                1,
                Some(Note {
                    cycle: Some(number),
                    busy_for: busy.map(|seconds| Duration::from_secs(seconds.into())),
                    ..Note::default()
                }),
            )?,
            Deed::CountOn(number, times) => {
                for _ in 0..times {
                    self.pass(Duration::from_secs(10))?;
                    self.deed(Deed::Count(number, None))?;
                }
            }
            Deed::Extend(seconds) => {
                let by = Duration::from_secs(seconds.into());
                if self.lives() && !self.stopped {
                    if self.pokes > 0 {
                        // Whether that ends what it was poked for is another story.
                        return Ok(());
                    }
                    self.asks_for(by);
                }
                self.on(Event::Extend { generation, by })?;
            }
            Deed::Error(critical) => {
                if self.lives() {
                    self.erred();
                    self.on(Event::Error {
                        generation,
                        message: "broken".to_owned(),
                        critical,
                    })?;
                }
            }
            Deed::RunStarts(name) => {
                let rid = name.map(rid);
                self.on(Event::Run {
                    generation,
                    sign: Box::new(RunSign::Start { rid }),
                })?;
            }
            Deed::RunSucceeds(name) => self.run_ends(RunEnd {
                rid: name.map(rid),
                ..RunEnd::default()
            })?,
            Deed::RunFails => self.run_ends(RunEnd {
                failed: true,
                exit_code: Some(1),
                ..RunEnd::default()
            })?,
            Deed::ProbeFails(passed_before) => self.probe_fails(passed_before)?,
            Deed::ProbePasses => self.probe_passes()?,
            Deed::SaysReady => {
                if self.lives() {
                    let silent = self.silent();
                    if self.bench.state() == "starting"
                        && silent < self.policy().thresholds.critical
                        && !self.has_another_fault()
                    {
                        self.pokes = 0;
                    }
                    self.on(Event::Ready { generation })?;
                }
            }
            Deed::Exit(code) => {
                if matches!(self.process, Process::Runs) {
                    self.end(Some(code), None, false)?;
                } else if let Process::Starting(_) = self.process {
                    self.process = Process::None;
                    let fault = match code {
                        0 => StartFault::NotFound,
                        _ => StartFault::NoResources,
                    };
                    self.on(Event::StartFailed {
                        generation,
                        failure: StartFailure {
                            fault,
                            detail: "no".to_owned(),
                        },
                    })?;
                }
            }
            Deed::Signal(signal) => {
                if matches!(self.process, Process::Runs) {
                    self.end(None, Some(signal), false)?;
                }
            }
            Deed::LeavesRemains => {
                if matches!(self.process, Process::Runs) {
                    self.end(Some(1), None, true)?;
                }
            }
            Deed::ShimDies => {
                if matches!(self.process, Process::Runs) {
                    self.process = Process::Remains(self.now() + self.delay);
                    self.on(Event::ShimLost { generation })?;
                }
            }
            Deed::Pause(seconds) => {
                self.paused = true;
                self.pokes = 0;
                self.waits_for_grant = false;
                let until = seconds.map(|seconds| self.now() + Duration::from_secs(seconds.into()));
                // The machine may end it at once where that is now.
                self.on(Event::Pause {
                    until,
                    why: "upkeep".to_owned(),
                })?;
            }
            Deed::Resume => self.on(Event::Resume)?,
            Deed::Stop => {
                self.stopped = true;
                self.shut_down = false;
                self.waits_for_grant = false;
                self.command = None;
                self.on(Event::Stop {
                    why: "operator".to_owned(),
                })?;
            }
            Deed::Shutdown => {
                if !self.stopped {
                    self.shut_down = true;
                }
                self.stopped = true;
                self.waits_for_grant = false;
                self.command = None;
                self.on(Event::Stop {
                    why: Event::SHUTDOWN.to_owned(),
                })?;
            }
            Deed::Start => {
                let anew = self.stopped;
                self.wanted();
                if self.is_external() && anew {
                    self.heard = false;
                    self.new_chance();
                }
                self.on(Event::Start)?;
            }
            Deed::Restart(kind) => {
                if kind == RestartKind::Operator {
                    let quarantined = self.bench.state() == "quarantined";
                    if !(quarantined || self.is_external() && self.stopped) {
                        self.wanted();
                    }
                }
                if !(self.is_external() && self.stopped) {
                    self.on(Event::Restart { kind })?;
                }
            }
            Deed::Clear => {
                if self.is_external() && !self.stopped && self.bench.state() != "external" {
                    self.heard = false;
                    self.new_chance();
                }
                self.on(Event::Clear)?;
            }
            Deed::Nudge => {
                self.asked_nudge = true;
                self.on(Event::Nudge)?;
                self.asked_nudge = false;
            }
            Deed::Depend(ready) => self.depend(ready)?,
            Deed::Stall(ms) => {
                let at = &mut self.bench.now.at;
                at.mono = at.mono + Duration::from_millis(ms);
                self.bench.now.amnesty = at.time;
            }
            Deed::LateTick(ms) => {
                let due = self.bench.deadline();
                if due < self.now() + Duration::from_secs(600) {
                    // Everything else that is due before it happens on time.
                    self.pass(
                        due.since(self.now())
                            .saturating_sub(Duration::from_nanos(1)),
                    )?;
                    self.advance(due.max(self.now()));
                    self.deed(Deed::Stall(ms))?;
                    self.on(Event::Tick)?;
                }
            }
            Deed::Reload(meanwhile) => self.reload(meanwhile)?,
            Deed::HoldGrants(hold) => self.hold_grants = hold,
            Deed::CommandsFail(fail) => self.commands_fail = fail,
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_history_follows_the_rules(
        policy in policies(),
        delay in 0_u64..3_000,
        deeds in prop::collection::vec(deed(), 1..80),
    ) {
        let mut world = World::new(policy, Duration::from_millis(delay));
        world.begin()?;
        for deed in deeds {
            world.deed(deed)?;
        }
        // Whatever happened, in the end nothing is left half done.
        world.hold_grants = false;
        world.pass(Duration::from_secs(60))?;
        world.deed(Deed::Stop)?;
        world.pass(Duration::from_secs(100_000))?;
        prop_assert!(world.bench.service().is_down());
        prop_assert_eq!(world.process, Process::None);
    }
}

#[test]
fn clocks_at_their_ends_are_survived() {
    for at in [0, u64::MAX - 60 * S, u64::MAX] {
        let mut bench = Bench::with_memory(policy(), None, at);
        bench.on(Event::Begin);
        bench.started();
        bench.pulse();
        bench.now.at = moment(u64::MAX);
        bench.on(Event::Tick);
        bench.pulse();
        assert_eq!(bench.level(), Level::Healthy, "{at}");
    }
}
