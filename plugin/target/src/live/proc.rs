//! /proc/PID/stat and /proc/PID/status, parsed as bytes: a process chooses its name.

/// The parts of /proc/PID/stat that are used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub pid: u32,
    /// A letter, such as `T` for stopped.
    pub state: u8,
    pub parent: u32,
    /// When it was started, in clock ticks since the machine was.
    pub start_time: u64,
    /// Where the main thread's stack began; 0 for who may not read the process.
    pub start_stack: u64,
}

/// The parts of /proc/PID/status that are used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub pid: u32,
    pub parent: u32,
    /// Who traces it, if anyone.
    pub tracer: Option<u32>,
}

/// Parses /proc/PID/stat; `None` if it is none.
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name stands in parentheses, and may hold some itself.
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let pid = number(text.get(..open)?)?;
    let fields: Vec<_> = text.get(close + 1..)?.split(|byte| byte.is_ascii_whitespace()).skip(1).collect();
    // The manual counts from 1, and the state is the third.
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        pid: u32::try_from(pid).ok()?,
        state: *field(3)?.first()?,
        parent: u32::try_from(number(field(4)?)?).ok()?,
        start_time: number(field(22)?)?,
        start_stack: number(field(28)?)?,
    })
}

/// Parses /proc/PID/status; `None` if it is none.
pub fn parse_status(text: &[u8]) -> Option<Status> {
    // A line feed in the name is escaped, so no name can forge a line.
    let value = |key: &[u8]| {
        let mut lines = text.split(|byte| *byte == b'\n');
        lines.find_map(|line| number(line.strip_prefix(key)?.strip_prefix(b":")?))
    };
    let id = |key: &[u8]| u32::try_from(value(key)?).ok();
    Some(Status { pid: id(b"Tgid")?, parent: id(b"PPid")?, tracer: Some(id(b"TracerPid")?).filter(|pid| *pid != 0) })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_mislead() {
        let mut fields: Vec<_> = (5..53).map(|field| field.to_string()).collect();
        fields[28 - 5] = u64::MAX.to_string();
        let text = format!("17 (a) R 1 (b)) S 4 {}\n", fields.join(" "));
        let stat = parse_stat(text.as_bytes()).unwrap();
        assert_eq!(stat, Stat { pid: 17, state: b'S', parent: 4, start_time: 22, start_stack: u64::MAX });
    }

    #[test]
    fn status() {
        let text = b"Name:\ta\\nPPid:\t7\nUmask:\t0022\nTgid:\t12\nNgid:\t0\nPid:\t13\nPPid:\t9\nTracerPid:\t0\n";
        assert_eq!(parse_status(text), Some(Status { pid: 12, parent: 9, tracer: None }));
        let traced = b"Tgid:\t12\nPPid:\t9\nTracerPid:\t44\n";
        assert_eq!(parse_status(traced).unwrap().tracer, Some(44));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for text in [&b""[..], b"17", b"17 (a", b"17 (a) S 4 5", b")("] {
            assert_eq!(parse_stat(text), None);
            assert_eq!(parse_status(text), None);
        }
    }

    #[test]
    fn this_process() {
        let stat = parse_stat(&std::fs::read("/proc/self/stat").unwrap()).unwrap();
        let status = parse_status(&std::fs::read("/proc/self/status").unwrap()).unwrap();
        assert_eq!((stat.pid, stat.parent), (std::process::id(), status.parent));
        assert_eq!(status.pid, std::process::id());
    }
}
