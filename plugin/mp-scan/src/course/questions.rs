//! What a course asks the debugger. The thread that the debugger runs the command on answers, while it waits for the course;
//! on any other thread a call might wait for that command to end.

use super::Event;
use analysis::stacks::{End, Frame, Register, Registers, Stack};
use lldb::Relay;
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Whom a course asks.
#[derive(Debug)]
pub struct Debugger {
    asked: Sender<Event>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
}

/// What is asked, of a thread by the debugger's number of it.
pub enum Question {
    /// Of registers of these names.
    Registers(u64, &'static [&'static str], Sender<Registers>),
    Calls(u64, Sender<Stack>),
}

impl Debugger {
    pub(super) fn new(asked: Sender<Event>) -> Self {
        Self { asked }
    }

    /// Registers of a thread by their names; `None` if nobody can be asked: the job is in the background.
    pub fn registers(&self, thread: u64, names: &'static [&'static str]) -> Option<Registers> {
        self.ask(|answer| Question::Registers(thread, names, answer))
    }

    /// One register of a thread. The frame pointer a debugger knows from the stop; for others it has to ask its server.
    pub fn register(&self, thread: u64, register: Register) -> Option<Registers> {
        let names = Registers::NAMES.get(usize::from(register)..=usize::from(register)).unwrap_or_default();
        self.registers(thread, names)
    }

    /// The calls of a thread as the debugger unwinds them.
    pub fn calls(&self, thread: u64) -> Option<Stack> {
        self.ask(|answer| Question::Calls(thread, answer))
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Question) -> Option<T> {
        let (sender, answer) = mpsc::channel();
        self.asked.send(Event::Asked(question(sender))).ok()?;
        answer.recv().ok()
    }
}

/// What answers.
#[derive(Debug)]
pub struct Answering {
    /// By the debugger's numbers.
    threads: HashMap<u64, lldb::Thread>,
    /// What reads memory for the course, if only the debugger can.
    relay: Option<Relay>,
    /// The thread that the debugger runs the command on.
    home: ThreadId,
}

impl Answering {
    pub fn new(threads: Vec<lldb::Thread>, relay: Option<Relay>) -> Self {
        let threads = threads.into_iter().map(|thread| (thread.index().into(), thread)).collect();
        Self { threads, relay, home: thread::current().id() }
    }

    /// The next event of a course, for at most about `patience`. If only the debugger can read the target, this thread reads for
    /// the course meanwhile: it holds LLDB's lock, which a reader on another thread would wait for.
    pub fn next(&self, events: &Receiver<Event>, patience: Duration) -> Result<Event, RecvTimeoutError> {
        let Some(relay) = self.relay.as_ref().filter(|_| thread::current().id() == self.home) else {
            return events.recv_timeout(patience);
        };
        relay.serve().run(patience);
        events.try_recv().map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// Answers if this is the thread for it. What is not answered is known to be so, since its sender is dropped.
    pub fn answer(&self, question: Question) {
        if thread::current().id() != self.home {
            return;
        }
        // Whoever has asked may have been told to stop.
        match question {
            Question::Registers(number, names, sender) => {
                let Some(thread) = self.threads.get(&number) else { return };
                let _ = sender.send(thread.registers(names).into_iter().collect());
            }
            Question::Calls(number, sender) => {
                let Some(thread) = self.threads.get(&number) else { return };
                let (calls, all) = thread.calls(MOST_CALLS);
                let frame = |(index, call): (usize, &lldb::Call)| Frame {
                    pc: call.pc,
                    cfa: call.cfa.unwrap_or(0),
                    interrupted: index == 0,
                };
                let end = if all { End::Outermost } else { End::Deep };
                let _ = sender.send(Stack { frames: calls.iter().enumerate().map(frame).collect(), end });
            }
        }
    }
}

/// As many calls of a thread are asked for: the debugger takes long for more.
const MOST_CALLS: u32 = 1024;
