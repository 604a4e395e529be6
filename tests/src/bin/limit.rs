//! How fast memory can be searched here at all: nothing but reads and a matcher, on threads of this process. It is what
//! `scripts/bench` measures mp-scan against.
//!
//!     limit (vm PID | mem PID | file FILE) START END THREADS REPEATS (needle TEXT | regex REGEX | pointers A B)
//!
//! Addresses are hexadecimal (offsets for a file; END 0 is its end). It prints the seconds of each repetition, and the
//! number of matches.

use memchr::memmem::Finder;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const BLOCK: usize = 512 << 10;
/// What one thread takes at a time.
const TASK: usize = 32 << 20;
/// Read beyond a block's end, so that no match is lost there. The matches there are counted twice, which is as good as
/// nothing for a measurement.
const OVERLAP: usize = 64;

enum Source {
    Process(Pid),
    Mem(File),
    Map(memmap2::Mmap),
}

enum Matcher {
    Needle(Box<Finder<'static>>),
    Regex(Box<Regex>),
    Pointers(u64, u64),
}

impl Matcher {
    fn count(&self, bytes: &[u8]) -> usize {
        match self {
            Matcher::Needle(finder) => finder.find_iter(bytes).count(),
            Matcher::Regex(regex) => regex.find_iter(bytes).count(),
            Matcher::Pointers(start, end) => {
                let word = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk).wrapping_sub(*start) < end - start;
                bytes.as_chunks::<8>().0.iter().filter(|chunk| word(chunk)).count()
            }
        }
    }
}

/// Counts the matches that begin in one task; all memory ends at `limit`.
fn scan(source: &Source, matcher: &Matcher, start: usize, end: usize, limit: usize, buffer: &mut [u8]) -> usize {
    let mut count = 0;
    for at in (start..end).step_by(BLOCK) {
        let length = (limit - at).min(BLOCK + OVERLAP);
        let bytes = match source {
            Source::Map(map) => &map[at..(at + length).min(map.len())],
            Source::Mem(file) => {
                let read = file.read_at(&mut buffer[..length], at as u64).expect("the process can be read");
                &buffer[..read]
            }
            Source::Process(pid) => {
                let remote = [RemoteIoVec { base: at, len: length }];
                let mut local = [IoSliceMut::new(&mut buffer[..length])];
                let read = process_vm_readv(*pid, &mut local, &remote).expect("the process can be read");
                &buffer[..read]
            }
        };
        count += matcher.count(bytes);
    }
    count
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument =
        |index: usize| arguments.get(index).unwrap_or_else(|| panic!("argument {index} is missing")).as_str();
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a hexadecimal number");
    // Once: a scan keeps its file mapped for the next, so a limit that maps it anew each time would be none.
    let source = match argument(1) {
        "vm" => Source::Process(Pid::from_raw(argument(2).parse().expect("a pid"))),
        "mem" => Source::Mem(File::open(format!("/proc/{}/mem", argument(2))).expect("the process can be read")),
        "file" => {
            let file = File::open(argument(2)).expect("the file can be read");
            // SAFETY: nobody changes or truncates the file while it is measured: the script that made it waits for us.
            Source::Map(unsafe { memmap2::Mmap::map(&file) }.expect("the file can be mapped"))
        }
        other => panic!("'{other}' is none of vm, mem, file"),
    };
    let (start, mut end) = (hex(argument(3)) as usize, hex(argument(4)) as usize);
    if let (Source::Map(map), 0) = (&source, end) {
        end = map.len();
    }
    let threads: usize = argument(5).parse().expect("a number of threads");
    let repeats: usize = argument(6).parse().expect("a number of repetitions");
    let matcher = match argument(7) {
        "needle" => Matcher::Needle(Box::new(Finder::new(argument(8)).into_owned())),
        "regex" => {
            let bytes = syntax::Config::new().unicode(false).utf8(false);
            let regex = Regex::builder().syntax(bytes).build(argument(8)).expect("a regex");
            Matcher::Regex(Box::new(regex))
        }
        "pointers" => Matcher::Pointers(hex(argument(8)), hex(argument(9))),
        other => panic!("'{other}' is none of needle, regex, pointers"),
    };
    let mut seconds = Vec::new();
    let mut matches = 0;
    for _ in 0..repeats {
        let next = AtomicUsize::new(start);
        let began = Instant::now();
        matches = std::thread::scope(|scope| {
            let work = || {
                let mut buffer = vec![0; BLOCK + OVERLAP];
                let mut count = 0;
                loop {
                    let at = next.fetch_add(TASK, Ordering::Relaxed);
                    if at >= end {
                        return count;
                    }
                    count += scan(&source, &matcher, at, (at + TASK).min(end), end, &mut buffer);
                }
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().expect("no thread panics")).sum::<usize>()
        });
        seconds.push(began.elapsed().as_secs_f64());
    }
    println!("{}", serde_json::json!({"seconds": seconds, "matches": matches}));
}
