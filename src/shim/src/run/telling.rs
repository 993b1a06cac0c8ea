//! The talk with the supervisor, whichever it is now.

use super::*;

impl Shim<'_> {
    #[inline(never)]
    pub(super) fn listen(&mut self) {
        // Through /proc, as the directory's own path may be longer than an address holds.
        let mut path = Text::<64>::new();
        path.push(b"/proc/self/fd/")
            .push_number(i64::from(self.dir))
            .push(b"/")
            .push(protocol::SOCKET.as_bytes());
        let _ = sys::unlink(self.dir, c"sock", 0);
        self.listener = sys::listen_unix(path.as_c()).unwrap_or(NONE);
    }

    /// A supervisor that does not read for so long that its socket is full is let go: it, or
    /// the next one, connects again and hears all of it in `hello`.
    pub(super) fn tell(&mut self, kind: &str, fields: &[(&str, &[u8])]) {
        self.tell_with(kind, fields, NONE);
    }

    #[inline(never)]
    pub(super) fn tell_with(&mut self, kind: &str, fields: &[(&str, &[u8])], along: Fd) {
        self.was_told = false;
        if self.supervisor == NONE {
            return;
        }
        let mut frame = Text::<2048>::new();
        protocol::encode(kind, fields, &mut |piece| {
            frame.push(piece);
        });
        let sent = if along == NONE {
            sys::send(self.supervisor, frame.as_bytes())
        } else {
            sys::send_with(self.supervisor, frame.as_bytes(), along)
        };
        self.was_told = sent == Ok(frame.as_bytes().len());
        if !self.was_told {
            self.let_go();
        }
    }

    pub(super) fn let_go(&mut self) {
        sys::close(self.supervisor);
        self.supervisor = NONE;
        self.alone_since = sys::monotonic_ms();
        self.lines.end();
        self.commands_length = 0;
        if self.listener == NONE && self.failure == NONE {
            self.listen();
        }
    }

    pub(super) fn tell_exit(&mut self, kind: &str, exit: ExitFacts, left: bool) {
        let mut hello = Hello::default();
        let fields = hello.exit_fields(exit, left);
        self.tell(kind, &fields);
    }

    #[inline(never)]
    pub(super) fn on_connection(&mut self) {
        let Ok(fd) = sys::accept(self.listener) else {
            return;
        };
        if sys::peer_uid(fd) != Ok(sys::geteuid()) {
            sys::close(fd);
            return;
        }
        sys::close(self.supervisor);
        self.supervisor = fd;
        self.lines.end();
        self.commands_length = 0;
        self.say_hello();
    }

    #[inline(never)]
    pub(super) fn say_hello(&mut self) {
        let mut digits: [Digits; 6] = core::array::from_fn(|_| Digits::default());
        let [version, generation, shim, shim_start, pid, start] = &mut digits;
        let settings = self.settings;
        let state: &[u8] = match self.phase {
            Phase::Starting | Phase::Failed(..) => b"starting",
            Phase::Running => b"running",
            Phase::Remains(_) => b"remains",
            Phase::Gone => b"gone",
        };
        let remembered = self.remembered.clone();
        let facts: [(&str, &[u8]); 9] = [
            (key::PROTOCOL, version.of(i64::from(VERSION))),
            (key::SERVICE, settings.service.to_bytes()),
            (key::GENERATION, generation.of(settings.generation)),
            (key::SHIM_PID, shim.of(i64::from(self.shim.pid))),
            (key::SHIM_START_TIME, shim_start.of(self.shim.start_time)),
            (key::PID, pid.of(i64::from(self.main.pid))),
            (key::START_TIME, start.of(self.main.start_time)),
            (key::STATE, state),
            (key::TEXT, remembered.as_bytes()),
        ];
        let Phase::Remains(exit) = self.phase else {
            return self.tell_with(kind::HELLO, &facts, self.notify);
        };
        let mut hello = Hello::default();
        let mut all: [(&str, &[u8]); 13] = [("", b""); 13];
        all[..9].copy_from_slice(&facts);
        all[9..].copy_from_slice(&hello.exit_fields(exit, true));
        self.tell_with(kind::HELLO, &all, self.notify);
    }

    #[inline(never)]
    pub(super) fn on_command(&mut self) {
        let free = &mut self.commands[self.commands_length..];
        match sys::read(self.supervisor, free) {
            Err(Errno::EAGAIN) => return,
            Ok(0) | Err(_) => return self.let_go(),
            Ok(count) => self.commands_length += count,
        }
        loop {
            let commands = self.commands;
            let (payload, used) = match protocol::first_frame(&commands[..self.commands_length]) {
                Ok(Some(found)) => found,
                Ok(None) if self.commands_length < COMMAND_BUFFER => return,
                // Nothing that we know is so long.
                Ok(None) | Err(protocol::TooLong) => return self.let_go(),
            };
            self.commands.copy_within(used..self.commands_length, 0);
            self.commands_length -= used;
            if let Some(frame) = Frame::parse(payload) {
                self.obey(frame);
            }
        }
    }

    pub(super) fn obey(&mut self, frame: Frame<'_>) {
        if frame.kind == kind::STOP.as_bytes() {
            self.stop(frame.number(key::NUMBER));
        } else if frame.kind == kind::SIGNAL.as_bytes()
            && matches!(self.phase, Phase::Starting | Phase::Running)
            && let Some(number) = frame.number(key::NUMBER)
        {
            let _ = sys::kill(self.main.pid, number as i32);
        } else if frame.kind == kind::LISTEN.as_bytes() {
            let wanted = frame.get(key::LISTEN).map_or(Mode::Off, Mode::from_word);
            self.lines.begin(wanted, spec::frames(frame));
        } else if frame.kind == kind::MORE.as_bytes() {
            self.lines.more(spec::frames(frame));
            self.tell_lines();
        } else if frame.kind == kind::EXTEND.as_bytes()
            && let Some(ms) = frame
                .number(key::NUMBER)
                .and_then(|n| u64::try_from(n).ok())
        {
            self.extend(ms);
        } else if frame.kind == kind::REMEMBER.as_bytes()
            && let Some(text) = frame.get(key::TEXT)
        {
            self.remembered = Text::new();
            self.remembered.push(text);
        }
    }
}

/// The numbers of an exit as text, for as long as their frame is built.
#[derive(Default)]
struct Hello {
    how: Digits,
    time: Digits,
}

impl Hello {
    fn exit_fields(&mut self, exit: ExitFacts, left: bool) -> [(&'static str, &[u8]); 4] {
        let how = match exit.signal() {
            Some(signal) => (key::SIGNAL, i64::from(signal)),
            None => (key::CODE, i64::from(exit.code().unwrap_or(0))),
        };
        let flag = |on: bool| -> &'static [u8] { if on { b"1" } else { b"0" } };
        [
            (how.0, self.how.of(how.1)),
            (key::TIME_US, self.time.of(exit.time_us)),
            (key::OOM, flag(exit.oom)),
            (key::LEFT, flag(left)),
        ]
    }
}
