//! What the kernel tells of a thread that a debugger has stopped: `/proc/PID/task/TID/syscall` (proc(5)). Whoever may trace the
//! process may read it, also while another traces it.

use crate::ThreadState;
use std::fs;

/// The state of a thread; `None` if it runs or is gone, or may not be looked at.
pub fn thread_state(pid: u32, thread: u32) -> Option<ThreadState> {
    parse_syscall(&fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")).ok()?)
}

/// Whether the threads of a process have ids of their own in it: it is in another namespace of ids, as in a container.
pub fn has_own_ids(pid: u32) -> bool {
    namespace_ids(&format!("/proc/{pid}/status")).is_some_and(|ids| ids.len() > 1)
}

/// The id that a thread has in its own process.
pub fn own_id(pid: u32, thread: u32) -> Option<u32> {
    namespace_ids(&format!("/proc/{pid}/task/{thread}/status"))?.last().copied()
}

/// The ids in all namespaces from this one on (`NSpid` of proc_pid_status(5)).
fn namespace_ids(path: &str) -> Option<Vec<u32>> {
    parse_namespace_ids(&fs::read_to_string(path).ok()?)
}

fn parse_namespace_ids(status: &str) -> Option<Vec<u32>> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().map(|id| id.parse().ok()).collect()
}

/// Reads what that file says: the number of the call, six arguments, the stack pointer and the program counter; or -1 and the last
/// two for a thread that is in no call; or `running`.
pub fn parse_syscall(text: &str) -> Option<ThreadState> {
    let mut words = text.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let numbers = words.map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
    let (stack_pointer, pc, arguments) = match numbers[..] {
        [a, b, c, d, e, f, stack_pointer, pc] => (stack_pointer, pc, Some([a, b, c, d, e, f])),
        [stack_pointer, pc] => (stack_pointer, pc, None),
        _ => return None,
    };
    let call = u64::try_from(number).ok().zip(arguments);
    Some(ThreadState { stack_pointer, pc, call })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_in_a_call_or_in_none() {
        let text = "202 0x7f10 0x80 0x2 0x0 0x0 0xffffffff 0x7ffe00 0x401000\n";
        let call = Some((202, [0x7f10, 0x80, 2, 0, 0, 0xffff_ffff]));
        assert_eq!(parse_syscall(text), Some(ThreadState { stack_pointer: 0x7f_fe00, pc: 0x40_1000, call }));
        let text = "-1 0x7ffe00 0x401000\n";
        assert_eq!(parse_syscall(text), Some(ThreadState { stack_pointer: 0x7f_fe00, pc: 0x40_1000, call: None }));
    }

    #[test]
    fn a_thread_in_a_container_has_an_id_of_its_own() {
        assert_eq!(parse_namespace_ids("Name:\tx\nNSpid:\t4711\t12\nNSpgid:\t1\n"), Some(vec![4711, 12]));
        assert_eq!(parse_namespace_ids("Name:\tx\n"), None);
        let own = std::process::id();
        assert_eq!(own_id(own, own), Some(own));
    }

    #[test]
    fn what_else_the_file_says_tells_nothing() {
        for text in ["running\n", "", "1 0x1\n", "202 0x1 0x2 x 0x4 0x5 0x6 0x7 0x8\n", "x 0x1 0x2"] {
            assert_eq!(parse_syscall(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_thread_of_this_process_is_found_in_its_call() {
        // A thread that waits is where it waits; this process may always look at itself.
        let (sender, receiver) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sender.send(nix::unistd::gettid().as_raw() as u32).unwrap();
            let _ = wait.recv();
        });
        let id = receiver.recv().unwrap();
        let state = std::iter::repeat_with(|| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            thread_state(std::process::id(), id)
        });
        let call = state.take(5000).flatten().find_map(|state| state.call);
        drop(end);
        thread.join().unwrap();
        assert_eq!(call.map(|(number, _)| number), Some(202));
    }
}
