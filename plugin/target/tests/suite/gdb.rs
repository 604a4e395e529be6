//! A core file that gdb writes of a real process, against that process.

use crate::debuggee::{Debuggee, PAGE, assert_same};
use std::process::Command;
use target::live::{self, Reader};
use target::{Backing, FaultReason, Permissions, core};

#[test]
fn a_core_file_shows_what_the_process_shows() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; PAGE as usize * 3 / 2]).unwrap();
    let debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
    let folder = tempfile::tempdir().unwrap();
    let mut gcore = Command::new("gcore");
    let gcore = gcore.arg("-o").arg(folder.path().join("core")).arg(debuggee.pid().to_string()).output();
    let gcore = gcore.expect("gcore, which comes with gdb, is needed");
    let path = folder.path().join(format!("core.{}", debuggee.pid()));
    assert!(path.exists(), "{}", String::from_utf8_lossy(&gcore.stderr));

    let live = live::open(debuggee.pid(), &live::Options { reader: Reader::Mem, patches: vec![] }).unwrap();
    let core = core::open(&path, &core::Options::default()).unwrap();
    assert_eq!(core.process.pid, live.process.pid);
    assert_eq!(core.process.executable, live.process.executable);
    assert_eq!(core.process.auxv, live.process.auxv);
    assert_eq!(core.space.layout, live.space.layout);
    let stack = core.process.threads[0].stack_pointer.unwrap();
    assert_eq!(core.space.region_at(stack).unwrap().backing, Backing::Stack);

    let (process, memory) = (live.memory().unwrap(), core.memory().unwrap());
    if cfg!(target_arch = "x86_64") {
        let registers = &core.process.threads[0].registers;
        assert_eq!((registers.len(), registers[19]), (27, stack));
        let code = core.space.region_at(registers[16]).unwrap();
        assert!(code.permissions.contains(Permissions::EXECUTE), "the program counter: {code:?}");
        // What a thread's own memory begins with is its address.
        let mut word = [0; 8];
        assert_eq!(memory.read(registers[21], &mut word), Ok(8));
        assert_eq!(u64::from_le_bytes(word), registers[21]);
    }
    let mut code = 0;
    for region in live.space.regions.iter().filter(|region| region.is_readable()) {
        let mut expected = vec![0; region.range.len() as usize];
        let length = process.read(region.range.start, &mut expected).unwrap();
        let mut found = vec![0; length];
        match memory.read(region.range.start, &mut found) {
            Ok(read) => {
                assert_same(&found[..read], &expected[..length], region);
                let here = core.space.region_at(region.range.start).unwrap();
                assert_eq!(here.permissions, region.permissions, "{region:?}");
                if region.permissions.contains(Permissions::EXECUTE) {
                    code += read;
                }
            }
            // gdb leaves out what is in files and memory that is shared; this one is no program, so nothing tells
            // whether it is still the same.
            Err(fault) => {
                assert_eq!(fault.reason, FaultReason::NotInCore, "{region:?}");
                let name = region.name().unwrap();
                assert!(name.contains("/memfd:") || name == file.path().to_str().unwrap(), "{region:?}");
            }
        }
    }
    assert!(code > 100_000, "code comes from the files: {code} bytes");
    let names = |name: &str| core.space.regions.iter().filter(|region| region.name() == Some(name)).count();
    assert_eq!((names("[heap]"), names("[stack]")), (1, 1));
}
