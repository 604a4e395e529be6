//! What a course asks the debugger. The thread that the debugger runs the command on answers, while it waits for the course;
//! on any other thread a call might wait for that command to end.

use super::Event;
use analysis::stacks::{Frame, Registers};
use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, ThreadId};

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
    Registers(u64, Sender<Registers>),
    Calls(u64, Sender<Vec<Frame>>),
}

impl Debugger {
    pub(super) fn new(asked: Sender<Event>) -> Self {
        Self { asked }
    }

    /// The registers of a thread; `None` if nobody can be asked: the job is in the background.
    pub fn registers(&self, thread: u64) -> Option<Registers> {
        self.ask(|answer| Question::Registers(thread, answer))
    }

    /// The calls of a thread as the debugger unwinds them.
    pub fn calls(&self, thread: u64) -> Option<Vec<Frame>> {
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
    /// The thread that the debugger runs the command on.
    home: ThreadId,
}

impl Answering {
    pub fn new(threads: Vec<lldb::Thread>) -> Self {
        let threads = threads.into_iter().map(|thread| (thread.index().into(), thread)).collect();
        Self { threads, home: thread::current().id() }
    }

    /// Answers if this is the thread for it. What is not answered is known to be so, since its sender is dropped.
    pub fn answer(&self, question: Question) {
        if thread::current().id() != self.home {
            return;
        }
        // Whoever has asked may have been told to stop.
        match question {
            Question::Registers(number, sender) => {
                let Some(thread) = self.threads.get(&number) else { return };
                let _ = sender.send(thread.registers(&Registers::NAMES).into_iter().collect());
            }
            Question::Calls(number, sender) => {
                let Some(thread) = self.threads.get(&number) else { return };
                let calls = thread.calls(MOST_CALLS).into_iter();
                let frame = |(index, call): (usize, lldb::Call)| Frame {
                    pc: call.pc,
                    cfa: call.cfa.unwrap_or(0),
                    interrupted: index == 0 || call.interrupted,
                };
                let _ = sender.send(calls.enumerate().map(frame).collect());
            }
        }
    }
}

/// As many calls of a thread are asked for: the debugger takes long for more.
const MOST_CALLS: u32 = 1024;
